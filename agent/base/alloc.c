/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static __thread long fail_after = -1;
static __thread size_t n_allocs;

size_t sl_alloc_fail_after(long n)
{
	size_t made = n_allocs;

	fail_after = n;
	n_allocs = 0;
	return made;
}

/* Sizes that no object can have are refused here, as some allocators abort on them. */
static int may_allocate(size_t size)
{
	n_allocs++;
	if (size <= PTRDIFF_MAX) {
		if (fail_after < 0)
			return 1;
		if (fail_after-- > 0)
			return 1;
	}
	errno = ENOMEM;
	return 0;
}

/* n * size, and at least one byte; what overflows is a size that is refused. */
static size_t product(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return SIZE_MAX;
	return bytes ? bytes : 1;
}

void *sl_malloc(size_t size)
{
	return may_allocate(size) ? malloc(size ? size : 1) : NULL;
}

void *sl_calloc(size_t n, size_t size)
{
	size_t bytes = product(n, size);

	return may_allocate(bytes) ? calloc(1, bytes) : NULL;
}

void *sl_reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes = product(n, size);

	return may_allocate(bytes) ? realloc(p, bytes) : NULL;
}

char *sl_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = sl_malloc(n);

	return p ? memcpy(p, s, n) : NULL;
}

char *sl_asprintf(const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return NULL;
	p = sl_malloc((size_t)n + 1);
	if (!p)
		return NULL;
	va_start(ap, fmt);
	(void)vsnprintf(p, (size_t)n + 1, fmt, ap); /* the size was just computed */
	va_end(ap);
	return p;
}
