/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "datapath/hops.h"
#include "lib/splice.h"

/* An end that has sent and received so much, read so much, and has so much unacknowledged. The SYN
 * of who connected is counted among the bytes acknowledged: seen on every kernel of the matrix. */
static struct sl_tcp end(__u32 is_active, __u32 sent_at, __u64 acked, __u32 unacked, __u32 rcvd_at,
			 __u64 received, __u32 unread)
{
	return (struct sl_tcp){
		.is_active = is_active,
		.bytes_acked = acked + is_active,
		.bytes_received = received,
		.snd_una = sent_at + (__u32)acked,
		.write_seq = sent_at + (__u32)acked + unacked,
		.rcv_nxt = rcvd_at + (__u32)received,
		.copied_seq = rcvd_at + (__u32)received - unread,
	};
}

Test(splice, first_sequence_numbers_do_not_change_with_what_flows)
{
	static const __u64 amounts[] = {0, 1, 1000, 0xffffffff, 0x100000000, 0x1234567890};

	for (__u32 active = 0; active < 2; active++)
		for (size_t i = 0; i < sizeof(amounts) / sizeof(*amounts); i++) {
			struct sl_tcp t = end(active, 0xfffffff0, amounts[i], 7, 5, amounts[i], 0);

			cr_expect(sl_tcp_sent_at(&t) == 0xfffffff0);
			cr_expect(sl_tcp_rcvd_at(&t) == 5);
			cr_expect(sl_tcp_written(&t) == amounts[i] + 7);
		}
}

struct quiet_row {
	const char *name;
	struct sl_tcp app;
	__u64 taken, done;
	int want;
};

Test(splice, quiet_is_when_both_ends_have_counted_the_same)
{
	const struct quiet_row rows[] = {
		{"nothing sent yet", end(1, 9, 0, 0, 9, 0, 0), 0, 0, 1},
		{"all read", end(1, 9, 100, 0, 9, 50, 0), 100, 50, 1},
		{"accepted end", end(0, 9, 100, 0, 9, 50, 0), 100, 50, 1},
		{"taken, though not acknowledged yet", end(1, 9, 60, 40, 9, 50, 0), 100, 50, 1},
		{"acknowledged, but not taken", end(1, 9, 100, 0, 9, 50, 0), 99, 50, 0},
		{"written, but not taken", end(1, 9, 100, 1, 9, 50, 0), 100, 50, 0},
		{"received, but not read", end(1, 9, 100, 0, 9, 50, 1), 100, 50, 0},
		{"sent, but not received", end(1, 9, 100, 0, 9, 49, 0), 100, 50, 0},
		{"more than 4 GiB apart", end(1, 9, 100, 0, 9, 50, 0), 100 + (1ULL << 32), 50, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect(sl_app_quiet(&rows[i].app, rows[i].taken, rows[i].done) == rows[i].want,
			  "%s", rows[i].name);
}

struct credit_row {
	const char *name;
	struct sl_credit credit;
	__u32 size;
	int want;
};

Test(splice, redirected_while_the_order_is_kept_and_the_budget_lasts)
{
	static const struct credit_row rows[] = {
		{"the first", {100, 0, 100, 100, 64, 0}, 64, 1},
		{"more than the budget", {100, 0, 100, 100, 64, 0}, 65, 0},
		{"behind another redirect", {100, 40, 100, 100, 64, 1}, 24, 1},
		{"the budget is used up", {100, 40, 100, 100, 64, 1}, 25, 0},
		{"some of it taken", {100, 40, 100, 110, 64, 1}, 34, 1},
		{"behind TCP, unread", {110, 40, 100, 140, 64, 1}, 1, 0},
		{"behind TCP, all read", {110, 40, 100, 150, 64, 1}, 1, 1},
		{"all but one byte of TCP read", {110, 40, 100, 149, 64, 1}, 1, 0},
		{"so many short messages", {100, 40, 100, 100, 64, SL_HOP_MSGS}, 1, 0},
		{"so many, all read", {100, 40, 100, 140, 64, SL_HOP_MSGS}, 1, 1},
		{"more taken than sent", {100, 40, 100, 141, 64, 0}, 1, 0},
		{"nothing, over the budget", {100, 100, 100, 100, 64, 1}, 0, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect(sl_may_redirect(&rows[i].credit, rows[i].size) == rows[i].want, "%s",
			  rows[i].name);
}

/* Any mix of sends and reads: what the model's agent reads, redirected bytes first, is in order. */
Test(splice, no_schedule_puts_a_byte_before_an_earlier_one)
{
	__u32 seed = 1;

	for (int round = 0; round < 2000; round++) {
		__u64 redirected[256], tcp[256]; /* offsets of unread messages in the stream */
		int n_redirected = 0, n_tcp = 0, read_redirected = 0, read_tcp = 0;
		struct sl_credit c = {.budget = 4};
		__u64 offset = 0;

		for (int step = 0; step < 100; step++) {
			seed = seed * 1664525 + 1013904223;
			if (seed >> 31) {
				if (sl_may_redirect(&c, 1)) {
					redirected[n_redirected++] = offset;
					c.redirected++;
					c.tcp_at = c.written;
				} else {
					tcp[n_tcp++] = offset;
					c.written++;
				}
				offset++;
			} else if (read_redirected < n_redirected) {
				cr_assert(redirected[read_redirected++] == c.taken);
				c.taken++;
			} else if (read_tcp < n_tcp) {
				cr_assert(tcp[read_tcp++] == c.taken);
				c.taken++;
			}
		}
	}
}

Test(splice, everything_has_a_name)
{
	for (unsigned i = 0; i < SL_HOP_VERDICT_MAX; i++)
		cr_expect(sl_hop_verdict_name(i) && sl_hop_verdict_help(i));
	for (unsigned i = 0; i < SL_UNFIT_MAX; i++)
		cr_expect(sl_unfit_name(i) && sl_unfit_help(i));
	cr_expect(!sl_hop_verdict_name(SL_HOP_VERDICT_MAX) && !sl_unfit_name(SL_UNFIT_MAX));
	cr_expect_str_eq(sl_unfit_name(SL_UNFIT_BIT_BLOCKING), "blocking");
	cr_expect_str_eq(sl_hop_verdict_name(SL_HOP_STRANGER_VERDICT), "stranger");
	cr_expect_str_eq(sl_detector_name(SL_DETECTOR_KPROBE), "kprobe");
}
