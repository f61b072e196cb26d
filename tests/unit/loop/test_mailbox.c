/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include "base/alloc.h"
#include "loop/mailbox.h"
#include "../../lib/leak.h"

static struct sl_loop *loop;
static struct sl_mailbox *box;

static void setup(void)
{
	cr_assert_eq(sl_loop_new(&loop), 0);
	cr_assert_eq(sl_mailbox_new(loop, &box), 0);
}

static void teardown(void)
{
	sl_mailbox_free(box);
	sl_loop_free(loop);
}

TestSuite(mailbox, .init = setup, .fini = teardown);

enum { N_SENDERS = 4, N_MAILS = 2000 };

struct letter {
	struct sl_mail mail;
	int sender, number;
};

static int expected[N_SENDERS];
static int n_read;

static void read_letter(struct sl_mail *m)
{
	struct letter *l = sl_container_of(m, struct letter, mail);

	cr_assert_eq(l->number, expected[l->sender]++, "sender %d", l->sender);
	n_read++;
	free(l);
}

static struct letter *write_letter(int sender, int number)
{
	struct letter *l = sl_new(struct letter);

	cr_assert_not_null(l);
	*l = (struct letter){.mail.fn = read_letter, .sender = sender, .number = number};
	return l;
}

static void *send_letters(void *sender)
{
	for (int i = 0; i < N_MAILS; i++)
		sl_mailbox_post(box, &write_letter((int)(intptr_t)sender, i)->mail);
	return NULL;
}

Test(mailbox, several_senders_each_keep_their_order)
{
	pthread_t threads[N_SENDERS];

	for (intptr_t i = 0; i < N_SENDERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, send_letters, (void *)i), 0);
	/* Without a limit to the wait: a lost wake-up hangs here. */
	while (n_read < N_SENDERS * N_MAILS)
		cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
	for (int i = 0; i < N_SENDERS; i++)
		pthread_join(threads[i], NULL);
}

static void answer(struct sl_mail *m)
{
	struct letter *l = sl_container_of(m, struct letter, mail);

	n_read++;
	if (l->number--)
		sl_mailbox_post(box, m);
	else
		free(l);
}

Test(mailbox, mail_may_be_posted_again_from_its_callback)
{
	struct letter *l = write_letter(0, 3);

	l->mail.fn = answer;
	sl_mailbox_post(box, &l->mail);
	while (n_read < 4)
		cr_assert_eq(sl_loop_round(loop, UINT64_MAX), 0);
}

Test(mailbox, freeing_the_box_delivers_what_is_inside)
{
	for (int i = 0; i < 3; i++)
		sl_mailbox_post(box, &write_letter(0, i)->mail);
	cr_assert_eq(n_read, 0);
	box = sl_mailbox_free(box);
	cr_assert_eq(n_read, 3);
	cr_assert_null(sl_mailbox_free(NULL));
}

Test(mailbox, a_failed_allocation_leaves_nothing_behind)
{
	struct sl_mailbox *mb = NULL;
	int r;

	sl_alloc_fail_after(0);
	r = sl_mailbox_new(loop, &mb);
	sl_alloc_fail_after(-1);
	cr_assert_eq(r, -ENOMEM);
	cr_assert_null(mb);
	check_leaks();
}
