/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Ownership helpers: every owning local is declared with _cleanup_() and initialised at once;
 * sl_take() and sl_take_fd() mark the place where ownership leaves.
 */
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Return a pointer and leave NULL behind. */
#define sl_take(p)                             \
	({                                     \
		__typeof__(p) sl_taken_ = (p); \
		(p) = NULL;                    \
		sl_taken_;                     \
	})

/* Return a descriptor and leave -1 behind. */
static inline int sl_take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/* Define sl_x_freep() for _cleanup_() out of a destructor that accepts NULL. */
#define SL_DEFINE_CLEANUP(type, fn)       \
	static inline void fn##p(type *p) \
	{                                 \
		if (*p)                   \
			fn(*p);           \
	}

static inline void sl_freep(void *p)
{
	free(*(void **)p);
}

static inline void sl_closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing can be done about it */
}
