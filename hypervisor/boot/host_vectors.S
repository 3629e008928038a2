/* SPDX-License-Identifier: Apache-2.0
 *
 * The hypervisor's own interrupt vectors. It runs with GIF=0, so all it ever expects is the NMI that a
 * deliberate STGI lets in (another processor's kick) and, while a local APIC is being reset, left-over
 * interrupts, which are acknowledged and forgotten. Everything else is a defect: dump and stop. */
        .altmacro
        .text
        .code64

        .globl  host_nmi_vector
host_nmi_vector:
        /* Between STGI and HLT an NMI would be forgotten and the sleep would last for ever. */
        cmpq    $sleep_halt, (%rsp)
        jne     1f
        movq    $sleep_end, (%rsp)
1:      iretq

        .globl  host_sleep              /* until the next NMI; GIF is 0 before and after */
host_sleep:
        stgi
sleep_halt:
        hlt
sleep_end:
        clgi
        ret

        .globl  host_run_afresh         /* (processor, stack_top, run): what the stack holds is over */
host_run_afresh:
        movq    %rsi, %rsp
        pushfq
        andl    $~0x40000, (%rsp)       /* AC: no longer in reach of the guest's memory (svm/guest_access.hpp) */
        popfq
        xorl    %ebp, %ebp
        call    *%rdx
        ud2

        .globl  host_drain_vector
host_drain_vector:
        pushq   %rax
        movl    $0xfee000b0, %eax       /* EOI; APM vol. 2, 16.4.3 */
        movl    $0, (%rax)
        popq    %rax
        iretq

        .globl  host_security_vector    /* an INIT that VM_CR.R_INIT has turned into #SX */
host_security_vector:
        .irp    register, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
        pushq   %\register
        .endr
        cld
        call    host_redirected_init
        .irp    register, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
        popq    %\register
        .endr
        addq    $8, %rsp                /* the error code */
        iretq

        .macro  fault_vector number, has_code
        .balign 16
        .if     \has_code == 0
        pushq   $0
        .endif
        pushq   $\number
        jmp     host_fault_common
        .endm

        .balign 16
        .globl  host_fault_vectors      /* 32 stubs, 16 bytes apart */
host_fault_vectors:
        .set    number, 0
        .rept   32
        /* vectors that push an error code: APM vol. 2, table 8-1 */
        .if     (number == 8) || (number >= 10 && number <= 14) || number == 17 || number == 21 || number == 29 || number == 30
        fault_vector %number, 1
        .else
        fault_vector %number, 0
        .endif
        .set    number, number + 1
        .endr
        .balign 16

        .globl  host_read_msr           /* bool host_read_msr(msr, *result): false where it is #GP */
host_read_msr:
        movl    %edi, %ecx
read_msr_try:
        rdmsr
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, (%rsi)
        movl    $1, %eax
        ret
read_msr_failed:
        xorl    %eax, %eax
        ret

host_fault_common:
        /* On the stack: vector, error code, rip. The one fault that is expected: */
        cmpq    $read_msr_try, 16(%rsp)
        jne     2f
        movq    $read_msr_failed, 16(%rsp)
        addq    $16, %rsp
        iretq
2:
        movq    %rsp, %rdi
        movq    %cr2, %rsi
        andq    $-16, %rsp
        call    host_fault
1:      hlt
        jmp     1b
        .section .note.GNU-stack, "", @progbits
