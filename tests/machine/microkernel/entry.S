/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest without Linux. Below the hypervisor it starts by Linux's 32-bit boot protocol; without one, by
 * the 16-bit code of its setup header, so that the same case can be seen on the bare machine. Then long mode,
 * the first 4 GiB at their own addresses and open to ring 3. */
        .section .header, "a"
header:
        .org    0x1f1
        .byte   2                       /* setup_sects */
        .org    0x1fe
        .word   0xaa55
        .org    0x200
        .byte   0xeb, 0x66              /* jump to 0x268, where the header ends */
        .ascii  "HdrS"
        .word   0x20f                   /* version of the protocol */
        .org    0x211
        .byte   1                       /* loadflags: loaded high */
        .org    0x214
        .long   0x1000000               /* code32_start */
        .org    0x22c
        .long   0x7fffffff              /* initrd_addr_max */
        .long   0x1000                  /* kernel_alignment */
        .org    0x238
        .long   255                     /* cmdline_size */
        .org    0x258
        .quad   0x1000000               /* pref_address */
        .long   image_size              /* init_size */
        .org    0x268
        .code16
        cli
        xorl    %esi, %esi
        movw    %ds, %si
        shll    $4, %esi                /* this header's address: boot_params */
        leal    (setup_segments - header)(%esi), %eax
        movl    %eax, setup_pointer + 2 - header
        lgdtl   setup_pointer - header
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        movw    $0x18, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        ljmpl   $0x10, $0x100000        /* where a loader puts it that does not know pref_address */
        .balign 8
setup_segments:
        .quad   0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
setup_pointer:
        .word   31
        .long   0
        .org    1536

        .section .text.start, "ax"
        .code32
        .globl  start
start:
        cld
        movl    $0x7000, %esp
        call    1f
1:      popl    %eax
        movl    %esi, %ebp
        cmpl    $1b, %eax
        je      2f
        leal    (start - 1b)(%eax), %esi
        movl    $start, %edi
        movl    $(bss_begin - start), %ecx
        rep     movsb
        movl    $2f, %eax
        jmp     *%eax
2:      movl    $bss_begin, %edi
        movl    $bss_end, %ecx
        subl    %edi, %ecx
        xorl    %eax, %eax
        rep     stosb
        movl    %ebp, boot_params
        movl    $0x40000000, %eax
        cpuid
        cmpl    $0x52534d56, %ebx       /* "VMSR" */
        jne     3f
        incl    has_hypervisor
        /* Two things that only code without paging can try: a hypercall with an address, and a store to
         * the local APIC whose address is four bytes of a 32-bit instruction. */
        movl    $0x200, %eax            /* VMSRS_CALL_MGMT_OPEN */
        movl    $0x2000000, %edi
        vmmcall
        movl    %eax, status_without_paging
        movl    $0x40, %eax
        movl    %eax, 0xfee00080
        movl    0xfee00080, %eax
        movl    %eax, priority_without_paging
3:      movl    $(level3 + 7), level4
        movl    $(level2 + 7), %eax
        movl    $level3, %edi
        movl    $4, %ecx
4:      movl    %eax, (%edi)
        addl    $4096, %eax
        addl    $8, %edi
        loop    4b
        movl    $0x87, %eax             /* present, writable, for everybody, 2 MiB */
        movl    $level2, %edi
        movl    $2048, %ecx
5:      movl    %eax, (%edi)
        addl    $0x200000, %eax
        addl    $8, %edi
        loop    5b
        call    enter_long_mode
        .code64
        leaq    stacks + 0x4000(%rip), %rsp
        call    microkernel_main

        .code32
        .globl  enter_long_mode         /* returns to 64-bit code, its caller's address on the stack */
enter_long_mode:
        movl    $0x6a0, %eax            /* PAE, PGE, OSFXSR, OSXMMEXCPT */
        movl    %eax, %cr4
        movl    $level4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       /* EFER: SCE, LME, NXE */
        rdmsr
        orl     $0x901, %eax
        wrmsr
        movl    $0x80010033, %eax       /* PG, WP, NE, ET, MP, PE */
        movl    %eax, %cr0
        lgdt    early_pointer
        ljmp    $0x10, $1f
        .code64
1:      movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    (%rsp), %eax
        jmp     *%rax

/* What a start-up IPI starts, copied to 0x8000. First it writes down what it finds. */
        .section .rodata
        .globl  trampoline_begin, trampoline_end
        .code16
trampoline_begin:
        cli
        movw    %ax, %cs:0x0f00         /* 0x8f00: ax, cs, then 32 bits each: edx, cr0, eflags, esp */
        movw    %cs, %ax
        movw    %ax, %cs:0x0f02
        movl    %edx, %cs:0x0f04
        movl    %cr0, %edx
        movl    %edx, %cs:0x0f08
        movl    %esp, %cs:0x0f10
        movl    $0x8f80, %esp           /* SS is 0 */
        pushfl
        popl    %edx
        movl    %edx, %cs:0x0f0c
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        lgdtl   0x8000 + trampoline_pointer - trampoline_begin
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $0x10, $processor_start_32
        .balign 8
trampoline_segments:
        .quad   0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
trampoline_pointer:
        .word   31
        .long   0x8000 + trampoline_segments - trampoline_begin
trampoline_end:

        .text
        .code32
processor_start_32:
        movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $0x8f80, %esp
        call    enter_long_mode
        .code64
        movl    0xfee00020, %eax        /* each processor a stack */
        shrl    $24, %eax
        andl    $7, %eax
        incl    %eax
        shll    $14, %eax
        leaq    stacks(%rax), %rsp
        call    processor_main

        /* Interrupts and exceptions: all registers, then on_interrupt(frame*), which may change them. */
        .altmacro
        .macro  vector number
        .balign 16
        .if     (number == 8) || (number >= 10 && number <= 14) || number == 17 || number == 21
        .else
        pushq   $0
        .endif
        pushq   $\number
        jmp     interrupt_common
        .endm
        .balign 16
        .globl  vectors                 /* 256 stubs, 16 bytes apart */
vectors:
        .set    number, 0
        .rept   256
        vector  %number
        .set    number, number + 1
        .endr
interrupt_common:
        .irp    register, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
        pushq   %\register
        .endr
        movq    %rsp, %rdi
        cld
        call    on_interrupt
        .irp    register, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
        popq    %\register
        .endr
        addq    $16, %rsp
        .globl  interrupt_return
interrupt_return:
        iretq

        .globl  enter_ring3             /* enter_ring3(code, stack, argument): comes back by int $0x80 */
enter_ring3:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        call    save_ring0_stack        /* uses no more than the red part of the stack below */
        pushq   $0x23
        pushq   %rsi
        pushq   $0x2
        pushq   $0x2b
        pushq   %rdi
        movq    %rdx, %rdi
        iretq
save_ring0_stack:
        pushq   %rdi
        pushq   %rsi
        pushq   %rdx
        leaq    32(%rsp), %rdi
        call    keep_ring0_stack
        popq    %rdx
        popq    %rsi
        popq    %rdi
        ret
        .globl  leave_ring3
leave_ring3:
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        ret

        .data
        .balign 8
early_segments:
        .quad   0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff
early_pointer:
        .word   31
        .quad   early_segments

        .bss
        .balign 4096
        .globl  level4, level3, level2
level4: .skip   4096
level3: .skip   4096
level2: .skip   4 * 4096
        .globl  stacks
stacks: .skip   9 * 0x4000              /* the last of them for ring 3 */
        .globl  boot_params, has_hypervisor, status_without_paging, priority_without_paging
boot_params:    .quad 0
has_hypervisor: .long 0
status_without_paging: .long 0
priority_without_paging: .long 0
        .section .note.GNU-stack, "", @progbits
