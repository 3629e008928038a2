/* SPDX-License-Identifier: Apache-2.0
 *
 * vm_run(vmcb_address, general_regs*): one VMRUN. RAX and RSP travel in the VMCB, all other general
 * registers by hand (APM vol. 2, 15.5). FS, GS, TR, LDTR and the system-call MSRs stay the guest's the
 * whole time: the hypervisor uses none of them, so VMLOAD is needed only when their values are set anew. */
        .text
        .code64
        .globl  vm_run
vm_run:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        pushq   %rsi
        movq    %rdi, %rax
        movq    0x00(%rsi), %rbx
        movq    0x08(%rsi), %rcx
        movq    0x10(%rsi), %rdx
        movq    0x20(%rsi), %rdi
        movq    0x28(%rsi), %rbp
        movq    0x30(%rsi), %r8
        movq    0x38(%rsi), %r9
        movq    0x40(%rsi), %r10
        movq    0x48(%rsi), %r11
        movq    0x50(%rsi), %r12
        movq    0x58(%rsi), %r13
        movq    0x60(%rsi), %r14
        movq    0x68(%rsi), %r15
        movq    0x18(%rsi), %rsi
        vmrun   %rax
        pushq   %rsi
        movq    8(%rsp), %rsi
        movq    %rbx, 0x00(%rsi)
        movq    %rcx, 0x08(%rsi)
        movq    %rdx, 0x10(%rsi)
        popq    0x18(%rsi)
        movq    %rdi, 0x20(%rsi)
        movq    %rbp, 0x28(%rsi)
        movq    %r8, 0x30(%rsi)
        movq    %r9, 0x38(%rsi)
        movq    %r10, 0x40(%rsi)
        movq    %r11, 0x48(%rsi)
        movq    %r12, 0x50(%rsi)
        movq    %r13, 0x58(%rsi)
        movq    %r14, 0x60(%rsi)
        movq    %r15, 0x68(%rsi)
        popq    %rsi
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        cld
        ret
        .section .note.GNU-stack, "", @progbits
