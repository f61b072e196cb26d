/* SPDX-License-Identifier: Apache-2.0 */
/* Links, folders and files that come, go and change under the watch. */
#include "folder_case.h"
#include <stdio.h>

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

Test(folder_watch, a_config_map_volume_is_followed)
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

Test(folder_watch, links_to_folders_are_followed_only_inside)
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

Test(folder_watch, a_file_is_not_read_while_it_is_being_written)
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

Test(folder_watch, a_reload_reads_everything_and_always_reports)
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

Test(folder_watch, a_folder_that_is_gone_keeps_what_it_gave_until_it_is_back)
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

Test(folder_watch, a_folder_exchanged_by_rename_is_noticed)
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

Test(folder_watch, the_folder_may_be_a_link_that_is_turned)
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

Test(folder_watch, a_file_over_the_limit_keeps_what_it_gave)
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

Test(folder_watch, what_is_not_a_regular_file_is_left_out)
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

Test(folder_watch, lost_events_lead_to_a_full_load)
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
