/* SPDX-License-Identifier: Apache-2.0
 *
 * Multiboot headers and the way from 32-bit protected mode to hypervisor_main in long mode. */
#define MULTIBOOT_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 3 /* modules on page boundaries, memory map wanted */
#define MULTIBOOT2_MAGIC 0xE85250D6
#define MULTIBOOT2_BYTES (multiboot2_end - multiboot2_begin)
#define TAG_END 0
#define TAG_INFORMATION_REQUEST 1
#define TAG_ALIGNED_MODULES 6
#define MEMORY_MAP 6

        .section .multiboot, "a"
        .balign 4
        .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

        .balign 8
multiboot2_begin:
        .long MULTIBOOT2_MAGIC, 0, MULTIBOOT2_BYTES, -(MULTIBOOT2_MAGIC + MULTIBOOT2_BYTES)
        .short TAG_INFORMATION_REQUEST, 0
        .long 12, MEMORY_MAP
        .balign 8
        .short TAG_ALIGNED_MODULES, 0
        .long 8
        .short TAG_END, 0
        .long 8
multiboot2_end:

        .text
        .code32
        .globl entry32
entry32:
        cli
        cld
        movl    $boot_stack_top, %esp
        movl    %eax, %ebp              /* multiboot magic */
        movl    %ebx, %esi              /* multiboot information; cpuid clobbers ebx */

        movl    $0x80000000, %eax
        cpuid
        cmpl    $0x80000001, %eax
        jb      no_long_mode
        movl    $0x80000001, %eax
        cpuid
        btl     $29, %edx
        jnc     no_long_mode

        /* Identity map of the first 4 GiB with 2 MiB pages; the C++ side builds the full one. */
        movl    $boot_pdpt + 3, boot_pml4
        movl    $boot_pd + 3, %eax
        movl    $boot_pdpt, %edi
        movl    $4, %ecx
1:      movl    %eax, (%edi)
        addl    $4096, %eax
        addl    $8, %edi
        loop    1b
        movl    $0x83, %eax             /* present, writable, large */
        movl    $boot_pd, %edi
        movl    $2048, %ecx
2:      movl    %eax, (%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        loop    2b

        movl    $0x20, %eax             /* CR4.PAE */
        movl    %eax, %cr4
        movl    $boot_pml4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       /* EFER.LME */
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    $0x80010013, %eax       /* PG, WP, ET, MP, PE: no lazy FPU traps in the host */
        movl    %eax, %cr0
        lgdt    boot_gdt_pointer
        ljmp    $0x08, $entry64

no_long_mode:
        movl    $no_long_mode_text, %esi
3:      lodsb
        testb   %al, %al
        jz      4f
        outb    %al, $0xe9
        movw    $0x3f8, %dx
        outb    %al, %dx
        jmp     3b
4:      hlt
        jmp     4b

        .code64
entry64:
        movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        movl    %ebp, %edi
        movl    %esi, %esi
        xorl    %ebp, %ebp
        call    hypervisor_main
5:      hlt
        jmp     5b

        .section .rodata
no_long_mode_text:
        .asciz  "vmsrs: error: this processor has no long mode\r\n"

        /* Accessed bits are set: a processor writes nothing here. */
        .balign 8
        .globl  boot_gdt
boot_gdt:
        .quad   0
        .quad   0x00af9b000000ffff      /* 0x08: 64-bit code */
        .quad   0x00cf93000000ffff      /* 0x10: data */
        .quad   0x00cf9b000000ffff      /* 0x18: 32-bit code, on the way up of the other processors */
        .globl  boot_gdt_pointer
boot_gdt_pointer:
        .word   . - boot_gdt - 1
        .quad   boot_gdt

        .bss
        .balign 4096
        .globl  boot_pml4
boot_pml4:      .skip 4096
boot_pdpt:      .skip 4096
boot_pd:        .skip 4 * 4096
        .globl  boot_stack_guard
boot_stack_guard: .skip 4096            /* absent from the host's tables */
        .skip   65536
        .globl  boot_stack_top
boot_stack_top:
        .section .note.GNU-stack, "", @progbits
