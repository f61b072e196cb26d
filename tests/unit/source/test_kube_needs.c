/* SPDX-License-Identifier: Apache-2.0 */
/* ConfigMaps and Secrets that others name, from a server in another process (kube_server.py). */
#include "kube_case.h"

static const struct sl_data_object *get(const struct fixture *f, enum sl_kind kind,
					const char *name)
{
	return (const struct sl_data_object *)sl_model_get(f->pool.model, kind, SL_STR("shop"),
							   sl_str_from(name));
}

static bool has(const struct fixture *f, enum sl_kind kind, const char *name, const char *value)
{
	const struct sl_data_object *o = get(f, kind, name);

	return o && sl_str_eqc(sl_data_get(o, SL_STR("k")), value);
}

static void apply_map(struct fixture *f, const char *name, const char *value)
{
	char command[256];

	(void)snprintf(command, sizeof(command),
		       "apply {\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": "
		       "{\"name\": \"%s\", \"namespace\": \"shop\"}, \"data\": {\"k\": \"%s\"}}",
		       name, value);
	(void)ask(f, command);
}

#define REF(k, n)                          \
	{                                  \
		(k), {"shop", 4},          \
		{                          \
			(n), sizeof(n) - 1 \
		}                          \
	}

Test(kube_needs, what_is_named_is_followed_and_nothing_else)
{
	static const struct sl_object_ref refs[] = {REF(SL_KIND_CONFIGMAP, "ca"),
						    REF(SL_KIND_SECRET, "cert")};
	const struct sl_object user = {.needs = refs, .n_needs = 2};
	struct fixture f;

	set_up(&f);
	apply_map(&f, "ca", "1");
	apply_map(&f, "other", "2");
	(void)ask(&f,
		  "apply {\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": "
		  "{\"name\": \"cert\", \"namespace\": \"shop\"}, \"data\": {\"k\": \"eA==\"}}");
	cr_expect(sl_kube_needs_are_settled(f.pool.needs));
	cr_assert_eq(sl_kube_needs_add(f.pool.needs, &user), 0);
	cr_expect_not(sl_kube_needs_are_settled(f.pool.needs));
	ROUNDS_UNTIL(&f, sl_kube_needs_are_settled(f.pool.needs));
	cr_expect(has(&f, SL_KIND_CONFIGMAP, "ca", "1"));
	cr_expect(has(&f, SL_KIND_SECRET, "cert", "x"));
	apply_map(&f, "ca", "3");
	ROUNDS_UNTIL(&f, has(&f, SL_KIND_CONFIGMAP, "ca", "3"));
	(void)ask(&f, "delete ConfigMap shop ca");
	ROUNDS_UNTIL(&f, !get(&f, SL_KIND_CONFIGMAP, "ca"));
	cr_expect_eq(sl_model_count(f.pool.model, SL_KIND_CONFIGMAP), 0);
	cr_expect_eq(ask(&f, "count /api/v1/configmaps"), 0);
	cr_expect_eq(ask(&f, "count /api/v1/secrets"), 0);
	cr_expect_geq(
		ask(&f, "count /api/v1/namespaces/shop/secrets fieldSelector=metadata.name=cert"),
		1);
	tear_down(&f);
}

Test(kube_needs, what_the_last_user_drops_goes)
{
	static const struct sl_object_ref refs[] = {REF(SL_KIND_CONFIGMAP, "a"),
						    REF(SL_KIND_CONFIGMAP, "b")};
	const struct sl_object both = {.needs = refs, .n_needs = 2};
	const struct sl_object one = {.needs = refs, .n_needs = 1};
	struct fixture f;

	set_up(&f);
	apply_map(&f, "a", "1");
	apply_map(&f, "b", "2");
	cr_assert_eq(sl_kube_needs_add(f.pool.needs, &both), 0);
	cr_assert_eq(sl_kube_needs_add(f.pool.needs, &one), 0);
	ROUNDS_UNTIL(&f, sl_model_count(f.pool.model, SL_KIND_CONFIGMAP) == 2);
	sl_kube_needs_drop(f.pool.needs, &both);
	ROUNDS_UNTIL(&f, sl_model_count(f.pool.model, SL_KIND_CONFIGMAP) == 1);
	cr_expect(has(&f, SL_KIND_CONFIGMAP, "a", "1"));
	cr_expect_eq(f.pool.n_known, 1);
	/* Dropped and named again within one round it stays, watch and all. */
	sl_kube_needs_drop(f.pool.needs, &one);
	cr_assert_eq(sl_kube_needs_add(f.pool.needs, &one), 0);
	cr_expect(sl_kube_needs_are_settled(f.pool.needs));
	apply_map(&f, "a", "3");
	ROUNDS_UNTIL(&f, has(&f, SL_KIND_CONFIGMAP, "a", "3"));
	sl_kube_needs_drop(f.pool.needs, &one);
	ROUNDS_UNTIL(&f, sl_model_count(f.pool.model, SL_KIND_CONFIGMAP) == 0);
	tear_down(&f);
}

Test(kube_needs, what_is_not_there_is_settled_and_may_come)
{
	static const struct sl_object_ref refs[] = {REF(SL_KIND_CONFIGMAP, "late")};
	const struct sl_object user = {.needs = refs, .n_needs = 1};
	struct fixture f;

	set_up(&f);
	cr_assert_eq(sl_kube_needs_add(f.pool.needs, &user), 0);
	ROUNDS_UNTIL(&f, sl_kube_needs_are_settled(f.pool.needs));
	cr_expect_gt(f.n_changes, 0);
	cr_expect_null(get(&f, SL_KIND_CONFIGMAP, "late"));
	apply_map(&f, "late", "1");
	ROUNDS_UNTIL(&f, has(&f, SL_KIND_CONFIGMAP, "late", "1"));
	tear_down(&f);
}

Test(kube_needs, what_may_not_be_read_is_a_problem_and_holds_nothing_up)
{
	static const struct sl_object_ref refs[] = {REF(SL_KIND_SECRET, "s")};
	const struct sl_object user = {.needs = refs, .n_needs = 1};
	struct sl_diags diags = SL_DIAGS_INIT;
	struct fixture f;

	set_up(&f);
	(void)ask(&f, "fault 403");
	cr_assert_eq(sl_kube_needs_add(f.pool.needs, &user), 0);
	ROUNDS_UNTIL(&f, sl_kube_needs_are_settled(f.pool.needs));
	sl_kube_needs_report(f.pool.needs, &diags);
	cr_assert_eq(diags.n, 1);
	cr_expect(sl_str_eqc(diags.items[0].object, "Secret/shop/s"));
	cr_expect_not_null(strstr(diags.items[0].message.ptr, "HTTP 403"));
	sl_diags_deinit(&diags);
	tear_down(&f);
}

Test(kube_needs, a_name_that_nothing_can_have_is_not_asked_for)
{
	static const struct sl_object_ref refs[] = {REF(SL_KIND_SECRET, "a/b"),
						    REF(SL_KIND_SECRET, "x&watch=1"),
						    REF(SL_KIND_SECRET, ""),
						    {SL_KIND_SECRET, {"a.b", 3}, {"s", 1}}};
	const struct sl_object user = {.needs = refs, .n_needs = 4};
	struct fixture f;

	set_up(&f);
	cr_assert_eq(sl_kube_needs_add(f.pool.needs, &user), 0);
	cr_expect(sl_kube_needs_are_settled(f.pool.needs));
	sl_kube_needs_drop(f.pool.needs, &user);
	tear_down(&f);
}

Test(kube_needs, every_allocation_may_fail)
{
	static const struct sl_object_ref refs[] = {REF(SL_KIND_CONFIGMAP, "a"),
						    REF(SL_KIND_SECRET, "b")};
	const struct sl_object user = {.needs = refs, .n_needs = 2};
	struct fixture f;
	long n = 0;
	int r;

	set_up(&f);
	do {
		sl_alloc_fail_after(n++);
		r = sl_kube_needs_add(f.pool.needs, &user);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
	} while (r);
	cr_expect_gt(n, 5);
	sl_kube_needs_drop(f.pool.needs, &user);
	cr_assert_eq(sl_loop_round(f.pool.loop, 0), 0);
	cr_expect(sl_kube_needs_are_settled(f.pool.needs));
	tear_down(&f);
}
