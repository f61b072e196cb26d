/* SPDX-License-Identifier: Apache-2.0 */
#include "folder_case.h"
#include <stdio.h>

Test(folder, a_path_that_is_no_folder_is_refused)
{
	struct sl_folder *folder = NULL;
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", "");
	cr_expect_eq(sl_folder_open(c.loop, "/nonexistent/sluice", on_load, &c, &folder), -ENOENT);
	strncat(c.conf, "/a.yaml", sizeof(c.conf) - strlen(c.conf) - 1);
	cr_expect_eq(sl_folder_open(c.loop, c.conf, on_load, &c, &folder), -ENOTDIR);
	cr_expect_null(folder);
	cr_expect_eq(c.n_calls, 0);
	cr_expect_null(sl_folder_close(NULL));
	case_free(&c);
}

Test(folder, all_files_and_documents_are_loaded_once_at_the_start)
{
	struct folder_case c;

	case_make(&c);
	make_folder(&c, "sub");
	make_folder(&c, "sub/deep");
	make_folder(&c, ".git");
	write_file(&c, "a.yaml", SERVICE("a", "1") "---\n" SERVICE("b", "2"));
	write_file(&c, "sub/c.yml", SERVICE("c", "3"));
	write_file(
		&c, "sub/deep/d.json",
		"{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"d\"},\n"
		"\t\"spec\": {\"ports\": [{\"port\": 4}]}}");
	write_file(&c, "list.yaml",
		   "apiVersion: v1\nkind: List\nitems:\n"
		   "- {apiVersion: v1, kind: Service, metadata: {name: e}, spec: {ports: [{port: "
		   "5}]}}\n"
		   "- {apiVersion: v1, kind: Service, metadata: {name: f}, spec: {ports: [{port: "
		   "0}]}}\n");
	write_file(&c, "notes.txt", SERVICE("x", "9"));
	write_file(&c, ".hidden.yaml", SERVICE("x", "9"));
	write_file(&c, ".git/x.yaml", SERVICE("x", "9"));
	write_file(&c, "yaml", SERVICE("x", "9"));
	write_file(&c, "other.yaml",
		   "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n");
	case_open(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(port_of(&c, "b"), 2);
	cr_expect_eq(port_of(&c, "c"), 3);
	cr_expect_eq(port_of(&c, "d"), 4);
	cr_expect_eq(port_of(&c, "e"), 5);
	cr_expect_eq(port_of(&c, "x"), 0);
	cr_expect_eq(sl_model_count(c.model, SL_KIND_SERVICE), 5);
	cr_expect_eq(c.report->n_files, 5);
	cr_expect_eq(c.report->n_documents, 7);
	cr_assert_eq(c.report->diags->n, 1);
	cr_expect_str_eq(c.report->diags->items[0].file.ptr, "list.yaml");
	cr_expect_eq(c.report->diags->items[0].line, 5);
	cr_expect_str_eq(c.report->diags->items[0].object.ptr, "Service default/f");
	case_free(&c);
}

/* As the API server answers, for instance through "kubectl get --raw". */
Test(folder, items_of_typed_lists_need_not_say_what_they_are)
{
	struct folder_case c;

	case_make(&c);
	write_file(&c, "services.json",
		   "{\"kind\": \"ServiceList\", \"apiVersion\": \"v1\",\n"
		   " \"metadata\": {\"resourceVersion\": \"7\"}, \"items\": [\n"
		   " {\"metadata\": {\"name\": \"a\"}, \"spec\": {\"ports\": [{\"port\": 1}]}},\n"
		   " {\"kind\": \"Service\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": "
		   "\"b\"},\n"
		   "  \"spec\": {\"ports\": [{\"port\": 2}]}},\n"
		   " {\"metadata\": {\"name\": \"c\"}, \"spec\": {\"ports\": [{\"port\": 0}]}}, "
		   "5]}\n");
	write_file(
		&c, "routes.yaml",
		"apiVersion: gateway.networking.k8s.io/v1beta1\nkind: HTTPRouteList\nitems:\n"
		"- {metadata: {name: r}, spec: {rules: [{backendRefs: [{name: a, port: 1}]}]}}\n");
	write_file(
		&c, "others.yaml",
		"apiVersion: apps/v1\nkind: DeploymentList\nitems: [{metadata: {name: d}}]\n---\n"
		"apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: x}\nitems: "
		"[1]\n---\n"
		"kind: ServiceList\nitems: []\n---\n"
		"kind: List\nitems: []\n");
	case_open(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(port_of(&c, "b"), 2);
	cr_expect_eq(sl_model_count(c.model, SL_KIND_SERVICE), 2);
	cr_expect_eq(sl_model_count(c.model, SL_KIND_HTTPROUTE), 1);
	cr_assert_eq(c.report->diags->n, 4);
	cr_expect_str_eq(c.report->diags->items[0].message.ptr, "required, but missing");
	cr_expect_str_eq(c.report->diags->items[1].message.ptr, "required, but missing");
	cr_expect_str_eq(c.report->diags->items[3].object.ptr, "Service default/c");
	cr_expect_str_eq(c.report->diags->items[2].file.ptr, "services.json");
	case_free(&c);
}

Test(folder, created_edited_and_deleted_files_are_noticed)
{
	struct folder_case c;
	uint64_t generation;

	case_make(&c);
	write_file(&c, "keep.yaml", SERVICE("keep", "7"));
	case_open(&c);
	generation = c.model->generation;
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_gt(c.model->generation, generation);
	write_file(&c, "a.yaml", SERVICE("a", "2"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	write_file(&c, "a.yaml", SERVICE("b", "3"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 0);
	cr_expect_eq(port_of(&c, "b"), 3);
	remove_file(&c, "a.yaml");
	expect_load(&c);
	cr_expect_eq(port_of(&c, "b"), 0);
	cr_expect_eq(port_of(&c, "keep"), 7);
	case_free(&c);
}

Test(folder, an_unchanged_object_stays_the_same_object)
{
	const struct sl_object *before;
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	before = sl_model_get(c.model, SL_KIND_SERVICE, SL_STR("default"), SL_STR("a"));
	write_file(&c, "b.yaml", SERVICE("b", "2"));
	expect_load(&c);
	cr_expect_eq(sl_model_get(c.model, SL_KIND_SERVICE, SL_STR("default"), SL_STR("a")),
		     before);
	case_free(&c);
}

Test(folder, writing_the_same_text_again_is_no_change)
{
	struct folder_case c;
	unsigned n;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	n = c.n_calls;
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	write_file(&c, "notes.txt", "x");
	settle(&c);
	cr_expect_eq(c.n_calls, n + 1, "only the marker is new");
	case_free(&c);
}

Test(folder, a_change_of_the_same_length_is_noticed)
{
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	for (unsigned i = 2; i < 9; i++) {
		char text[256];

		(void)snprintf(text, sizeof(text), SERVICE("a", "%u"), i);
		write_file(&c, "a.yaml", text);
		expect_load(&c);
		cr_expect_eq(port_of(&c, "a"), i);
	}
	case_free(&c);
}

Test(folder, changes_close_together_are_applied_as_one)
{
	struct folder_case c;

	case_make(&c);
	case_open(&c);
	for (int i = 0; i < 20; i++) {
		char name[32], text[256];

		(void)snprintf(name, sizeof(name), "f%d.yaml", i);
		(void)snprintf(text, sizeof(text), SERVICE("s%d", "1"), i);
		write_file(&c, name, text);
	}
	expect_load(&c);
	cr_expect_eq(sl_model_count(c.model, SL_KIND_SERVICE), 20);
	cr_expect_eq(c.n_calls, 2);
	case_free(&c);
}

Test(folder, changes_that_never_pause_are_applied_after_a_second)
{
	uint64_t start = sl_clock_now_ns();
	struct folder_case c;
	unsigned i = 0;

	case_make(&c);
	case_open(&c);
	while (c.n_calls == 1) {
		char text[256];

		cr_assert_lt(sl_clock_now_ns(), start + 10 * SL_NS_PER_S,
			     "no load while files change");
		(void)snprintf(text, sizeof(text), SERVICE("a", "%u"), i++ % 60000 + 1);
		write_file(&c, "a.yaml", text);
		cr_assert_eq(sl_loop_round(c.loop, SL_NS_PER_MS), 0);
	}
	cr_expect_gt(sl_clock_now_ns() - start, 500 * SL_NS_PER_MS, "not one by one either");
	case_free(&c);
}

Test(folder, a_rename_over_a_file_is_an_edit)
{
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	write_file(&c, ".a.yaml.swp", SERVICE("a", "2"));
	move(&c, ".a.yaml.swp", "a.yaml");
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	cr_expect_eq(c.report->n_files, 1);
	case_free(&c);
}

Test(folder, a_file_can_be_renamed)
{
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	move(&c, "a.yaml", "b.yaml");
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect(sl_str_eqc(
		sl_model_get(c.model, SL_KIND_SERVICE, SL_STR("default"), SL_STR("a"))->meta.file,
		"b.yaml"));
	move(&c, "b.yaml", "b.yaml.off");
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 0);
	case_free(&c);
}

Test(folder, a_broken_file_keeps_what_it_gave)
{
	const struct sl_diag *d;
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	write_file(&c, "b.yaml", SERVICE("b", "2"));
	case_open(&c);
	write_file(&c, "a.yaml", SERVICE("a", "5") "---\nx: [\n");
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1, "not the new version of half a file");
	cr_expect_eq(port_of(&c, "b"), 2);
	cr_expect_eq(c.report->diags->n_errors, 1);
	d = &c.report->diags->items[0];
	cr_expect_str_eq(d->file.ptr, "a.yaml");
	cr_expect_eq(d->severity, SL_SEVERITY_ERROR);
	cr_expect_not_null(diag_with(&c, "stay in force"));
	write_file(&c, "b.yaml", SERVICE("b", "3"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(port_of(&c, "b"), 3);
	cr_expect_eq(c.report->diags->n_errors, 1, "the problem is still there");
	write_file(&c, "a.yaml", SERVICE("a", "6"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 6);
	cr_expect_eq(c.report->diags->n, 0);
	case_free(&c);
}

Test(folder, a_file_broken_from_the_start_gives_nothing)
{
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", "a: *nobody");
	write_file(&c, "b.yaml", SERVICE("b", "2"));
	case_open(&c);
	cr_expect_eq(sl_model_count(c.model, SL_KIND_SERVICE), 1);
	cr_expect_eq(c.report->diags->n, 1);
	cr_expect_not_null(diag_with(&c, "refers to no anchor"));
	case_free(&c);
}

Test(folder, a_broken_object_keeps_its_last_good_version)
{
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1") "---\n" SERVICE("b", "1"));
	case_open(&c);
	write_file(&c, "a.yaml", SERVICE("a", "99999") "---\n" SERVICE("b", "2"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(port_of(&c, "b"), 2, "its neighbour goes on");
	cr_expect_not_null(diag_with(&c, "must be from 1 to 65535"));
	cr_expect_not_null(diag_with(&c, "last valid version"));
	write_file(&c, "a.yaml", SERVICE("a", "99998") "---\n" SERVICE("b", "3"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1, "also the second time");
	write_file(&c, "a.yaml", SERVICE("b", "3"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 0, "what is not described any more is gone");
	cr_expect_eq(c.report->diags->n, 0);
	case_free(&c);
}

Test(folder, an_object_that_lost_its_name_does_not_vanish)
{
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1") "---\n" SERVICE("b", "1"));
	case_open(&c);
	write_file(&c, "a.yaml", SERVICE("A!", "2") "---\n" SERVICE("b", "2"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(port_of(&c, "b"), 2);
	case_free(&c);
}

Test(folder, an_object_that_breaks_while_it_moves_goes_on)
{
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	write_file(&c, "b.yaml", SERVICE("a", "0"));
	remove_file(&c, "a.yaml");
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(c.report->diags->n_errors, 1);
	write_file(&c, "c.yaml", SERVICE("c", "3"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1, "and on");
	case_free(&c);
}

Test(folder, the_first_of_two_descriptions_counts)
{
	const struct sl_diag *d;
	struct folder_case c;

	case_make(&c);
	make_folder(&c, "sub");
	write_file(&c, "b.yaml", SERVICE("a", "2"));
	write_file(&c, "sub/a.yaml", SERVICE("a", "3"));
	case_open(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	cr_assert_eq(c.report->diags->n, 1);
	d = &c.report->diags->items[0];
	cr_expect_str_eq(d->file.ptr, "sub/a.yaml");
	cr_expect_eq(d->line, 1);
	cr_expect_str_eq(d->object.ptr, "Service default/a");
	cr_expect_not_null(diag_with(&c, "described before in b.yaml line 1"));
	write_file(&c, "a.yaml", "\n" SERVICE("a", "1"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(c.report->diags->n_errors, 2);
	remove_file(&c, "a.yaml");
	remove_file(&c, "b.yaml");
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 3);
	cr_expect_eq(c.report->diags->n, 0);
	write_file(&c, "sub/a.yaml", SERVICE("a", "4") "---\n" SERVICE("a", "5"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 4);
	cr_expect_not_null(diag_with(&c, "described before in sub/a.yaml line 1"));
	case_free(&c);
}

Test(folder, problems_are_sorted_by_file_and_line)
{
	static const struct {
		const char *file;
		uint32_t line;
	} expected[] = {{"a.yaml", 4}, {"a.yaml", 9}, {"b.yaml", 1}, {"b.yaml", 3}};
	struct folder_case c;

	case_make(&c);
	write_file(&c, "b.yaml",
		   "apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: Y}\n");
	write_file(&c, "a.yaml", SERVICE("a", "0") "---\n" SERVICE("b", "0"));
	case_open(&c);
	cr_assert_eq(c.report->diags->n, 4);
	for (size_t i = 0; i < 4; i++) {
		cr_expect_str_eq(c.report->diags->items[i].file.ptr, expected[i].file);
		cr_expect_eq(c.report->diags->items[i].line, expected[i].line, "%zu: %u", i,
			     c.report->diags->items[i].line);
	}
	case_free(&c);
}

Test(folder, subfolders_come_and_go)
{
	struct folder_case c;

	case_make(&c);
	case_open(&c);
	make_folder(&c, "x");
	make_folder(&c, "x/y");
	write_file(&c, "x/y/a.yaml", SERVICE("a", "1"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	write_file(&c, "x/y/a.yaml", SERVICE("a", "2"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	move(&c, "x", "z");
	expect_load(&c);
	cr_expect(sl_str_eqc(
		sl_model_get(c.model, SL_KIND_SERVICE, SL_STR("default"), SL_STR("a"))->meta.file,
		"z/y/a.yaml"));
	write_file(&c, "z/y/a.yaml", SERVICE("a", "3"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 3, "a renamed folder is still watched");
	move(&c, "z", ".z");
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 0);
	write_file(&c, ".z/y/a.yaml", SERVICE("a", "4"));
	settle(&c);
	cr_expect_eq(port_of(&c, "a"), 0);
	case_free(&c);
}
