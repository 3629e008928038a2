// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "call.hpp"

// The two platforms behind the seam, each as call.hpp says of the function with its name.
namespace vmsrs::guest {

namespace svm {
bool is_there();  // the hypervisor's CPUID signature
int check_version();
int check_process_ids();  // that they are the host's
CallResult call(vmsrs_call number, const CallArguments& arguments);
const vmsrs_window* map_window(const char* windows_directory, std::uint32_t server);
int prepare_region(void* address, std::size_t bytes);
Joined join_memory();
}  // namespace svm

namespace hosted {
// Connects, once a process; finds the connection again later. `problem`: one line.
enum class Content { kKept, kZeroes };
[[nodiscard]] bool connect(char* problem, std::size_t problem_bytes);
int check_version();
CallResult call(vmsrs_call number, const CallArguments& arguments);
void abandon_calls();
const vmsrs_window* map_window(std::uint32_t server);
int prepare_region(void* address, std::size_t bytes, Content content);
void forget_region();
Joined join_memory(std::uint64_t region, Part part, std::byte* wanted, std::byte*& at);
std::byte* call_buffer(std::size_t& bytes);
PlatformMemory platform_memory();
}  // namespace hosted

}  // namespace vmsrs::guest
