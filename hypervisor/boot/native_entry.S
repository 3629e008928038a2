/* SPDX-License-Identifier: Apache-2.0
 *
 * enter_linux_natively(entry, boot_params): back from long mode to the 32-bit protected mode in which
 * Linux's boot protocol wants to be entered, with its segments (linux_loader.cpp) and without paging. */
        .text
        .code64
        .globl  enter_linux_natively
enter_linux_natively:
        cli
        lgdt    linux_segments_pointer
        pushq   $0x10
        pushq   $1f
        lretq

        .code32
1:      movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %fs
        movl    %eax, %gs
        movl    %eax, %ss
        movl    $0x11, %eax             /* ET, PE */
        movl    %eax, %cr0
        movl    $0xc0000080, %ecx       /* EFER */
        xorl    %eax, %eax
        xorl    %edx, %edx
        wrmsr
        movl    %eax, %cr4
        movl    %edi, %ecx
        xorl    %ebx, %ebx
        xorl    %edi, %edi
        xorl    %ebp, %ebp
        jmp     *%ecx

        .section .rodata
linux_segments_pointer:
        .word   31
        .quad   0x92000
        .section .note.GNU-stack, "", @progbits
