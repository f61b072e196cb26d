/* SPDX-License-Identifier: Apache-2.0 */
/* Loading as a whole: once, without memory, and after many changes. */
#include "folder_case.h"
#include <jansson.h>
#include <stdio.h>

Test(folder_load, it_can_be_loaded_once_without_watching)
{
	struct sl_diags diags = SL_DIAGS_INIT;
	struct sl_config_report report;
	struct sl_model *model = NULL;
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1") "---\n" SERVICE("b", "0"));
	cr_assert_eq(sl_folder_load(c.conf, &model, &diags, &report), 0);
	c.model = model;
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(report.diags, &diags);
	cr_expect_eq(report.n_files, 1);
	cr_expect_eq(report.n_documents, 2);
	cr_expect_eq(diags.n_errors, 1);
	sl_model_free(model);
	sl_diags_deinit(&diags);
	model = NULL;
	cr_expect_eq(sl_folder_load("/nonexistent/sluice", &model, &diags, &report), -ENOENT);
	cr_expect_null(model);
	case_free(&c);
}

Test(folder_load, each_allocation_may_fail_while_loading)
{
	struct folder_case c;
	long n = 0;
	int r;

	json_set_alloc_funcs(sl_malloc, free);
	case_make(&c);
	make_folder(&c, "sub");
	write_file(&c, "a.yaml", SERVICE("a", "1") "---\n" SERVICE("b", "0"));
	write_file(&c, "sub/b.yaml", SERVICE("a", "1") "---\na: [");
	write_file(&c, "list.yaml",
		   "apiVersion: v1\nkind: ServiceList\n"
		   "items: [{metadata: {name: l}, spec: {ports: [{port: 1}]}}]\n");
	do {
		struct sl_diags diags = SL_DIAGS_INIT;
		struct sl_config_report report;
		struct sl_model *model = NULL;

		sl_alloc_fail_after(n++);
		r = sl_folder_load(c.conf, &model, &diags, &report);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d", r);
		cr_assert_eq(r == 0, model != NULL);
		/* A list of problems that is cut short says so. */
		r |= diags.n_dropped > 0;
		sl_model_free(model);
		sl_diags_deinit(&diags);
	} while (r);
	cr_expect_gt(n, 40);
	case_free(&c);
}

Test(folder_load, each_allocation_may_fail_while_opening)
{
	long n = 0;
	int r;

	json_set_alloc_funcs(sl_malloc, free);
	do {
		struct folder_case c;

		case_make(&c);
		make_folder(&c, "sub");
		write_file(&c, "sub/a.yaml", SERVICE("a", "1"));
		sl_alloc_fail_after(n++);
		r = sl_folder_open(c.loop, c.conf, on_load, &c, &c.folder);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d", r);
		cr_expect_eq(c.n_calls, r == 0);
		cr_expect_eq(c.folder != NULL, r == 0);
		case_free(&c);
	} while (r);
	cr_expect_gt(n, 40);
}

Test(folder_load, each_allocation_may_fail_while_a_change_is_loaded)
{
	struct folder_case c;
	unsigned port = 1;
	long n = 0;
	int r;

	json_set_alloc_funcs(sl_malloc, free);
	case_make(&c);
	write_file(&c, "b.yaml", SERVICE("b", "1"));
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	do {
		char text[256];

		port++;
		(void)snprintf(text, sizeof(text), SERVICE("a", "%u") "---\n" SERVICE("x%u", "1"),
			       port, port);
		write_file(&c, "a.yaml", text);
		sl_alloc_fail_after(n++);
		r = sl_folder_reload(c.folder);
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d", r);
		cr_expect_eq(port_of(&c, "a"), r ? port - 1 : port, "all of the change or nothing");
		cr_expect_eq(port_of(&c, "b"), 1);
		if (r)
			cr_assert_eq(sl_folder_reload(c.folder), 0);
		cr_expect_eq(port_of(&c, "a"), port, "the change is not forgotten");
	} while (r);
	cr_expect_gt(n, 20);
	case_free(&c);
}

Test(folder_load, a_load_that_lacked_memory_is_tried_again)
{
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	write_file(&c, "a.yaml", SERVICE("a", "2"));
	sl_alloc_fail_after(0);
	cr_expect_eq(sl_folder_reload(c.folder), -ENOMEM);
	sl_alloc_fail_after(-1);
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	case_free(&c);
}

/* ---- many changes ---- */

enum { RANDOM_FILES = 8, RANDOM_STEPS = 120 };

static uint32_t random_below(uint64_t *state, uint32_t n)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(*state >> 33) % n;
}

/* In two folders; links and hidden files among them. */
static void random_change(struct folder_case *c, uint64_t *state, unsigned step)
{
	static const char *const names[RANDOM_FILES] = {"a.yaml",    "b.yaml",	"c.json",
							"d.yaml",    ".e.yaml", "sub/a.yaml",
							"sub/b.yml", "z.yaml"};
	const char *name = names[random_below(state, RANDOM_FILES)];
	const char *other = names[random_below(state, RANDOM_FILES)];
	char path[PATH_MAX], target[PATH_MAX], text[512];
	int n = 0;

	path_in(c, name, path);
	path_in(c, other, target);
	switch (random_below(state, 8)) {
	case 0:
		(void)unlink(path); /* may not be there */
		return;
	case 1:
		(void)rename(path, target); /* likewise */
		return;
	case 2:
		/* Not to one of the others: a circle of links is a problem that a fresh load has
		 * too, but without what was there before. */
		(void)snprintf(target, sizeof(target), "%s/target.yaml", c->root);
		if (step % 4 == 0 && symlink(target, path) == 0)
			return;
		break;
	default:
		break;
	}
	for (uint32_t i = random_below(state, 3); i < 3; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "---\n" SERVICE("s%u", "%u"),
			      random_below(state, 5), 1 + step);
	if (access(path, F_OK) == 0 || lstat(path, &(struct stat){0}))
		write_at(path, n ? text : "");
}

static void expect_same_models(const struct sl_model *a, const struct sl_model *b)
{
	const struct sl_map *objects = &b->by_kind[SL_KIND_SERVICE];
	struct sl_str key;
	size_t pos = 0;

	cr_assert_eq(sl_model_count(a, SL_KIND_SERVICE), objects->n);
	while (sl_map_next(objects, &pos, &key)) {
		const struct sl_object *x = sl_model_get_key(a, SL_KIND_SERVICE, key);
		const struct sl_object *y = sl_model_get_key(b, SL_KIND_SERVICE, key);

		cr_assert_not_null(x);
		cr_assert(sl_str_eq(x->meta.file, y->meta.file) && x->meta.line == y->meta.line);
		cr_assert_eq(((const struct sl_service *)x)->ports[0].port,
			     ((const struct sl_service *)y)->ports[0].port);
	}
}

static bool shows_all(struct folder_case *c, const void *arg)
{
	return port_of(c, "last") == *(const unsigned *)arg;
}

Test(folder_load, what_is_followed_is_what_a_fresh_load_sees)
{
	struct folder_case c;
	uint64_t state = (uint64_t)sl_clock_now_ns();

	fprintf(stderr, "# seed %llu\n", (unsigned long long)state);
	case_make(&c);
	make_folder(&c, "sub");
	case_open(&c);
	for (unsigned step = 1; step <= RANDOM_STEPS; step++) {
		struct sl_diags diags = SL_DIAGS_INIT;
		struct sl_config_report report;
		struct sl_model *fresh = NULL;
		char text[256];

		for (uint32_t n = random_below(&state, 4); n; n--)
			random_change(&c, &state, step);
		(void)snprintf(text, sizeof(text), SERVICE("last", "%u"), step);
		write_file(&c, "zz.yaml", text);
		cr_assert(wait_until(&c, shows_all, &step), "no load");
		cr_assert_eq(sl_folder_load(c.conf, &fresh, &diags, &report), 0);
		expect_same_models(c.model, fresh);
		cr_assert_eq(c.report->n_documents, report.n_documents);
		cr_assert_eq(c.report->n_files, report.n_files);
		cr_assert_eq(c.report->diags->n, diags.n);
		for (size_t i = 0; i < diags.n; i++) {
			cr_assert(sl_str_eq(c.report->diags->items[i].message,
					    diags.items[i].message));
			cr_assert(sl_str_eq(c.report->diags->items[i].file, diags.items[i].file));
		}
		sl_model_free(fresh);
		sl_diags_deinit(&diags);
	}
	case_free(&c);
}
