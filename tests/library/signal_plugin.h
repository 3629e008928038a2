/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMSRS_TEST_SIGNAL_PLUGIN_H_
#define VMSRS_TEST_SIGNAL_PLUGIN_H_

/* A shared library that knows nothing of VMSRS and installs handlers. */
#ifdef __cplusplus
extern "C" {
#endif

/* signal(). */
void (*vmsrs_plugin_signal(int signal, void (*handler)(int)))(int);
/* The same by dlsym(RTLD_NEXT, "sigaction"). 0, or -1. */
int vmsrs_plugin_looked_up_signal(int signal, void (*handler)(int));

#ifdef __cplusplus
}
#endif
#endif
