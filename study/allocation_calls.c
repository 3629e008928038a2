// SPDX-License-Identifier: Apache-2.0
// The C library's allocator, as the traced server sees it: each call tells the tracer of its block,
// by system calls that do not exist (tracer.hpp). Between kEnter and kLeave the allocator works on
// data of its own, which is no user's.
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

enum Call { kEnter = 0x56530000, kAllocated, kFreed, kMoving, kLeave };

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void* block);

#define EXPORTED __attribute__((visibility("default")))

// In line: a call would be one more caller. errno stays.
static inline __attribute__((always_inline)) void tell(enum Call number, const void* block,
                                                       size_t bytes) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"((long)number), "D"(block), "S"(bytes)
                   : "rcx", "r11", "memory");
}

static inline __attribute__((always_inline)) void* allocated(void* block, size_t bytes) {
  if (block != NULL) tell(kAllocated, block, bytes);
  tell(kLeave, NULL, 0);
  return block;
}

EXPORTED void* malloc(size_t bytes) {
  tell(kEnter, NULL, 0);
  return allocated(__libc_malloc(bytes), bytes);
}

EXPORTED void* calloc(size_t count, size_t bytes) {
  tell(kEnter, NULL, 0);
  return allocated(__libc_calloc(count, bytes), count * bytes);
}

EXPORTED void* memalign(size_t alignment, size_t bytes) {
  tell(kEnter, NULL, 0);
  return allocated(__libc_memalign(alignment, bytes), bytes);
}

EXPORTED void* aligned_alloc(size_t alignment, size_t bytes) {
  tell(kEnter, NULL, 0);
  return allocated(__libc_memalign(alignment, bytes), bytes);
}

EXPORTED void* valloc(size_t bytes) {
  tell(kEnter, NULL, 0);
  return allocated(__libc_memalign((size_t)sysconf(_SC_PAGESIZE), bytes), bytes);
}

EXPORTED int posix_memalign(void** result, size_t alignment, size_t bytes) {
  if (alignment % sizeof(void*) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0)
    return EINVAL;
  tell(kEnter, NULL, 0);
  void* const block = allocated(__libc_memalign(alignment, bytes), bytes);
  if (block == NULL) return ENOMEM;
  *result = block;
  return 0;
}

EXPORTED void* realloc(void* block, size_t bytes) {
  tell(kEnter, NULL, 0);
  if (block != NULL) tell(kMoving, block, 0);
  return allocated(__libc_realloc(block, bytes), bytes);
}

EXPORTED void* reallocarray(void* block, size_t count, size_t bytes) {
  size_t all;
  if (__builtin_mul_overflow(count, bytes, &all)) {
    errno = ENOMEM;
    return NULL;
  }
  tell(kEnter, NULL, 0);
  if (block != NULL) tell(kMoving, block, 0);
  return allocated(__libc_realloc(block, all), all);
}

EXPORTED void free(void* block) {
  if (block == NULL) return;
  tell(kEnter, NULL, 0);
  tell(kFreed, block, 0);
  __libc_free(block);
  tell(kLeave, NULL, 0);
}
