/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Allocation with a seam for tests. All heap memory of the agent's own code comes from here, so
 * that a test can make each allocation fail once. Never aborts; callers handle NULL. Thread: any.
 * Memory is released with free().
 */
#include <stddef.h>

void *sl_malloc(size_t size) __attribute__((malloc, warn_unused_result));
/* Zeroed; NULL also when n * size overflows. */
void *sl_calloc(size_t n, size_t size) __attribute__((malloc, warn_unused_result));
/* On failure the old block stays valid. NULL also when n * size overflows. */
void *sl_reallocarray(void *p, size_t n, size_t size) __attribute__((warn_unused_result));
char *sl_strdup(const char *s) __attribute__((malloc, warn_unused_result));
/* printf into a fresh string; NULL on -ENOMEM. */
char *sl_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), warn_unused_result));

#define sl_new(type)	  ((type *)sl_calloc(1, sizeof(type)))
#define sl_new_n(type, n) ((type *)sl_calloc((n), sizeof(type)))

/*
 * Tests only: let the next n allocations of this thread succeed and the one after them fail, once.
 * n < 0 switches it off. Returns how many allocations this thread made since the last call.
 */
size_t sl_alloc_fail_after(long n);
