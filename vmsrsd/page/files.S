/* SPDX-License-Identifier: Apache-2.0 */
/* The page's files, as they are. */
.macro file name, path
        .globl \name, \name\()_end
\name:  .incbin "\path"
\name\()_end:
.endm

        .section .rodata
        file vmsrs_page_html, page.html
        file vmsrs_page_script, page.js
        file vmsrs_page_style, page.css

        .section .note.GNU-stack, "", @progbits
