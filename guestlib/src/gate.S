/* SPDX-License-Identifier: Apache-2.0 */
    .text
    .balign 64
    .globl vmsrs_gate_begin
    .hidden vmsrs_gate_begin
vmsrs_gate_begin:

/* long vmsrs_gate_call(long number, a, b, c, d, e, f): from the registers of a function call to
 * those of a system call (System V ABI, A.2.1). */
    .globl vmsrs_gate_call
    .hidden vmsrs_gate_call
    .type vmsrs_gate_call, @function
vmsrs_gate_call:
    .cfi_startproc
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    movq %r9, %r8
    movq 8(%rsp), %r9
    syscall
    ret
    .cfi_endproc
    .size vmsrs_gate_call, . - vmsrs_gate_call

    .globl vmsrs_gate_return
    .hidden vmsrs_gate_return
    .type vmsrs_gate_return, @function
vmsrs_gate_return:
    .cfi_startproc
    movq %rdi, %rsp
    movl $15, %eax  /* rt_sigreturn */
    syscall
    ud2
    .cfi_endproc
    .size vmsrs_gate_return, . - vmsrs_gate_return

    .globl vmsrs_gate_end
    .hidden vmsrs_gate_end
vmsrs_gate_end:
    .section .note.GNU-stack, "", @progbits
