/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "../../lib/leak.h"
#include "scratch.h"

static struct sl_netns_watch *watch;

static void set_up(void)
{
	const char *dirs[] = {scratch.dirs[0]};
	const struct sl_netns_opts opts = {
		.dirs = dirs, .n_dirs = 1, .cgroup_path = "/sluice-test-none"};

	scratch_open();
	scratch_make_dir(0);
	scratch_add(0, "pod");
	cr_assert_eq(sl_netns_watch_open(scratch.loop, &opts, seen_note, NULL, &watch), 0);
	cr_assert_eq(seen.n_added, 1);
	cr_assert_eq(seen.last->n_addrs, 0);
}

static void tear_down(void)
{
	watch = sl_netns_watch_close(watch);
	scratch_close();
}

TestSuite(netns_addresses, .init = set_up, .fini = tear_down, .timeout = 60);

Test(netns_addresses, addresses_of_both_families_come_and_go)
{
	scratch_ip(0, "pod", "addr add 10.1.2.3/32 dev lo");
	scratch_until(seen_addr("10.1.2.3"));
	scratch_ip(0, "pod", "addr add fd00::1/128 dev lo");
	scratch_until(seen_addr("fd00::1"));
	cr_assert_eq(seen.last->n_addrs, 2);
	scratch_ip(0, "pod", "addr del 10.1.2.3/32 dev lo");
	scratch_until(!seen_addr("10.1.2.3"));
	cr_assert_eq(seen.last->n_addrs, 1);
	cr_assert(seen_addr("fd00::1"));
	cr_assert_eq(seen.n_changed, 3);
	cr_assert_eq(seen.n_added, 1);
	cr_assert_eq(seen.n_removed, 0);
}

Test(netns_addresses, a_source_in_use_does_not_change)
{
	struct sl_source *held = sl_source_ref(seen.last);

	scratch_ip(0, "pod", "addr add 10.1.2.3/32 dev lo");
	scratch_until(seen.n_changed == 1);
	cr_assert_neq(seen.last, held);
	cr_assert_eq(held->n_addrs, 0);
	cr_assert_eq(held->cookie, seen.last->cookie);
	cr_assert_str_eq(held->name, seen.last->name);
	cr_assert_neq(held->fd, seen.last->fd);
	(void)sl_source_unref(held);
}

Test(netns_addresses, what_is_there_already_is_told_with_the_namespace)
{
	scratch_ip(0, "pod", "link set lo down");
	scratch_until(seen.n_removed == 1);
	scratch_ip(0, "pod", "addr add 10.1.2.3/32 dev lo");
	scratch_ip(0, "pod", "link set lo up");
	scratch_until(seen.n_added == 2);
	scratch_until(seen_addr("10.1.2.3"));
}

Test(netns_addresses, loopback_and_link_local_are_left_out)
{
	scratch_ip(0, "pod", "addr add 127.1.2.3/8 dev lo");
	scratch_ip(0, "pod", "addr add 169.254.1.1/16 dev lo");
	scratch_ip(0, "pod", "addr add fe80::1/64 dev lo");
	scratch_ip(0, "pod", "addr add 10.1.2.3/32 dev lo");
	scratch_until(seen_addr("10.1.2.3"));
	cr_assert_eq(seen.last->n_addrs, 1);
	cr_assert_eq(seen.n_changed, 1);
}

Test(netns_addresses, of_a_pair_the_own_end_is_told)
{
	scratch_ip(0, "pod", "addr add 10.1.2.3 peer 10.4.5.6 dev lo");
	scratch_until(seen_addr("10.1.2.3"));
	cr_assert_not(seen_addr("10.4.5.6"));
}

Test(netns_addresses, one_address_on_two_interfaces_is_one)
{
	scratch_ip(0, "pod", "link add sl0 type veth peer name sl1");
	scratch_ip(0, "pod", "addr add 10.1.2.3/32 dev sl0");
	scratch_until(seen_addr("10.1.2.3"));
	scratch_ip(0, "pod", "addr add 10.1.2.3/32 dev sl1");
	scratch_ip(0, "pod", "addr add 10.1.2.4/32 dev sl1");
	scratch_until(seen_addr("10.1.2.4"));
	cr_assert_eq(seen.last->n_addrs, 2);
	scratch_ip(0, "pod", "addr del 10.1.2.3/32 dev sl0");
	scratch_ip(0, "pod", "addr add 10.1.2.5/32 dev sl1");
	scratch_until(seen_addr("10.1.2.5"));
	cr_assert(seen_addr("10.1.2.3"));
	/* An interface that goes takes its addresses along. */
	scratch_ip(0, "pod", "link del sl0");
	scratch_until(seen.last->n_addrs == 0);
}

Test(netns_addresses, a_tentative_address_is_told_when_it_has_proved_to_be_unique)
{
	/* Without a carrier it stays tentative. */
	scratch_ip(0, "pod", "link add sl0 type veth peer name sl1");
	scratch_ip(0, "pod", "link set sl0 up");
	scratch_ip(0, "pod", "addr add fd00::1/64 dev sl0");
	scratch_ip(0, "pod", "addr add 10.1.2.3/32 dev sl0");
	scratch_until(seen_addr("10.1.2.3"));
	cr_assert_not(seen_addr("fd00::1"));
	scratch_ip(0, "pod", "link set sl1 up");
	scratch_until(seen_addr("fd00::1"));
	cr_assert_eq(seen.last->n_addrs, 2);
}

/* From a file, as one command is much faster than many. */
static void add_many(const char *net)
{
	scratch_run(
		"for i in $(seq 1 1500); do echo addr add %s.$((i/250)).$((i%%250+1))/32 dev lo; "
		"done >%s/batch",
		net, scratch.root);
	scratch_ip(0, "pod", "-batch %s/batch", scratch.root);
}

Test(netns_addresses, more_changes_than_the_socket_holds_are_followed_all_the_same)
{
	/* Nobody reads while this goes on. */
	add_many("10.2");
	scratch_until(seen.last->n_addrs == 1500);
	cr_assert(seen_addr("10.2.6.1"));
	scratch_ip(0, "pod", "addr flush dev lo scope global");
	scratch_until(seen.last->n_addrs == 0);
}

Test(netns_addresses, a_change_whose_notification_is_lost_is_found)
{
	add_many("169.254");
	scratch_ip(0, "pod", "addr add 10.1.2.3/32 dev lo");
	scratch_until(seen_addr("10.1.2.3"));
	cr_assert_eq(seen.last->n_addrs, 1);
	watch = sl_netns_watch_close(watch);
	check_leaks();
}
