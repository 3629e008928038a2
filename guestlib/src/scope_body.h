/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMSRS_GUEST_SCOPE_BODY_H_
#define VMSRS_GUEST_SCOPE_BODY_H_

#ifdef __cplusplus
extern "C" {
#endif

/* body(argument). If it does not return, because an exception or the end of the thread unwinds its
 * frame, left(scope) is called on the way, and the unwinding goes on. */
void vmsrs_guest_call_body(void (*body)(void*), void* argument, void (*left)(void*), void* scope);

#ifdef __cplusplus
}
#endif
#endif
