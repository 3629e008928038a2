// SPDX-License-Identifier: Apache-2.0
// What QEMU opens: its callbacks, and the file by which vmsrs-study says when.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "instruction.hpp"
#include "qemu_plugin.hpp"
#include "tracer.hpp"

namespace vmsrs::study {
namespace {

// The first bytes of the control file, shared with trace.py.
struct Control {
  enum : std::uint32_t { kIdle = 0, kTrace = 1, kWrite = 2, kWritten = 3 };
  std::atomic<std::uint32_t> state;     // set by vmsrs-study but for kWritten
  std::atomic<std::uint32_t> requests;  // finished so far
  std::atomic<std::uint32_t> tracing;   // 1: kTrace was seen
};

struct Options {
  TracerOptions tracer;
  std::string control, output;
  std::int64_t range_from_code = 0;  // where the range begins, from the program's first code on
};

Tracer* tracer = nullptr;
std::atomic<std::uint64_t> code_start = 0;  // of the program; QEMU tells it to its own threads only
std::atomic<bool> in_child = false;         // of a fork: another process, which is not followed

// Each instruction is decoded once, unless other code takes its place.
class Decoded {
 public:
  const Instruction* get(const qemu_plugin_insn* insn) {
    const std::uint64_t address = qemu_plugin_insn_vaddr(insn);
    const std::string_view code(static_cast<const char*>(qemu_plugin_insn_data(insn)),
                                qemu_plugin_insn_size(insn));
    Known& known = known_[address];
    if (known.instruction == nullptr || known.code != code) {
      Instruction& fresh = instructions_.emplace_back();
      if (!decode(code.data(), code.size(), address, fresh)) {
        instructions_.pop_back();
        return nullptr;
      }
      known = {std::string(code), &fresh};
    }
    return known.instruction;
  }

 private:
  struct Known {
    std::string code;
    const Instruction* instruction = nullptr;
  };
  std::unordered_map<std::uint64_t, Known> known_;
  std::deque<Instruction> instructions_;  // stay where they are
};

void on_thread(qemu_plugin_id_t, unsigned cpu) {
  if (!in_child) tracer->begin_thread(cpu);
}

void on_instruction(unsigned cpu, void* instruction) {
  if (!in_child) tracer->instruction(cpu, *static_cast<const Instruction*>(instruction));
}

void on_access(unsigned cpu, qemu_plugin_meminfo_t info, std::uint64_t address, void*) {
  if (!in_child)
    tracer->access(cpu, address, 1u << qemu_plugin_mem_size_shift(info),
                   qemu_plugin_mem_is_store(info));
}

// QEMU translates one block at a time.
void on_block(qemu_plugin_id_t, qemu_plugin_tb* block) {
  static Decoded decoded;
  if (code_start == 0) code_start = qemu_plugin_start_code();
  for (std::size_t i = 0; i < qemu_plugin_tb_n_insns(block); ++i) {
    qemu_plugin_insn* const insn = qemu_plugin_tb_get_insn(block, i);
    const Instruction* const instruction = decoded.get(insn);
    if (instruction == nullptr) continue;
    qemu_plugin_register_vcpu_insn_exec_cb(insn, on_instruction, kQemuPluginNoRegisters,
                                           const_cast<Instruction*>(instruction));
    qemu_plugin_register_vcpu_mem_cb(insn, on_access, kQemuPluginNoRegisters,
                                     kQemuPluginReadsAndWrites, nullptr);
  }
}

void on_call(qemu_plugin_id_t, unsigned cpu, std::int64_t number, std::uint64_t a1,
             std::uint64_t a2, std::uint64_t a3, std::uint64_t a4, std::uint64_t a5,
             std::uint64_t a6, std::uint64_t, std::uint64_t) {
  if (!in_child) tracer->before_call(cpu, number, {a1, a2, a3, a4, a5, a6});
}

void on_result(qemu_plugin_id_t, unsigned cpu, std::int64_t number, std::int64_t result) {
  if (!in_child) tracer->after_call(cpu, number, result);
}

// A thread of its own, for the server's may all be waiting.
void obey(Control& control, const Options& options) {
  bool started = false;
  for (;; std::this_thread::sleep_for(std::chrono::milliseconds(20))) {
    control.requests = tracer->finished_requests();
    if (control.state == Control::kTrace && !started) {
      tracer->start(code_start + static_cast<std::uint64_t>(options.range_from_code));
      started = true;
      control.tracing = 1;
    }
    if (control.state != Control::kWrite) continue;
    if (std::FILE* const file = std::fopen(options.output.c_str(), "w"); file != nullptr) {
      tracer->write(file);
      std::fclose(file);
    }
    control.state = Control::kWritten;
    return;
  }
}

bool set_option(Options& options, std::string_view name, const std::string& value) {
  InjectionOptions& injections = options.tracer.injections;
  const auto number = [&] { return std::strtoull(value.c_str(), nullptr, 10); };
  if (name == "control") {
    options.control = value;
  } else if (name == "output") {
    options.output = value;
  } else if (name == "user") {
    options.tracer.user_is = value == "thread"       ? UserIs::thread
                             : value == "connection" ? UserIs::connection
                                                     : UserIs::request;
  } else if (name == "injections") {
    injections.count = static_cast<unsigned>(number());
  } else if (name == "seed") {
    injections.seed = number();
  } else if (name == "spacing") {
    injections.spacing = static_cast<RequestNumber>(number());
  } else if (name == "follow") {
    injections.follow = static_cast<RequestNumber>(number());
  } else if (name == "stores") {  // separated by colons: QEMU takes the commas
    injections.stores.clear();
    for (std::size_t from = 0; from != std::string::npos;) {
      const std::size_t colon = value.find(':', from);
      injections.stores.push_back(
          static_cast<unsigned>(std::stoul(value.substr(from, colon - from))));
      from = colon == std::string::npos ? colon : colon + 1;
    }
  } else if (name == "range_from_code") {
    options.range_from_code = std::strtoll(value.c_str(), nullptr, 10);
  } else if (name == "range_bytes") {
    injections.range_bytes = number();
  } else {
    return false;
  }
  return true;
}

bool refuse(const std::string& why) {
  std::fprintf(stderr, "vmsrs-study: the tracer: %s\n", why.c_str());
  return false;
}

bool install(qemu_plugin_id_t id, int argument_count, char** arguments) {
  static Options options;
  for (int i = 0; i < argument_count; ++i) {
    const std::string argument = arguments[i];
    const std::size_t equals = argument.find('=');
    if (equals == std::string::npos ||
        !set_option(options, std::string_view(argument).substr(0, equals),
                    argument.substr(equals + 1)))
      return refuse("unknown option '" + argument + "'");
  }
  const int file = open(options.control.c_str(), O_RDWR | O_CLOEXEC);
  void* const memory =
      file < 0 ? MAP_FAILED
               : mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (file >= 0) close(file);
  if (memory == MAP_FAILED)
    return refuse("cannot map the control file '" + options.control + "': " + std::strerror(errno));
  tracer = new Tracer(options.tracer);  // lives as long as the process
  pthread_atfork(nullptr, nullptr, [] { in_child = true; });
  qemu_plugin_register_vcpu_init_cb(id, on_thread);
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
  qemu_plugin_register_vcpu_syscall_cb(id, on_call);
  qemu_plugin_register_vcpu_syscall_ret_cb(id, on_result);
  std::thread([control = static_cast<Control*>(memory)] { obey(*control, options); }).detach();
  return true;
}

}  // namespace
}  // namespace vmsrs::study

extern "C" {

__attribute__((visibility("default"))) int qemu_plugin_version = kQemuPluginVersion;

// QEMU's start of a plugin. Not 0: it is refused, and QEMU ends.
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void*,
                                                               int argument_count,
                                                               char** arguments) {
  return vmsrs::study::install(id, argument_count, arguments) ? 0 : -1;
}

}  // extern "C"
