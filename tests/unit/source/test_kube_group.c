/* SPDX-License-Identifier: Apache-2.0 */
/* Versions that a server says it serves. */
#include "kube_case.h"

#define GROUP "gateway.networking.k8s.io"

static const char *const versions[] = {GROUP "/v1", GROUP "/v1alpha3", GROUP "/v1alpha2", NULL};

struct user {
	struct sl_kube_group_user user;
	struct sl_kube_group *group;
	unsigned n_read;
	const char *best;
};

static bool on_read(struct sl_kube_group_user *u)
{
	struct user *me = sl_container_of(u, struct user, user);

	me->n_read++;
	me->best = sl_kube_group_choose(me->group, versions, "tlsroutes");
	return false;
}

static void join(struct fixture *f, const char *name, struct user *u)
{
	*u = (struct user){.user.on_read = on_read};
	cr_assert_eq(sl_kube_group_get(&f->pool.groups, f->pool.loop, f->pool.client,
				       sl_str_from(name), &u->group),
		     0);
	sl_kube_group_join(u->group, &u->user);
}

static void read_once(struct fixture *f, struct user *u)
{
	unsigned n = u->n_read;

	sl_kube_group_ask(u->group);
	ROUNDS_UNTIL(f, u->n_read > n);
}

Test(kube_group, the_first_of_the_versions_that_are_served_is_chosen)
{
	static const struct {
		const char *served, *best, *any;
	} cases[] = {
		{"v1 v1alpha2", "v1", "v1"},
		{"v1alpha2", "v1alpha2", "v1alpha2"},
		{"v1alpha2 v1alpha3", "v1alpha3", "v1alpha2"},
		{"v9", NULL, "v9"},
		{"v9 v1", "v1", "v1"},
		{"", NULL, NULL},
	};
	struct fixture f;
	struct user u;

	set_up(&f);
	join(&f, GROUP, &u);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char command[128], *best = sl_asprintf(GROUP "/%s", cases[i].best);
		const char *any;

		(void)snprintf(command, sizeof(command), "serve tlsroutes %s", cases[i].served);
		(void)ask(&f, command);
		read_once(&f, &u);
		cr_expect_eq(u.best == NULL, cases[i].best == NULL, "%s", cases[i].served);
		if (u.best)
			cr_expect_str_eq(u.best, best);
		any = sl_kube_group_any(u.group, "tlsroutes");
		cr_expect_eq(any == NULL, cases[i].any == NULL, "%s", cases[i].served);
		if (any && cases[i].any)
			cr_expect_not_null(strstr(any, cases[i].any));
		free(best);
	}
	sl_kube_group_leave(&u.user);
	tear_down(&f);
}

Test(kube_group, one_reading_is_for_all_who_ask_and_others_come_a_moment_later)
{
	struct fixture f;
	struct user a, b;

	set_up(&f);
	join(&f, GROUP, &a);
	join(&f, GROUP, &b);
	cr_assert_eq(a.group, b.group);
	sl_kube_group_ask(a.group);
	sl_kube_group_ask(b.group);
	ROUNDS_UNTIL(&f, a.n_read && b.n_read);
	cr_expect_eq(ask(&f, "count /apis/" GROUP), 1);
	sl_kube_group_ask(a.group);
	sl_kube_group_ask(b.group);
	ROUNDS_UNTIL(&f, a.n_read == 2 && b.n_read == 2);
	cr_expect_eq(ask(&f, "count /apis/" GROUP), 2);
	sl_kube_group_leave(&a.user);
	sl_kube_group_leave(&b.user);
	tear_down(&f);
}

Test(kube_group, what_is_known_outlives_an_error)
{
	static const char *const faults[] = {"fault 500", "fault 403"};
	struct fixture f;
	struct user u;

	set_up(&f);
	join(&f, GROUP, &u);
	read_once(&f, &u);
	for (size_t i = 0; i < 2; i++) {
		(void)ask(&f, faults[i]);
		read_once(&f, &u);
		cr_expect_str_eq(u.best, versions[0], "%s", faults[i]);
	}
	sl_kube_group_leave(&u.user);
	tear_down(&f);
}

Test(kube_group, a_group_that_is_not_there_has_nothing)
{
	struct fixture f;
	struct user u;

	set_up(&f);
	join(&f, "nobody.example", &u);
	read_once(&f, &u);
	cr_expect_null(u.best);
	cr_expect_null(sl_kube_group_any(u.group, "tlsroutes"));
	sl_kube_group_leave(&u.user);
	tear_down(&f);
}

Test(kube_group, every_allocation_may_fail)
{
	struct fixture f;
	struct user u;
	long n = 0;

	set_up(&f);
	join(&f, GROUP, &u);
	do {
		u.n_read = 0;
		sl_alloc_fail_after(n++);
		sl_kube_group_ask(u.group);
		ROUNDS_UNTIL(&f, u.n_read);
		sl_alloc_fail_after(-1);
	} while (!u.best);
	cr_expect_gt(n, 5);
	cr_expect_str_eq(u.best, versions[0]);
	sl_kube_group_leave(&u.user);
	tear_down(&f);
}
