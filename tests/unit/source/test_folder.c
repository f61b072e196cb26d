/* SPDX-License-Identifier: Apache-2.0 */
#include "folder_case.h"
#include <jansson.h>
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

/* As the kubelet does it: a new hidden folder, and one rename of the link to it. */
static void publish(struct folder_case *c, const char *version, const char *text)
{
	char file[64];

	make_folder(c, version);
	(void)snprintf(file, sizeof(file), "%s/a.yaml", version);
	write_file(c, file, text);
	link_to(c, version, "..data_tmp");
	move(c, "..data_tmp", "..data");
}

Test(folder, a_config_map_volume_is_followed)
{
	struct folder_case c;

	case_make(&c);
	publish(&c, "..2026_01", SERVICE("a", "1"));
	link_to(&c, "..data/a.yaml", "a.yaml");
	case_open(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(c.report->n_files, 1, "the hidden file itself does not count");
	publish(&c, "..2026_02", SERVICE("a", "2"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	publish(&c, "..2026_03", SERVICE("a", "3") "---\n" SERVICE("b", "4"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 3);
	cr_expect_eq(port_of(&c, "b"), 4);
	case_free(&c);
}

Test(folder, links_to_folders_are_followed_only_inside)
{
	char outside[PATH_MAX];
	struct folder_case c;

	case_make(&c);
	(void)snprintf(outside, sizeof(outside), "%s/outside", c.root);
	cr_assert_eq(mkdir(outside, 0755), 0);
	strncat(outside, "/x.yaml", sizeof(outside) - strlen(outside) - 1);
	write_at(outside, SERVICE("x", "1"));
	make_folder(&c, "..v1");
	write_file(&c, "..v1/a.yaml", SERVICE("a", "1"));
	link_to(&c, "..v1", "inside");
	link_to(&c, "../outside", "outside");
	link_to(&c, "../outside/x.yaml", "x.yaml");
	link_to(&c, ".", "loop");
	link_to(&c, "/", "disk");
	link_to(&c, "nowhere", "dangling.yaml");
	case_open(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_eq(port_of(&c, "x"), 1, "a link to one file is meant");
	cr_expect_eq(c.report->n_files, 2);
	cr_expect_eq(c.report->diags->n, 0);
	case_free(&c);
}

Test(folder, a_file_is_not_read_while_it_is_being_written)
{
	char path[PATH_MAX];
	struct folder_case c;
	int fd;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	path_in(&c, "a.yaml", path);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	settle(&c);
	cr_expect_eq(port_of(&c, "a"), 1, "it is empty now, but not finished");
	cr_assert_gt(dprintf(fd, SERVICE("a", "2")), 0);
	settle(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_assert_eq(close(fd), 0);
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	case_free(&c);
}

Test(folder, a_reload_reads_everything_and_always_reports)
{
	char path[PATH_MAX];
	struct folder_case c;
	int fd;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	cr_assert_eq(sl_folder_reload(c.folder), 0);
	cr_expect_eq(c.n_calls, 2);
	path_in(&c, "a.yaml", path);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	cr_assert_gt(dprintf(fd, SERVICE("a", "2")), 0);
	settle(&c);
	cr_assert_eq(port_of(&c, "a"), 1);
	cr_assert_eq(sl_folder_reload(c.folder), 0);
	cr_expect_eq(port_of(&c, "a"), 2, "also what is being written");
	cr_assert_eq(close(fd), 0);
	case_free(&c);
}

Test(folder, a_folder_that_is_gone_keeps_what_it_gave_until_it_is_back)
{
	char other[PATH_MAX];
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	(void)snprintf(other, sizeof(other), "%s/other", c.root);
	cr_assert_eq(rename(c.conf, other), 0);
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_not_null(diag_with(&c, "No such file or directory"));
	cr_expect_eq(c.report->diags->n_errors, 1);
	cr_assert_eq(mkdir(c.conf, 0755), 0);
	write_file(&c, "b.yaml", SERVICE("b", "2"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 0);
	cr_expect_eq(port_of(&c, "b"), 2);
	cr_expect_eq(c.report->diags->n, 0);
	write_file(&c, "b.yaml", SERVICE("b", "3"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "b"), 3, "the new folder is watched");
	case_free(&c);
}

Test(folder, a_folder_exchanged_by_rename_is_noticed)
{
	char next[PATH_MAX], old[PATH_MAX];
	struct folder_case c;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	(void)snprintf(next, sizeof(next), "%s/next", c.root);
	(void)snprintf(old, sizeof(old), "%s/old", c.root);
	cr_assert_eq(mkdir(next, 0755), 0);
	strncat(next, "/a.yaml", sizeof(next) - strlen(next) - 1);
	write_at(next, SERVICE("a", "2"));
	*strrchr(next, '/') = '\0';
	cr_assert_eq(rename(c.conf, old), 0);
	cr_assert_eq(rename(next, c.conf), 0);
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	case_free(&c);
}

Test(folder, the_folder_may_be_a_link_that_is_turned)
{
	char v1[PATH_MAX], v2[PATH_MAX], link[PATH_MAX], tmp[PATH_MAX];
	struct folder_case c;

	case_make(&c);
	(void)snprintf(v1, sizeof(v1), "%s/v1", c.root);
	(void)snprintf(v2, sizeof(v2), "%s/v2", c.root);
	(void)snprintf(link, sizeof(link), "%s/current", c.root);
	(void)snprintf(tmp, sizeof(tmp), "%s/.current", c.root);
	cr_assert_eq(mkdir(v1, 0755), 0);
	cr_assert_eq(mkdir(v2, 0755), 0);
	cr_assert_eq(symlink("v1", link), 0);
	(void)snprintf(c.conf, sizeof(c.conf), "%s/v2", c.root);
	write_file(&c, "a.yaml", SERVICE("a", "2"));
	(void)snprintf(c.conf, sizeof(c.conf), "%s/current/", c.root);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_assert_eq(symlink("v2", tmp), 0);
	cr_assert_eq(rename(tmp, link), 0);
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	case_free(&c);
}

Test(folder, a_file_over_the_limit_keeps_what_it_gave)
{
	char path[PATH_MAX];
	struct folder_case c;
	FILE *f;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	path_in(&c, "a.yaml", path);
	f = fopen(path, "we");
	cr_assert_not_null(f);
	for (int i = 0; i < (8 << 20) / 64 + 1; i++)
		cr_assert_eq(fprintf(f, "%063d\n", 0), 64);
	cr_assert_eq(fclose(f), 0);
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 1);
	cr_expect_not_null(diag_with(&c, "larger than 8 MiB"));
	write_file(&c, "a.yaml", SERVICE("a", "2"));
	expect_load(&c);
	cr_expect_eq(port_of(&c, "a"), 2);
	cr_expect_eq(c.report->diags->n, 0);
	case_free(&c);
}

Test(folder, what_is_not_a_regular_file_is_left_out)
{
	char path[PATH_MAX];
	struct folder_case c;

	case_make(&c);
	make_folder(&c, "folder.yaml");
	path_in(&c, "fifo.yaml", path);
	cr_assert_eq(mkfifo(path, 0644), 0);
	link_to(&c, "/dev/zero", "zero.yaml");
	case_open(&c);
	cr_expect_eq(c.report->n_files, 0);
	cr_expect_eq(c.report->diags->n, 0);
	case_free(&c);
}

Test(folder, lost_events_lead_to_a_full_load)
{
	struct folder_case c;
	unsigned next;

	case_make(&c);
	write_file(&c, "a.yaml", SERVICE("a", "1"));
	case_open(&c);
	next = c.n_calls + 1;
	/* Two names in turn: equal events in a row are merged. The queue holds 16,384 by default.
	 */
	for (int i = 0; i < 40000; i++) {
		char path[PATH_MAX];

		path_in(&c, i % 2 ? "x" : "y", path);
		cr_assert_eq(close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)), 0);
	}
	write_file(&c, "a.yaml", SERVICE("a", "2"));
	cr_assert(wait_until(&c, has_called, &next), "no load");
	cr_expect_eq(port_of(&c, "a"), 2);
	case_free(&c);
}

Test(folder, it_can_be_loaded_once_without_watching)
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

Test(folder, each_allocation_may_fail_while_loading)
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

Test(folder, each_allocation_may_fail_while_opening)
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

Test(folder, each_allocation_may_fail_while_a_change_is_loaded)
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

Test(folder, a_load_that_lacked_memory_is_tried_again)
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

Test(folder, what_is_followed_is_what_a_fresh_load_sees)
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
