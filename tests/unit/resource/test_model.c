/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include "base/alloc.h"
#include "resource/model.h"

static struct sl_object *make(enum sl_kind kind, const char *namespace, const char *name)
{
	struct sl_object *o = NULL;

	cr_assert_eq(sl_object_new(kind, &o), 0);
	o->meta.namespace = sl_str_from(namespace);
	o->meta.name = sl_str_from(name);
	return o;
}

static void put(struct sl_model *m, enum sl_kind kind, const char *namespace, const char *name)
{
	struct sl_object *o = make(kind, namespace, name);

	cr_assert_eq(sl_model_put(m, o), 0);
	sl_object_unref(o);
}

Test(model, objects_are_found_by_kind_namespace_and_name)
{
	struct sl_model *m = NULL;
	struct sl_object *o;

	cr_assert_eq(sl_model_new(&m), 0);
	put(m, SL_KIND_SERVICE, "shop", "cart");
	put(m, SL_KIND_POD, "shop", "cart");
	put(m, SL_KIND_NAMESPACE, "", "shop");
	o = sl_model_get(m, SL_KIND_SERVICE, SL_STR("shop"), SL_STR("cart"));
	cr_assert_not_null(o);
	cr_expect_eq(o->kind, SL_KIND_SERVICE);
	cr_expect_eq(o->refs, 1);
	cr_expect_not_null(sl_model_get(m, SL_KIND_NAMESPACE, SL_STR_NULL, SL_STR("shop")));
	cr_expect_null(sl_model_get(m, SL_KIND_SERVICE, SL_STR("shop"), SL_STR("car")));
	cr_expect_null(sl_model_get(m, SL_KIND_SERVICE, SL_STR("other"), SL_STR("cart")));
	cr_expect_null(sl_model_get(m, SL_KIND_HTTPROUTE, SL_STR("shop"), SL_STR("cart")));
	cr_expect_eq(sl_model_count(m, SL_KIND_POD), 1);
	cr_expect_null(sl_model_free(m));
	cr_expect_null(sl_model_free(NULL));
}

Test(model, a_put_replaces_and_each_change_is_counted)
{
	struct sl_model *m = NULL;
	struct sl_object *old = make(SL_KIND_SERVICE, "a", "x");

	cr_assert_eq(sl_model_new(&m), 0);
	cr_assert_eq(sl_model_put(m, old), 0);
	cr_expect_eq(m->generation, 1);
	put(m, SL_KIND_SERVICE, "a", "x");
	cr_expect_eq(m->generation, 2);
	cr_expect_eq(old->refs, 1, "the model must let go of what it replaced");
	sl_object_unref(old); /* its key must not be in use any more */
	cr_expect_eq(sl_model_count(m, SL_KIND_SERVICE), 1);
	cr_expect(sl_model_remove(m, SL_KIND_SERVICE, SL_STR("a"), SL_STR("x")));
	cr_expect_not(sl_model_remove(m, SL_KIND_SERVICE, SL_STR("a"), SL_STR("x")));
	cr_expect_eq(m->generation, 3);
	sl_model_free(m);
}

Test(model, putting_an_object_again_keeps_it)
{
	struct sl_object *o = make(SL_KIND_POD, "a", "x");
	struct sl_model *m = NULL;

	cr_assert_eq(sl_model_new(&m), 0);
	cr_assert_eq(sl_model_put(m, o), 0);
	cr_assert_eq(sl_model_put(m, o), 0);
	cr_expect_eq(o->refs, 2);
	sl_model_free(m);
	cr_expect_eq(o->refs, 1);
	sl_object_unref(o);
}

Test(model, a_list_is_sorted_by_namespace_then_name)
{
	static const char *const expected[] = {"a/b", "a/c", "a-b/a", "b/a"};
	struct sl_object **list = NULL;
	struct sl_model *m = NULL;
	size_t n = 7;

	cr_assert_eq(sl_model_new(&m), 0);
	cr_assert_eq(sl_model_list(m, SL_KIND_POD, &list, &n), 0);
	cr_expect_eq(n, 0);
	free(list);
	put(m, SL_KIND_POD, "b", "a");
	put(m, SL_KIND_POD, "a-b", "a");
	put(m, SL_KIND_POD, "a", "c");
	put(m, SL_KIND_POD, "a", "b");
	cr_assert_eq(sl_model_list(m, SL_KIND_POD, &list, &n), 0);
	cr_assert_eq(n, 4);
	for (size_t i = 0; i < n; i++)
		cr_expect(sl_str_eqc(list[i]->key, expected[i]), "%zu: %s", i, list[i]->key.ptr);
	free(list);
	sl_model_free(m);
}

/* Everything that allocates, once. */
static int use_model(struct sl_object *o)
{
	struct sl_object **list = NULL;
	struct sl_model *m = NULL;
	size_t n;
	int r = sl_model_new(&m);

	if (!r)
		r = sl_model_put(m, o);
	if (!r)
		r = sl_model_list(m, SL_KIND_POD, &list, &n);
	cr_expect(r || o->refs == 2);
	free(list);
	sl_model_free(m);
	cr_expect_eq(o->refs, 1);
	return r;
}

Test(model, each_allocation_may_fail)
{
	long n = 0;
	int r;

	do {
		struct sl_object *o = make(SL_KIND_POD, "a", "x");

		sl_alloc_fail_after(n++);
		r = use_model(o);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM);
		sl_object_unref(o);
	} while (r);
	cr_expect_gt(n, 3);
}

Test(object, annotations_are_found_by_name)
{
	struct sl_label annotations[] = {{SL_STR("a"), SL_STR("1")}, {SL_STR("b"), SL_STR("")}};
	struct sl_object o = {.meta = {.annotations = annotations, .n_annotations = 2}};

	cr_expect(sl_str_eqc(sl_object_annotation(&o, SL_STR("a")), "1"));
	cr_expect_not_null(sl_object_annotation(&o, SL_STR("b")).ptr);
	cr_expect_null(sl_object_annotation(&o, SL_STR("c")).ptr);
}

Test(object, a_label_names_kind_namespace_and_name)
{
	struct sl_object *a = make(SL_KIND_HTTPROUTE, "shop", "cart");
	struct sl_object *b = make(SL_KIND_NAMESPACE, "", "shop");
	char text[SL_OBJECT_LABEL];

	cr_expect_str_eq(sl_object_label(a, text), "HTTPRoute shop/cart");
	cr_expect_str_eq(sl_object_label(b, text), "Namespace shop");
	sl_object_unref(a);
	sl_object_unref(b);
}

/* ---- history ---- */

Test(model, what_changed_since_a_state_is_known)
{
	struct sl_model *m = NULL, *other = NULL;

	cr_assert_eq(sl_model_new(&m), 0);
	cr_assert_eq(sl_model_new(&other), 0);
	cr_expect_neq(m->id, other->id);
	cr_expect(sl_model_knows(m, 0));
	cr_expect_not(sl_model_knows(m, 1), "a state that was not yet");
	put(m, SL_KIND_SERVICE, "a", "x");
	put(m, SL_KIND_POD, "a", "y");
	cr_assert(sl_model_remove(m, SL_KIND_SERVICE, SL_STR("a"), SL_STR("x")));
	cr_expect_eq(sl_model_change(m, 1)->kind, SL_KIND_SERVICE);
	cr_expect(sl_str_eqc(sl_model_change(m, 1)->key, "a/x"));
	cr_expect_eq(sl_model_change(m, 2)->kind, SL_KIND_POD);
	cr_expect(sl_str_eqc(sl_model_change(m, 3)->key, "a/x"));
	sl_model_free(m);
	sl_model_free(other);
}

Test(model, old_states_are_forgotten)
{
	struct sl_model *m = NULL;
	char name[16];

	cr_assert_eq(sl_model_new(&m), 0);
	for (unsigned i = 1; i <= SL_MODEL_HISTORY + 10; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		put(m, SL_KIND_SERVICE, "a", name);
	}
	cr_expect_not(sl_model_knows(m, 9));
	cr_assert(sl_model_knows(m, 10));
	for (uint64_t g = 11; g <= m->generation; g++) {
		(void)snprintf(name, sizeof(name), "a/%u", (unsigned)g);
		cr_assert(sl_str_eqc(sl_model_change(m, g)->key, name));
	}
	sl_model_free(m);
}

Test(model, a_change_whose_name_cannot_be_kept_begins_the_history_anew)
{
	struct sl_model *m = NULL;
	struct sl_object *o = make(SL_KIND_SERVICE, "a", "x");

	cr_assert_eq(sl_model_new(&m), 0);
	cr_assert_eq(sl_model_prepare(o), 0);
	cr_assert_eq(sl_model_reserve(m, SL_KIND_SERVICE, 1), 0);
	(void)sl_alloc_fail_after(0);
	cr_expect_eq(sl_model_put(m, o), 0, "it was prepared");
	(void)sl_alloc_fail_after(-1);
	cr_expect_not(sl_model_knows(m, 0));
	cr_expect(sl_model_knows(m, 1));
	put(m, SL_KIND_SERVICE, "a", "y");
	cr_expect(sl_str_eqc(sl_model_change(m, 2)->key, "a/y"));
	sl_object_unref(o);
	sl_model_free(m);
}
