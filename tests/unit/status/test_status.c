/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "status/status.h"

/* ---- a report by hand ---- */

struct fixture {
	struct sl_route_object route;
	struct sl_parent_ref ref;
	struct sl_condition conditions[2];
	struct sl_parent_status parent;
	struct sl_status *s;
};

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){0};
	f->route.object.kind = SL_KIND_HTTPROUTE;
	f->route.object.key = SL_STR("shop/cart");
	f->route.object.meta = (struct sl_meta){.namespace = SL_STR("shop"),
						.name = SL_STR("cart"),
						.generation = 3,
						.file = SL_STR("a.yaml"),
						.line = 12};
	f->ref = (struct sl_parent_ref){.group = SL_STR(""),
					.kind = SL_STR("Service"),
					.has_group = true,
					.has_kind = true,
					.namespace = SL_STR("shop"),
					.name = SL_STR("cart")};
	f->conditions[0] = (struct sl_condition){SL_STR("Accepted"), SL_STR("True"),
						 SL_STR("Accepted"), SL_STR("fine")};
	f->conditions[1] = (struct sl_condition){SL_STR("ResolvedRefs"), SL_STR("True"),
						 SL_STR("ResolvedRefs"), SL_STR("fine")};
	f->parent = (struct sl_parent_status){&f->ref, f->conditions, 2};
	cr_assert_eq(sl_status_new(&f->s), 0);
}

static void part_free(struct sl_part *p)
{
	free(p);
}

/* A report on what the fixture says now; freed with sl_pmap_deinit(). */
static struct sl_compile_report report_on(const struct fixture *f)
{
	struct sl_compile_report report = {0};
	struct sl_route_status *rs = calloc(1, sizeof(*rs));

	cr_assert_not_null(rs);
	sl_part_init(&rs->part, part_free);
	rs->key = SL_STR("HTTPRoute/shop/cart");
	rs->route = &f->route.object;
	rs->parents = &f->parent;
	rs->n_parents = 1;
	cr_assert_eq(sl_pmap_put(&report.routes, rs->key, &rs->part), 0);
	sl_part_unref(&rs->part);
	return report;
}

static void update(struct fixture *f, int64_t now_s)
{
	struct sl_compile_report report = report_on(f);

	cr_assert_eq(sl_status_update(f->s, &report, now_s), 0);
	sl_pmap_deinit(&report.routes);
}

static json_t *state(const struct fixture *f)
{
	json_t *j = NULL;

	cr_assert_eq(sl_status_json(f->s, &j), 0);
	return j;
}

static void expect_json(const struct fixture *f, const char *text)
{
	json_error_t error;
	json_t *want = json_loads(text, 0, &error), *have = state(f);
	char *shown = json_dumps(have, 0);

	cr_assert_not_null(want, "%s", error.text);
	cr_expect(json_equal(want, have), "%s", shown);
	free(shown);
	json_decref(want);
	json_decref(have);
}

/* lastTransitionTime of the first route's first parent's condition of that type; "" when absent. */
static void transition(const struct fixture *f, const char *type, char ret[32])
{
	json_t *root = state(f), *c;
	json_t *parent = json_array_get(
		json_object_get(json_array_get(json_object_get(root, "routes"), 0), "parents"), 0);
	size_t i;

	ret[0] = '\0';
	json_array_foreach (json_object_get(parent, "conditions"), i, c) {
		if (strcmp(json_string_value(json_object_get(c, "type")), type) == 0)
			(void)snprintf(ret, 32, "%s",
				       json_string_value(json_object_get(c, "lastTransitionTime")));
	}
	json_decref(root);
}

Test(status, before_the_first_report_there_are_no_routes)
{
	struct fixture f;

	fixture_init(&f);
	expect_json(&f, "{\"routes\":[]}");
	sl_status_free(f.s);
}

Test(status, conditions_have_the_form_of_the_api)
{
	struct fixture f;

	fixture_init(&f);
	update(&f, 1767323045);
	expect_json(
		&f,
		"{\"routes\":[{\"kind\":\"HTTPRoute\",\"namespace\":\"shop\",\"name\":\"cart\","
		"\"file\":\"a.yaml\",\"line\":12,\"parents\":[{\"parentRef\":{\"group\":\"\","
		"\"kind\":\"Service\",\"name\":\"cart\"},\"controllerName\":\"sluice.dev/mesh\","
		"\"conditions\":[{\"type\":\"Accepted\",\"status\":\"True\",\"reason\":"
		"\"Accepted\","
		"\"message\":\"fine\",\"observedGeneration\":3,"
		"\"lastTransitionTime\":\"2026-01-02T03:04:05Z\"},{\"type\":\"ResolvedRefs\","
		"\"status\":\"True\",\"reason\":\"ResolvedRefs\",\"message\":\"fine\","
		"\"observedGeneration\":3,\"lastTransitionTime\":\"2026-01-02T03:04:05Z\"}]}]}]}");
	sl_status_free(f.s);
}

Test(status, the_parent_ref_is_repeated_as_written)
{
	struct fixture f;

	fixture_init(&f);
	f.ref.has_namespace = true;
	f.ref.section_name = SL_STR("http");
	f.ref.port = 80;
	f.parent.n_conditions = 0;
	f.route.object.meta.file = SL_STR("");
	update(&f, 0);
	expect_json(&f,
		    "{\"routes\":[{\"kind\":\"HTTPRoute\",\"namespace\":\"shop\",\"name\":\"cart\","
		    "\"parents\":[{\"parentRef\":{\"group\":\"\",\"kind\":\"Service\","
		    "\"namespace\":\"shop\","
		    "\"name\":\"cart\",\"sectionName\":\"http\",\"port\":80},\"controllerName\":"
		    "\"sluice.dev/mesh\",\"conditions\":[]}]}]}");
	sl_status_free(f.s);
}

Test(status, the_transition_time_changes_only_with_the_status)
{
	struct fixture f;
	char at[32];

	fixture_init(&f);
	update(&f, 100);
	f.conditions[0].message = SL_STR("other words");
	f.conditions[0].reason = SL_STR("Other");
	f.route.object.meta.generation = 4;
	update(&f, 200);
	transition(&f, "Accepted", at);
	cr_expect_str_eq(at, "1970-01-01T00:01:40Z");
	f.conditions[0].status = SL_STR("False");
	update(&f, 300);
	transition(&f, "Accepted", at);
	cr_expect_str_eq(at, "1970-01-01T00:05:00Z");
	transition(&f, "ResolvedRefs", at);
	cr_expect_str_eq(at, "1970-01-01T00:01:40Z");
	f.conditions[0].status = SL_STR("True");
	update(&f, 400);
	transition(&f, "Accepted", at);
	cr_expect_str_eq(at, "1970-01-01T00:06:40Z");
	sl_status_free(f.s);
}

Test(status, a_condition_that_was_gone_starts_anew)
{
	struct fixture f;
	char at[32];

	fixture_init(&f);
	update(&f, 100);
	f.parent.n_conditions = 1;
	update(&f, 200);
	f.parent.n_conditions = 2;
	update(&f, 300);
	transition(&f, "ResolvedRefs", at);
	cr_expect_str_eq(at, "1970-01-01T00:05:00Z");
	sl_status_free(f.s);
}

Test(status, parents_that_differ_by_port_have_times_of_their_own)
{
	struct fixture f;
	char at[32];

	fixture_init(&f);
	f.ref.port = 80;
	update(&f, 100);
	f.ref.port = 81;
	update(&f, 200);
	transition(&f, "Accepted", at);
	cr_expect_str_eq(at, "1970-01-01T00:03:20Z");
	sl_status_free(f.s);
}

Test(status, text_that_is_no_utf8_is_still_shown)
{
	struct fixture f;
	json_t *root;
	char *text;

	fixture_init(&f);
	f.conditions[0].message = SL_STR("cut \xe2\x82");
	update(&f, 0);
	root = state(&f);
	text = json_dumps(root, 0);
	cr_expect(strstr(text, "\"cut \xef\xbf\xbd\xef\xbf\xbd\""), "%s", text);
	free(text);
	json_decref(root);
	sl_status_free(f.s);
}

Test(status, each_allocation_fails_once_and_the_old_state_stays)
{
	struct fixture f;
	int r = -ENOMEM;
	char at[32];
	long n;

	fixture_init(&f);
	update(&f, 100);
	f.conditions[0].status = SL_STR("False");
	f.conditions[0].message = SL_STR("\xff");
	for (n = 0; r; n++) {
		struct sl_compile_report report = report_on(&f);

		transition(&f, "Accepted", at);
		cr_expect_str_eq(at, "1970-01-01T00:01:40Z");
		(void)sl_alloc_fail_after(n);
		r = sl_status_update(f.s, &report, 200);
		(void)sl_alloc_fail_after(-1);
		sl_pmap_deinit(&report.routes);
		cr_assert(r == 0 || r == -ENOMEM);
	}
	cr_expect_gt(n, 2);
	transition(&f, "Accepted", at);
	cr_expect_str_eq(at, "1970-01-01T00:03:20Z");
	sl_status_free(f.s);
	f.s = NULL;
	(void)sl_alloc_fail_after(0);
	cr_expect_eq(sl_status_new(&f.s), -ENOMEM);
	(void)sl_alloc_fail_after(-1);
	cr_expect_null(f.s);
}

/* ---- the file ---- */

static unsigned files_in(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	unsigned n = 0;

	cr_assert_not_null(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static ino_t inode(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

Test(status, the_file_is_replaced_only_when_something_changed)
{
	char folder[] = "/tmp/sl-status-XXXXXX";
	_cleanup_(sl_freep) char *path = NULL;
	struct fixture f;
	json_error_t error;
	json_t *read, *have;
	ino_t first;

	cr_assert_not_null(mkdtemp(folder));
	path = sl_asprintf("%s/status.json", folder);
	fixture_init(&f);
	cr_assert_eq(sl_status_write(f.s, path), 0);
	first = inode(path);
	cr_expect_neq(first, 0, "also without routes");
	cr_assert_eq(sl_status_write(f.s, path), 0);
	cr_expect_eq(inode(path), first);
	update(&f, 100);
	cr_assert_eq(sl_status_write(f.s, path), 0);
	first = inode(path);
	update(&f, 200); /* nothing new */
	cr_assert_eq(sl_status_write(f.s, path), 0);
	cr_expect_eq(inode(path), first);
	read = json_load_file(path, 0, &error);
	have = state(&f);
	cr_expect(json_equal(read, have));
	cr_expect_eq(files_in(folder), 1);
	json_decref(read);
	json_decref(have);
	sl_status_free(f.s);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(rmdir(folder), 0);
}

Test(status, a_failed_write_leaves_nothing_and_is_made_up_for)
{
	char folder[] = "/tmp/sl-status-XXXXXX";
	_cleanup_(sl_freep) char *path = NULL;
	_cleanup_(sl_freep) char *inside = NULL;
	struct fixture f;

	cr_assert_not_null(mkdtemp(folder));
	path = sl_asprintf("%s/sub", folder);
	inside = sl_asprintf("%s/status.json", path);
	fixture_init(&f);
	cr_expect_eq(sl_status_write(f.s, inside), -ENOENT);
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_expect_eq(sl_status_write(f.s, path), -EISDIR, "the target cannot be replaced");
	cr_expect_eq(files_in(folder), 1, "no temporary file is left");
	cr_expect_eq(sl_status_write(f.s, inside), 0);
	sl_status_free(f.s);
	cr_assert_eq(unlink(inside), 0);
	cr_assert_eq(rmdir(path), 0);
	cr_assert_eq(rmdir(folder), 0);
}

/* ---- many routes ---- */

/* Two routes by hand, so that one can change or go alone. */
Test(status, only_what_changed_is_looked_at_again)
{
	struct sl_compile_report two, one = {0}, other;
	const struct sl_part *first;
	struct fixture f, g;
	char at[32];

	fixture_init(&f);
	fixture_init(&g);
	sl_status_free(g.s);
	g.route.object.meta.name = SL_STR("basket");
	two = report_on(&f);
	other = report_on(&g);
	first = sl_pmap_get(&other.routes, SL_STR("HTTPRoute/shop/cart"));
	((struct sl_route_status *)first)->key = SL_STR("HTTPRoute/shop/basket");
	cr_assert_eq(sl_pmap_put(&two.routes, SL_STR("HTTPRoute/shop/basket"), first), 0);
	cr_assert_eq(sl_status_update(f.s, &two, 100), 0);
	transition(&f, "Accepted", at); /* sorted: the basket's */
	cr_expect_str_eq(at, "1970-01-01T00:01:40Z");
	g.conditions[0].status = SL_STR("False");
	cr_assert_eq(sl_status_update(f.s, &two, 200), 0);
	transition(&f, "Accepted", at);
	cr_expect_str_eq(at, "1970-01-01T00:01:40Z", "the same part: not looked at");
	one.routes = sl_pmap_copy(&two.routes);
	cr_assert_eq(sl_pmap_del(&one.routes, SL_STR("HTTPRoute/shop/basket")), 0);
	cr_assert_eq(sl_status_update(f.s, &one, 300), 0);
	expect_json(
		&f,
		"{\"routes\":[{\"kind\":\"HTTPRoute\",\"namespace\":\"shop\",\"name\":\"cart\","
		"\"file\":\"a.yaml\",\"line\":12,\"parents\":[{\"parentRef\":{\"group\":\"\","
		"\"kind\":\"Service\",\"name\":\"cart\"},\"controllerName\":\"sluice.dev/mesh\","
		"\"conditions\":[{\"type\":\"Accepted\",\"status\":\"True\",\"reason\":"
		"\"Accepted\",\"message\":\"fine\",\"observedGeneration\":3,"
		"\"lastTransitionTime\":\"1970-01-01T00:01:40Z\"},{\"type\":\"ResolvedRefs\","
		"\"status\":\"True\",\"reason\":\"ResolvedRefs\",\"message\":\"fine\","
		"\"observedGeneration\":3,\"lastTransitionTime\":\"1970-01-01T00:01:40Z\"}]}]}]}");
	sl_pmap_deinit(&one.routes);
	sl_pmap_deinit(&two.routes);
	sl_pmap_deinit(&other.routes);
	sl_status_free(f.s);
}
