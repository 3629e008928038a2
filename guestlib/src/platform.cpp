// SPDX-License-Identifier: Apache-2.0
#include "platform.hpp"

#include <sys/mman.h>

#include "control.hpp"
#include "error.hpp"

// The choice of the platform, made when a process attaches: the hypervisor if its CPUID signature
// is there, else vmsrs-hosted if it answers at its socket. It is kept in the control page, which a
// user that scribbles cannot change.
namespace vmsrs::guest {
namespace {

bool is_hosted() { return control().hosted; }

}  // namespace

int probe_platform() {
  ControlBlock& block = control_page.block;
  if (svm::is_there()) {
    block.hosted = false;
    const int error = svm::check_version();
    return error != 0 ? error : svm::check_process_ids();
  }
  char problem[192];
  if (!hosted::connect(problem, sizeof problem))
    return fail(VMSRS_ERROR_NO_PLATFORM,
                "no VMSRS hypervisor below this Linux (CPUID leaf 0x40000000), and no vmsrs-hosted "
                "(%s): boot this machine with the VMSRS entry, or start vmsrs-hosted (systemctl "
                "start vmsrs-hosted.socket), or run the server without attaching",
                problem);
  block.hosted = true;
  return hosted::check_version();
}

CallResult platform_call(vmsrs_call number, const CallArguments& arguments) {
  return is_hosted() ? hosted::call(number, arguments) : svm::call(number, arguments);
}

void abandon_calls() {
  if (is_hosted()) hosted::abandon_calls();
}

const vmsrs_window* map_window(const char* windows_directory, std::uint32_t server) {
  return is_hosted() ? hosted::map_window(server) : svm::map_window(windows_directory, server);
}

void unmap_window(const vmsrs_window* window) {
  munmap(const_cast<vmsrs_window*>(window), VMSRS_WINDOW_BYTES);
}

int prepare_region(void* address, std::size_t bytes) {
  return is_hosted() ? hosted::prepare_region(address, bytes, hosted::Content::kKept)
                     : svm::prepare_region(address, bytes);
}

// On the hypervisor the engine asks for a page that is not there; it is not kept present.
int prepare_sparse(void* address, std::size_t bytes) {
  return is_hosted() ? hosted::prepare_region(address, bytes, hosted::Content::kZeroes) : 0;
}

void forget_region() {
  if (is_hosted()) hosted::forget_region();
}

Joined join_memory(std::uint64_t region, Part part, std::byte* wanted, std::byte*& at) {
  return is_hosted() ? hosted::join_memory(region, part, wanted, at) : svm::join_memory();
}

// The hypervisor runs on the caller's processor: what the user wrote is near.
std::byte* call_buffer(std::size_t& bytes) {
  return is_hosted() ? hosted::call_buffer(bytes) : nullptr;
}

PlatformMemory platform_memory() {
  return is_hosted() ? hosted::platform_memory() : PlatformMemory{};
}

}  // namespace vmsrs::guest
