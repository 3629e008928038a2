/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest without Linux that starts by Linux's 32-bit boot protocol: header, entry, exception stubs. */
        .section .header, "a"
        .org    0x1f1
        .byte   1                       /* setup_sects */
        .org    0x1fe
        .word   0xaa55
        .org    0x200
        .byte   0xeb, 0x66              /* jump: the header ends at 0x268 */
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
        .org    1024

        .section .text.start, "ax"
        .code32
        .globl  start
start:
        cld
        movl    $stack_top, %esp
        movl    $bss_begin, %edi
        movl    $bss_end, %ecx
        subl    %edi, %ecx
        xorl    %eax, %eax
        rep     stosb
        pushl   %esi                    /* boot_params */
        call    microkernel_main
1:      hlt
        jmp     1b

        .text
        .altmacro
        .macro  vector number
        .balign 32
        movl    $\number, last_vector
        movl    recover_stack, %esp
        jmp     *recover_at
        .endm
        .balign 32
        .globl  vectors                 /* 64 stubs, 32 bytes apart */
vectors:
        .set    number, 0
        .rept   64
        vector  %number
        .set    number, number + 1
        .endr

        .data
        .balign 4
        .globl  last_vector, recover_stack, recover_at
last_vector:    .long 0
recover_stack:  .long 0
recover_at:     .long 0

        .section .stack, "aw", @nobits
        .balign 16
        .skip   16384
stack_top:
        .section .note.GNU-stack, "", @progbits
