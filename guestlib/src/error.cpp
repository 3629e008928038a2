// SPDX-License-Identifier: Apache-2.0
#include "error.hpp"

#include <cstdarg>
#include <cstdio>
#include <iterator>

#include "unprotected.hpp"

namespace vmsrs::guest {
namespace {

thread_local char message[kErrorMessageBytes] = "no error";

struct StatusText {
  vmsrs_error error;
  const char* text;
  const char* advice;
};

constexpr StatusText kUnknownStatus = {VMSRS_ERROR_VERSION, "the hypervisor gave an unknown status",
                                       "install hypervisor and library of the same release"};

// Indexed by vmsrs_status.
constexpr StatusText kStatusTexts[] = {
    {VMSRS_ERROR_STATE, "it succeeded", ""},
    {VMSRS_ERROR_VERSION, "the hypervisor does not know this call", "install matching releases"},
    {VMSRS_ERROR_VERSION, "the hypervisor does not serve this library's ABI version",
     "install hypervisor and library of the same release"},
    {VMSRS_ERROR_ARGUMENT, "an argument is out of its range", "see vmsrs.h"},
    {VMSRS_ERROR_ARGUMENT, "the address is not the program's own writable memory",
     "check the pointer"},
    {VMSRS_ERROR_ARGUMENT, "the length is zero or too large", "check the length"},
    {VMSRS_ERROR_ARGUMENT, "address or length is not aligned", "use multiples of 64"},
    {VMSRS_ERROR_SYSTEM, "a page could not be made present and writable",
     "check that the memory is still mapped"},
    {VMSRS_ERROR_STATE, "this process is not attached", "call vmsrs_attach first"},
    {VMSRS_ERROR_STATE, "it is in use", "wait until every user has ended"},
    {VMSRS_ERROR_DENIED, "unknown server name or wrong secret",
     "compare the name and the secret file with the servers: section of vmsrs.yaml"},
    {VMSRS_ERROR_STORAGE, "recovery storage or the server's quota is used up",
     "raise the quota, or protect less memory"},
    {VMSRS_ERROR_ARGUMENT, "the address is not wholly inside one profiled region",
     "profile the memory first"},
    {VMSRS_ERROR_ARGUMENT, "the range overlaps a region that is profiled already",
     "profile each range once"},
    {VMSRS_ERROR_STATE, "this thread has no open user scope", "open one with vmsrs_run_user"},
    {VMSRS_ERROR_STATE, "this thread's former user has not been collected yet",
     "see vmsrsctl users list"},
    {VMSRS_ERROR_STORAGE, "no slot is free (users, regions or processes)",
     "end some first, or raise the server's quota"},
    {VMSRS_ERROR_STATE, "the user is suppressed", ""},
    {VMSRS_ERROR_SYSTEM, "it came to no end within its bound", "see vmsrsctl check"},
    {VMSRS_ERROR_ARGUMENT, "no such server, user or CPU", ""},
    {VMSRS_ERROR_STATE, "the call makes no sense in this state", ""},
    {VMSRS_ERROR_DENIED, "too many failed attempts", "wait a moment, then try again"},
    {VMSRS_ERROR_STATE, "the access has to be repeated", ""},
    {VMSRS_ERROR_STATE, "another user is within a store to these bytes", ""},
    {VMSRS_ERROR_STATE, "a crashed user may still be storing to these bytes", ""},
    {VMSRS_ERROR_STATE, "the scope is a reader's, which sees committed values and may not store",
     "store in a scope of vmsrs_run_user"},
    {VMSRS_ERROR_STATE, "another process of this server has it",
     "join it with vmsrs_profile_join; if that process is dead, wait until it has been reaped"},
    kUnknownStatus,
    kUnknownStatus,
    {VMSRS_ERROR_STATE, "a user that is stuck within a store may still be storing to these bytes",
     "see vmsrsctl users list"},
    {VMSRS_ERROR_STATE, "the name is profiled or kept with another size or granule",
     "ask for the same, or give its content up with unprofile_named"},
    {VMSRS_ERROR_NO_PLATFORM,
     "the hypervisor has contradicted itself and protects nothing any more",
     "boot the machine anew; until then the program runs as if it had not attached"},
};
static_assert(std::size(kStatusTexts) == VMSRS_STATUS_COUNT);

const StatusText& text_of(std::uint64_t status) {
  return status < std::size(kStatusTexts) ? kStatusTexts[status] : kUnknownStatus;
}

}  // namespace

int fail(vmsrs_error error, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return error;
}

int fail_status(const char* call_name, std::uint64_t status) {
  if (status == VMSRS_NOT_ATTACHED && is_unprotected()) status = VMSRS_NO_ENGINE;
  const StatusText& text = text_of(status);
  return fail(text.error, "%s: %s (status %llu)%s%s", call_name, text.text,
              static_cast<unsigned long long>(status), text.advice[0] != '\0' ? ": " : "",
              text.advice);
}

const char* status_text(std::uint64_t status) { return text_of(status).text; }

}  // namespace vmsrs::guest

const char* vmsrs_error_message(void) { return vmsrs::guest::message; }
