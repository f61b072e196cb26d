/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "../../lib/leak.h"

Test(alloc, the_allocation_after_n_fails_once)
{
	void *p[4];

	(void)sl_alloc_fail_after(2);
	for (int i = 0; i < 4; i++) {
		errno = 0;
		p[i] = sl_malloc(1);
		cr_assert_eq(p[i] == NULL, i == 2, "allocation %d", i);
		cr_assert_eq(errno, i == 2 ? ENOMEM : 0);
	}
	cr_assert_eq(sl_alloc_fail_after(-1), 4);
	for (int i = 0; i < 4; i++)
		free(p[i]);
}

Test(alloc, every_way_to_allocate_can_fail)
{
	char *p = sl_strdup("x");

	sl_alloc_fail_after(0);
	cr_assert_null(sl_calloc(1, 1));
	sl_alloc_fail_after(0);
	cr_assert_null(sl_strdup("x"));
	sl_alloc_fail_after(0);
	cr_assert_null(sl_asprintf("x"));
	sl_alloc_fail_after(0);
	cr_assert_null(sl_reallocarray(p, 2, 1));
	sl_alloc_fail_after(-1);
	cr_assert_str_eq(p, "x");
	free(p);
	check_leaks();
}

Test(alloc, overflow_and_nothing)
{
	volatile size_t half = SIZE_MAX / 2;
	void *p;

	cr_assert_null(sl_reallocarray(NULL, half, 4));
	cr_assert_null(sl_calloc(half, 4));
	p = sl_malloc(0);
	cr_assert_not_null(p);
	p = sl_reallocarray(p, 0, 8);
	cr_assert_not_null(p);
	free(p);
	p = sl_calloc(0, 8);
	cr_assert_not_null(p);
	free(p);
}

Test(alloc, asprintf_holds_any_length)
{
	char *p = sl_asprintf("%0500d-%s", 7, "end");

	cr_assert_eq(strlen(p), 504);
	cr_assert_str_eq(p + 499, "7-end");
	free(p);
}

Test(cleanup, ownership_that_was_taken_is_not_released)
{
	char *kept;
	int fd_kept, fd_gone;

	{
		_cleanup_(sl_freep) char *p = sl_strdup("kept");
		_cleanup_(sl_closep) int fd = open("/dev/null", O_RDONLY), gone = dup(fd);

		fd_gone = gone;
		kept = sl_take(p);
		fd_kept = sl_take_fd(&fd);
		cr_assert_null(p);
		cr_assert_eq(fd, -1);
	}
	cr_assert_str_eq(kept, "kept");
	cr_assert_geq(fcntl(fd_kept, F_GETFD), 0);
	cr_assert_eq(fcntl(fd_gone, F_GETFD), -1);
	close(fd_kept);
	free(kept);
}

struct item {
	int number;
	struct sl_list node;
};

Test(list, keeps_order_and_allows_removal_while_walking)
{
	struct sl_list head = SL_LIST_INIT(head);
	struct item items[5];
	int sum = 0, seen = 0;

	cr_assert(sl_list_empty(&head));
	for (int i = 0; i < 5; i++) {
		items[i].number = i;
		sl_list_append(&head, &items[i].node);
	}
	sl_list_foreach_safe (it, &head) {
		struct item *item = sl_container_of(it, struct item, node);

		cr_assert_eq(item->number, seen++);
		if (item->number % 2)
			sl_list_remove(it);
	}
	sl_list_remove(&items[1].node);
	sl_list_prepend(&head, &items[3].node);
	sl_list_foreach (it, &head)
		sum = sum * 10 + sl_container_of(it, struct item, node)->number;
	cr_assert_eq(sum, 3024);
}
