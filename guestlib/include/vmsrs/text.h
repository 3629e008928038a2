/* SPDX-License-Identifier: Apache-2.0
 *
 * Classes 2 and 3 of the library: the C library's functions on strings and memory, for arguments
 * that may lie in profiled memory or anywhere else. What they read is what a load gives, what they
 * write to profiled memory is stored by the calling thread's user; everything else (results, errno,
 * errors of the caller) is as in the C library. Any thread; not in signal handlers.
 */
#ifndef VMSRS_TEXT_H_
#define VMSRS_TEXT_H_

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory. memcpy and memmove are the same. */
void* vmsrs_memset(void* to, int byte, size_t bytes);
void* vmsrs_memcpy(void* to, const void* from, size_t bytes);
void* vmsrs_memmove(void* to, const void* from, size_t bytes);
int vmsrs_memcmp(const void* left, const void* right, size_t bytes);
void* vmsrs_memchr(const void* memory, int byte, size_t bytes);

/* Strings. strdup's copy is private memory, of malloc. */
size_t vmsrs_strlen(const char* text);
size_t vmsrs_strnlen(const char* text, size_t most);
int vmsrs_strcmp(const char* left, const char* right);
int vmsrs_strncmp(const char* left, const char* right, size_t most);
char* vmsrs_strchr(const char* text, int character);
char* vmsrs_strrchr(const char* text, int character);
char* vmsrs_strstr(const char* text, const char* wanted);
char* vmsrs_strdup(const char* text);
char* vmsrs_strcpy(char* to, const char* from);
char* vmsrs_stpcpy(char* to, const char* from);
char* vmsrs_strncpy(char* to, const char* from, size_t bytes);
char* vmsrs_strcat(char* to, const char* from);
char* vmsrs_strncat(char* to, const char* from, size_t most);

/* Formatted text. The format, the strings of %s, the target of %n and the buffer may be profiled.
 * Numbered arguments (%1$s): -1 and EINVAL. */
int vmsrs_printf(const char* format, ...) __attribute__((format(printf, 1, 2)));
int vmsrs_fprintf(FILE* file, const char* format, ...) __attribute__((format(printf, 2, 3)));
int vmsrs_snprintf(char* to, size_t bytes, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
int vmsrs_vfprintf(FILE* file, const char* format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
int vmsrs_vsnprintf(char* to, size_t bytes, const char* format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* The text, the format and every target may be profiled. At most 16 targets; a %s or %[ without a
 * width takes 4,095 characters; no %m and no numbered arguments: else EOF and EINVAL. */
int vmsrs_scanf(const char* format, ...) __attribute__((format(scanf, 1, 2)));
int vmsrs_fscanf(FILE* file, const char* format, ...) __attribute__((format(scanf, 2, 3)));
int vmsrs_sscanf(const char* text, const char* format, ...) __attribute__((format(scanf, 2, 3)));
int vmsrs_vfscanf(FILE* file, const char* format, va_list arguments)
    __attribute__((format(scanf, 2, 0)));
int vmsrs_vsscanf(const char* text, const char* format, va_list arguments)
    __attribute__((format(scanf, 2, 0)));

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* VMSRS_TEXT_H_ */
