/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts heap calls of a whole process: LD_PRELOAD it, and send SIGUSR2 to have the counts appended
 * to the file MALLOC_COUNT_FILE as one line: malloc calloc realloc free bytes.
 */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *p, size_t bytes);
extern void __libc_free(void *p);

enum { MALLOC, CALLOC, REALLOC, FREE, BYTES, N_COUNTS };

static uint64_t counts[N_COUNTS];
static int out_fd = -1;

static void count(int what, uint64_t n)
{
	__atomic_fetch_add(&counts[what], n, __ATOMIC_RELAXED);
}

void *malloc(size_t bytes)
{
	count(MALLOC, 1);
	count(BYTES, bytes);
	return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
	count(CALLOC, 1);
	count(BYTES, n * bytes);
	return __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
	count(REALLOC, 1);
	count(BYTES, bytes);
	return __libc_realloc(p, bytes);
}

void free(void *p)
{
	if (p)
		count(FREE, 1);
	__libc_free(p);
}

/* Async-signal-safe: no stdio. */
static void tell(int signal_number)
{
	char line[N_COUNTS * 21];
	size_t at = 0;

	(void)signal_number;
	for (int i = 0; i < N_COUNTS; i++) {
		uint64_t v = __atomic_load_n(&counts[i], __ATOMIC_RELAXED);
		char digits[20];
		size_t n = 0;

		do {
			digits[n++] = (char)('0' + v % 10);
			v /= 10;
		} while (v);
		while (n)
			line[at++] = digits[--n];
		line[at++] = i == N_COUNTS - 1 ? '\n' : ' ';
	}
	if (write(out_fd, line, at) < 0)
		_exit(3);
}

__attribute__((constructor)) static void begin(void)
{
	const char *file = getenv("MALLOC_COUNT_FILE");
	struct sigaction sa = {.sa_handler = tell, .sa_flags = SA_RESTART};

	out_fd = file ? open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (out_fd >= 0)
		sigaction(SIGUSR2, &sa, NULL);
}
