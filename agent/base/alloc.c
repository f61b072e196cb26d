/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"

#include <errno.h>
#include <stdarg.h>
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

static int may_allocate(void)
{
	n_allocs++;
	if (fail_after < 0)
		return 1;
	if (fail_after-- > 0)
		return 1;
	errno = ENOMEM;
	return 0;
}

void *sl_malloc(size_t size)
{
	return may_allocate() ? malloc(size ? size : 1) : NULL;
}

void *sl_calloc(size_t n, size_t size)
{
	return may_allocate() ? calloc(n ? n : 1, size ? size : 1) : NULL;
}

void *sl_reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return may_allocate() ? realloc(p, bytes ? bytes : 1) : NULL;
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
