/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that see an application call splice(2) on a socket. */
#include "facts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void splice_once(void)
{
	int pipe_fd[2];
	struct pair p;

	pair_new(&p);
	expect(!pipe(pipe_fd), "pipe");
	say(p.own, "x");
	expect(readable(p.app, SOON) && splice(p.app, NULL, pipe_fd[1], NULL, 1, 0) == 1,
	       "splice: %s", strerror(errno));
}

static void traced(bool fentry)
{
	int r = trace_attach(fentry);

	if (r) {
		answer("refused");
		note("%s", strerror(-r));
		return;
	}
	splice_once();
	expect(seen->n_splice_read == 1, "called %llu times", seen->n_splice_read);
	answer("sees it");
}

static void by_fentry(void)
{
	traced(true);
}

static void by_kprobe(void)
{
	traced(false);
}

const struct fact facts_trace[] = {
	{"fentry on tcp_splice_read?", "sees it|refused", by_fentry},
	{"a kprobe on tcp_splice_read?", "sees it|refused", by_kprobe},
	{0},
};
