/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "sluicectl/table.h"
#include "../../lib/leak.h"

static const char *const titles[] = {"NAME", "PORT", "MESSAGE"};
static struct sl_table table;
static struct sl_buf out;

static void setup(void)
{
	table = SL_TABLE_INIT(titles);
}

static void teardown(void)
{
	sl_table_deinit(&table);
	sl_buf_deinit(&out);
}

TestSuite(table, .init = setup, .fini = teardown);

static const char *rendered(void)
{
	cr_assert_eq(sl_table_render(&table, "no things", &out), 0);
	cr_assert_eq(sl_buf_append(&out, "", 1), 0);
	return sl_buf_ptr(&out);
}

Test(table, columns_are_as_wide_as_their_content)
{
	sl_table_add(&table, "a");
	sl_table_printf(&table, "%d", 80);
	sl_table_add(&table, "first");
	sl_table_add(&table, "a-long-name");
	sl_table_printf(&table, "%d", 65535);
	sl_table_add(&table, "x");
	cr_assert_str_eq(rendered(), "NAME         PORT   MESSAGE\n"
				     "a            80     first\n"
				     "a-long-name  65535  x\n");
}

Test(table, an_empty_column_is_left_out_and_an_empty_cell_marked)
{
	sl_table_add(&table, "a");
	sl_table_add(&table, NULL);
	sl_table_add(&table, "");
	sl_table_add(&table, "");
	sl_table_add(&table, "80");
	sl_table_add(&table, NULL);
	cr_assert_str_eq(rendered(), "NAME  PORT\n"
				     "a     -\n"
				     "-     80\n");
}

Test(table, no_rows_are_said_in_words)
{
	cr_assert_str_eq(rendered(), "no things\n");
}

Test(table, nothing_is_cut)
{
	static char big[5000];

	memset(big, 'x', sizeof(big) - 1);
	sl_table_add(&table, big);
	sl_table_add(&table, "1");
	sl_table_add(&table, big);
	cr_assert_eq(strlen(rendered()), 2 * (4999 + 2 + 4 + 2) + 7 + 4999 + 2);
}

Test(table, width_counts_characters)
{
	sl_table_add(&table, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80xyz");
	sl_table_add(&table, "1");
	sl_table_add(&table, NULL);
	sl_table_add(&table, "abcdef");
	sl_table_add(&table, "2");
	sl_table_add(&table, NULL);
	cr_assert_str_eq(rendered(), "NAME    PORT\n"
				     "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80xyz  1\n"
				     "abcdef  2\n");
}

Test(table, a_terminal_is_not_driven_by_content)
{
	sl_table_add(&table, "a\x1b[31mb\x7f\xc2\x9b"
			     "c");
	sl_table_add(&table, "1\n2\t3\r");
	sl_table_add(&table, "\xff\xc2");
	cr_assert_str_eq(rendered(), "NAME        PORT    MESSAGE\n"
				     "a?[31mb??c  1 2 3?  ??\n");
}

Test(table, a_failed_allocation_is_reported)
{
	int r = -1;

	for (long n = 0; r; n++) {
		teardown();
		setup();
		sl_alloc_fail_after(n);
		sl_table_add(&table, "a");
		sl_table_printf(&table, "%d", 7);
		sl_table_add(&table, "b");
		r = sl_table_render(&table, "none", &out);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		cr_assert_lt(n, 20);
	}
	cr_assert_eq(sl_buf_append(&out, "", 1), 0);
	cr_assert_str_eq(sl_buf_ptr(&out), "NAME  PORT  MESSAGE\na     7     b\n");
	check_leaks();
}
