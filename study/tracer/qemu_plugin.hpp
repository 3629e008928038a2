// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// What of QEMU's plugin interface (version 1, QEMU 7.2) is used here: Debian packages no header for
// it. QEMU has these functions; a plugin is a shared object that it opens. Source: QEMU's
// documentation, "TCG Plugins".
extern "C" {

struct qemu_plugin_tb;    // a block of instructions, while it is translated
struct qemu_plugin_insn;  // one of them

using qemu_plugin_id_t = std::uint64_t;
using qemu_plugin_meminfo_t = std::uint32_t;

inline constexpr int kQemuPluginVersion = 1;
inline constexpr int kQemuPluginNoRegisters = 0;
inline constexpr int kQemuPluginReadsAndWrites = 3;

void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t id,
                                       void (*)(qemu_plugin_id_t, unsigned cpu));
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*)(qemu_plugin_id_t, qemu_plugin_tb*));
void qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_insn*, void (*)(unsigned cpu, void* data),
                                            int flags, void* data);
void qemu_plugin_register_vcpu_mem_cb(qemu_plugin_insn*,
                                      void (*)(unsigned cpu, qemu_plugin_meminfo_t,
                                               std::uint64_t address, void* data),
                                      int flags, int reads_or_writes, void* data);
void qemu_plugin_register_vcpu_syscall_cb(
    qemu_plugin_id_t id, void (*)(qemu_plugin_id_t, unsigned cpu, std::int64_t number,
                                  std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t,
                                  std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t));
void qemu_plugin_register_vcpu_syscall_ret_cb(qemu_plugin_id_t id,
                                              void (*)(qemu_plugin_id_t, unsigned cpu,
                                                       std::int64_t number, std::int64_t result));

std::size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb*);
qemu_plugin_insn* qemu_plugin_tb_get_insn(const qemu_plugin_tb*, std::size_t index);
const void* qemu_plugin_insn_data(const qemu_plugin_insn*);
std::size_t qemu_plugin_insn_size(const qemu_plugin_insn*);
std::uint64_t qemu_plugin_insn_vaddr(const qemu_plugin_insn*);

unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);
std::uint64_t qemu_plugin_start_code();

}  // extern "C"
