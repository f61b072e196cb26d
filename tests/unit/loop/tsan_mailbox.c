/* SPDX-License-Identifier: Apache-2.0 */
/* Two loops in two threads that post to each other, and senders without a loop. A plain TAP
 * program, because the test framework of the others does not start under the thread sanitizer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "loop/mailbox.h"

enum { N_SENDERS = 3, N_BALLS = 500, N_PASSES = 20 };

struct side {
	struct sl_loop *loop;
	struct sl_mailbox *box;
	int n_seen; /* plain: only the side's own thread may touch it */
	int n_retired;
};

struct ball {
	struct sl_mail mail;
	int n_passes;
};

static struct side left, right;

static void receive(struct ball *b, struct side *here, struct side *there, sl_mail_fn there_fn)
{
	here->n_seen++;
	b->n_passes++;
	if (b->n_passes < N_PASSES) {
		b->mail.fn = there_fn;
		sl_mailbox_post(there->box, &b->mail);
		return;
	}
	free(b);
	if (++here->n_retired == N_SENDERS * N_BALLS)
		sl_loop_stop(here->loop);
}

static void at_left(struct sl_mail *m);

static void at_right(struct sl_mail *m)
{
	receive(sl_container_of(m, struct ball, mail), &right, &left, at_left);
}

static void at_left(struct sl_mail *m)
{
	receive(sl_container_of(m, struct ball, mail), &left, &right, at_right);
}

static void stop_right(struct sl_mail *m)
{
	sl_loop_stop(right.loop);
}

static void *serve(void *arg)
{
	struct side *s = arg;

	return sl_loop_run(s->loop) ? arg : NULL;
}

static void *throw_balls(void *arg)
{
	for (int i = 0; i < N_BALLS; i++) {
		struct ball *b = sl_new(struct ball);

		if (!b)
			return arg;
		b->mail.fn = at_right;
		sl_mailbox_post(right.box, &b->mail);
	}
	return NULL;
}

static int check(bool ok, int number, const char *what)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", number, what);
	return !ok;
}

static int play(void)
{
	pthread_t senders[N_SENDERS], server;
	struct sl_mail stop = {.fn = stop_right};
	void *failed = NULL, *one;

	if (pthread_create(&server, NULL, serve, &right))
		return 1;
	for (int i = 0; i < N_SENDERS; i++) {
		if (pthread_create(&senders[i], NULL, throw_balls, &left))
			return 1;
	}
	/* The passes are even in number: every ball ends at the left side. */
	if (serve(&left))
		return 1;
	for (int i = 0; i < N_SENDERS; i++) {
		pthread_join(senders[i], &one);
		failed = failed ? failed : one;
	}
	sl_mailbox_post(right.box, &stop);
	pthread_join(server, &one);
	return failed || one;
}

int main(void)
{
	int bad = 0, half = N_SENDERS * N_BALLS * N_PASSES / 2;

	printf("1..4\n");
	bad += check(!sl_loop_new(&left.loop) && !sl_mailbox_new(left.loop, &left.box) &&
			     !sl_loop_new(&right.loop) && !sl_mailbox_new(right.loop, &right.box),
		     1, "two loops with a mailbox each");
	if (bad)
		return 1;
	bad += check(!play(), 2, "both loops run to their end");
	bad += check(left.n_seen == half && right.n_seen == half, 3, "every mail arrives once");
	bad += check(sl_loop_rounds(left.loop) && sl_loop_rounds(right.loop), 4,
		     "rounds are counted");
	left.box = sl_mailbox_free(left.box);
	right.box = sl_mailbox_free(right.box);
	left.loop = sl_loop_free(left.loop);
	right.loop = sl_loop_free(right.loop);
	return bad != 0;
}
