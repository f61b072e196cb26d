/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"

static int reader;
static char got[8192];

static void setup(void)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_NONBLOCK), 0);
	cr_assert_geq(dup2(fds[1], STDERR_FILENO), 0);
	close(fds[1]);
	reader = fds[0];
}

TestSuite(log, .init = setup);

/* What one call wrote, without the time. */
static const char *logged(void)
{
	ssize_t n = read(reader, got, sizeof(got) - 1);

	if (n <= 0)
		return "";
	got[n] = '\0';
	cr_assert_gt(n, 25);
	cr_assert_eq(got[10], 'T');
	cr_assert_eq(got[23], 'Z');
	return got + 25;
}

Test(log, one_event_is_one_line)
{
	sl_warn("route refused name=\"%s\"", "a\nerror b\r\x1b[0m\x7f");
	cr_assert_str_eq(logged(), "warn route refused name=\"a?error b??[0m?\"\n");
}

Test(log, levels_above_the_chosen_one_are_silent)
{
	sl_debug("x");
	cr_assert_str_eq(logged(), "");
	sl_log_level = SL_LOG_ERROR;
	sl_info("x");
	sl_warn("x");
	cr_assert_str_eq(logged(), "");
	sl_error("x");
	cr_assert_str_eq(logged(), "error x\n");
	sl_log_level = SL_LOG_DEBUG;
	sl_debug("y");
	cr_assert_str_eq(logged(), "debug y\n");
}

Test(log, long_lines_are_cut_and_still_end)
{
	char text[5000];
	size_t n;

	/* Around the size of the line buffer, so that an end that is one off shows. */
	for (size_t len = 1900; len < 2300; len++) {
		memset(text, 'x', len);
		text[len] = '\0';
		sl_info("%s", text);
		n = strlen(logged());
		cr_assert_eq(got[25 + n - 1], '\n', "length %zu", len);
		cr_assert(n == 5 + len + 1 || 25 + n == 2047, "length %zu gave %zu", len, n);
		for (size_t i = 30; i < 25 + n - 1; i++)
			cr_assert_eq(got[i], 'x');
	}
}

Test(log, a_limiter_lets_one_a_second_through_and_counts_the_rest)
{
	struct sl_log_limit limit = {0};
	uint64_t now = 5 * SL_NS_PER_S, skipped = 99;

	cr_assert(sl_log_allowed(&limit, now, &skipped));
	cr_assert_eq(skipped, 0);
	for (int i = 0; i < 7; i++)
		cr_assert_not(sl_log_allowed(&limit, now + (uint64_t)i, &skipped));
	cr_assert_not(sl_log_allowed(&limit, now + SL_NS_PER_S - 1, &skipped));
	cr_assert(sl_log_allowed(&limit, now + SL_NS_PER_S, &skipped));
	cr_assert_eq(skipped, 8);
	cr_assert(sl_log_allowed(&limit, now + 3 * SL_NS_PER_S, &skipped));
	cr_assert_eq(skipped, 0);
}

Test(log, errors_have_a_text)
{
	cr_assert_str_eq(sl_strerror(-ENOENT), "No such file or directory");
	cr_assert_str_eq(sl_strerror(ENOENT), "No such file or directory");
	cr_assert_str_eq(sl_strerror(-12345), "unknown error");
}

Test(log, wall_time_has_a_fixed_form)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
	char out[25];

	sl_clock_wall(out);
	cr_assert_eq(strlen(out), 24);
	for (int i = 0; i < 24; i++) {
		if (form[i] == 'd')
			cr_assert(out[i] >= '0' && out[i] <= '9', "%s", out);
		else
			cr_assert_eq(out[i], form[i], "%s", out);
	}
}
