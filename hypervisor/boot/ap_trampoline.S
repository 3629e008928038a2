/* SPDX-License-Identifier: Apache-2.0
 *
 * Copied to a page below 1 MiB, where a start-up IPI puts the other processors in real mode. Position
 * independent up to the far jump: `ap_trampoline_page` is the only address it assumes. */
#define AP_TRAMPOLINE_PAGE 0x8000
#define HERE(label) (label - ap_trampoline_begin + AP_TRAMPOLINE_PAGE)

        .text
        .code16
        .globl ap_trampoline_begin, ap_trampoline_end
ap_trampoline_begin:
        cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdtl   HERE(ap_gdt_pointer)
        movl    $0x11, %eax             /* PE, ET */
        movl    %eax, %cr0
        ljmpl   $0x18, $HERE(ap_protected)

        .code32
ap_protected:
        movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $0x20, %eax             /* CR4.PAE */
        movl    %eax, %cr4
        movl    $boot_pml4, %eax        /* the real one may lie above 4 GiB */
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       /* EFER.LME, NXE */
        rdmsr
        orl     $0x900, %eax
        wrmsr
        movl    $0x80010013, %eax
        movl    %eax, %cr0
        ljmp    $0x08, $ap_long_mode

        .balign 8
ap_gdt_pointer:
        .word   31
        .long   boot_gdt
ap_trampoline_end:

        .code64
ap_long_mode:
        lgdt    boot_gdt_pointer
        movq    ap_start_cr3, %rax
        movq    %rax, %cr3
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        /* One processor is started at a time, so stack and argument are plain variables. */
        movq    ap_start_stack, %rsp
        movq    ap_start_argument, %rdi
        xorl    %ebp, %ebp
        call    hypervisor_ap_main
1:      hlt
        jmp     1b

        .data
        .balign 8
        .globl  ap_start_cr3, ap_start_stack, ap_start_argument
ap_start_cr3:           .quad 0
ap_start_stack:         .quad 0
ap_start_argument:      .quad 0
        .section .note.GNU-stack, "", @progbits
