// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <vmsrs/vmsrs.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "claims.hpp"
#include "containment.hpp"
#include "control.hpp"
#include "error.hpp"
#include "guest_call.hpp"
#include "handlers.hpp"
#include "heap/heap.hpp"
#include "internal_state.hpp"
#include "locks.hpp"
#include "patience.hpp"
#include "secret.hpp"
#include "service.hpp"
#include "system_calls.hpp"
#include "thread.hpp"
#include "window.hpp"

namespace vmsrs::guest {

// Keeps two threads from attaching at once. It means nothing to anything else.
std::atomic<std::uint32_t> attach_gate{0};

namespace {

constexpr const char* kDefaultWindowsDirectory = "/run/vmsrs/windows";
constexpr std::uint32_t kDefaultFaultLimit = 1000;
constexpr std::uint32_t kDefaultSuppressionLimitMs = 10'000;
constexpr std::uint32_t kDefaultStuckLimitMs = 1000;
constexpr std::uint32_t kLongestStuckLimitMs = 30'000;  // within what an access repeats

int check_window(const vmsrs_window* window, std::uint32_t server) {
  if (window->status.magic != VMSRS_WINDOW_MAGIC || window->status.server != server)
    return fail(VMSRS_ERROR_CONFIGURATION,
                "the file is not the window of server %u: is another file system mounted over the "
                "windows directory?",
                server);
  return 0;
}

int prepare_decoder(ControlBlock& block) {
  block.xsave = read_xsave_layout();
  if (!ZYAN_SUCCESS(
          ZydisDecoderInit(&block.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
    return fail(VMSRS_ERROR_SYSTEM, "vmsrs_attach: the instruction decoder does not start");
  // Once here, so that the handler is never the first to reach its code.
  constexpr std::uint8_t kLoad[] = {0x48, 0x8b, 0x07};  // mov rax, [rdi]
  ZydisDecodedInstruction head;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&block.decoder, kLoad, sizeof kLoad, &head, operands)) ||
      ZydisRegisterGetClass(operands[0].reg.value) != ZYDIS_REGCLASS_GPR64 ||
      ZydisRegisterGetId(operands[0].reg.value) != 0)
    return fail(VMSRS_ERROR_SYSTEM, "vmsrs_attach: the instruction decoder does not work");
  return 0;
}

int set_up(const vmsrs_options& options, std::uint32_t server) {
  ControlBlock& block = control_page.block;
  const char* directory =
      options.windows_directory != nullptr ? options.windows_directory : kDefaultWindowsDirectory;
  const vmsrs_window* window = map_window(directory, server);
  if (window == nullptr) return VMSRS_ERROR_CONFIGURATION;
  int result = check_window(window, server);
  if (result == 0) result = prepare_decoder(block);
  if (result == 0) result = set_up_dumps(block);
  if (result == 0 && getrandom(&block.seal_key, sizeof block.seal_key, 0) < 0)
    result = fail(VMSRS_ERROR_SYSTEM, "vmsrs_attach: getrandom: %s", strerrordesc_np(errno));
  if (result == 0 && pthread_key_create(&block.stack_key, end_thread) != 0)
    result = fail(VMSRS_ERROR_SYSTEM, "vmsrs_attach: no thread-specific key is free");
  if (result != 0) {
    unmap_window(window);
    return result;
  }
  forget_parents_thread();
  block.server = server;
  block.process = getpid();
  block.fault_limit = options.fault_limit != 0 ? options.fault_limit : kDefaultFaultLimit;
  block.signal_mask_stays = options.signal_mask_stays;
  block.stuck_limit_ms =
      options.stuck_limit_ms != 0 ? options.stuck_limit_ms : kDefaultStuckLimitMs;
  block.exposed_sample_every = options.exposed_sample_every;
  block.suppression_limit_ns =
      std::uint64_t{options.suppression_limit_ms != 0 ? options.suppression_limit_ms
                                                      : kDefaultSuppressionLimitMs} *
      1'000'000u;
  set_up_locks(options);
  set_up_containment(options);
  set_up_policing(options);
  result = install_handlers();
  if (result == 0) {
    result = start_service_thread();
    if (result != 0) remove_handlers();
  }
  if (result != 0) {
    pthread_key_delete(block.stack_key);
    unmap_window(window);
    return result;
  }
  __atomic_store_n(&block.window, window, __ATOMIC_RELEASE);
  if (!lock_control())
    std::abort();  // a page of our own cannot be protected: nothing that follows would hold
  return 0;
}

int take_down() {
  const vmsrs_window* window = attached_window();
  const CallResult result = call_to_end(VMSRS_CALL_DETACH);
  if (result.status != VMSRS_OK) return fail_status("vmsrs_detach", result.status);
  forget_heaps();
  if (!unlock_control())
    return fail(VMSRS_ERROR_SYSTEM, "vmsrs_detach: mprotect: %s", strerrordesc_np(errno));
  ControlBlock& block = control_page.block;
  __atomic_store_n(&block.window, nullptr, __ATOMIC_RELEASE);
  drop_regions();
  block.areas = nullptr;  // both stay mapped, as the window does
  stop_service_thread();
  remove_handlers();
  pthread_key_delete(block.stack_key);
  retire_window(window);
  return 0;
}

// In a child of fork: what its parent was attached to is its parent's. The child has one thread.
int forget_parent() {
  if (!unlock_control())
    return fail(VMSRS_ERROR_SYSTEM, "vmsrs_attach: mprotect: %s", strerrordesc_np(errno));
  ControlBlock& block = control_page.block;
  block.window = nullptr;
  block.region_count = 0;
  block.areas = block.areas_memory = nullptr;
  for (vmsrs_heap*& heap : block.heaps) heap = nullptr;  // the copy of its parent's
  remove_handlers();
  pthread_key_delete(block.stack_key);
  reset_user(thread_context());
  thread_context().stack_ready = 0;
  leave_user();
  return 0;
}

// `again`: the error is that the users' write sets were those of a process that has just gone; the
// engine keeps them for as long as another one is attached, which may be this one alone.
int attach(const vmsrs_options& options, bool& again) {
  again = false;
  if (const int error = probe_platform(); error != 0) return error;
  vmsrs_attach_request request{};
  if (strnlen(options.server_name, VMSRS_NAME_BYTES) >= VMSRS_NAME_BYTES)
    return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_attach: server name longer than %u characters",
                VMSRS_NAME_BYTES - 1);
  std::strncpy(request.name, options.server_name, VMSRS_NAME_BYTES - 1);
  if (const int error = read_secret(options.secret_file, request.secret); error != 0) return error;
  request.abi_version = VMSRS_ABI_VERSION;
  request.process_id = static_cast<std::uint32_t>(getpid());
  control_page.block.can_populate = kernel_can_populate();
  const CallResult result = call_to_end(VMSRS_CALL_ATTACH, {.rdi = to_register(&request)},
                                        ReadOnlyRange{&request, sizeof request});
  explicit_bzero(request.secret, sizeof request.secret);
  if (result.status != VMSRS_OK) return fail_status("vmsrs_attach", result.status);
  int error = set_up(options, static_cast<std::uint32_t>(result.first));
  if (error != 0) call(VMSRS_CALL_DETACH);
  const bool shared = result.second != 0;
  if (error == 0 && !options.trap_every_store) {
    error = prepare_user_areas(shared);
    again = error == VMSRS_ERROR_STATE || error == VMSRS_ERROR_ARGUMENT;
  }
  if (error != 0 && attached_window() != nullptr) take_down();
  return error;
}

}  // namespace
}  // namespace vmsrs::guest

using namespace vmsrs::guest;

int vmsrs_attach(const vmsrs_options* options) {
  if (options == nullptr || options->server_name == nullptr || options->secret_file == nullptr)
    return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_attach: server_name and secret_file are needed");
  if (options->stuck_limit_ms > kLongestStuckLimitMs)
    return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_attach: stuck_limit_ms is at most %u",
                kLongestStuckLimitMs);
  if (options->containment > VMSRS_CONTAINMENT_OFF)
    return fail(VMSRS_ERROR_ARGUMENT, "vmsrs_attach: %u is no vmsrs_containment_mode",
                options->containment);
  const bool attached = attach_gate.exchange(1) != 0;
  const bool in_child = attached && attached_window() != nullptr && control().process != getpid();
  if (attached && !in_child)
    return fail(VMSRS_ERROR_STATE, "vmsrs_attach: this process is attached already");
  int error = in_child ? forget_parent() : 0;
  if (error == 0)
    try_for_a_while([&] {
      bool again = false;
      error = attach(*options, again);
      return !again;
    });
  if (error != 0) attach_gate.store(0);
  return error;
}

int vmsrs_detach(void) {
  if (attached_window() == nullptr) return fail_status("vmsrs_detach", VMSRS_NOT_ATTACHED);
  if (any_open_scope()) return fail_status("vmsrs_detach", VMSRS_BUSY);
  const int error = take_down();
  if (error == 0) attach_gate.store(0);
  return error;
}
