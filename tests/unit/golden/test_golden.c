/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiler on whole folders: each folder of the one that is given has a configuration (in.yaml)
 * and what comes of it (expected.txt). With SLUICE_GOLDEN_WRITE=1 in the environment expected.txt
 * is written anew; read the difference before believing it. Prints TAP.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "dump.h"
#include "source/folder.h"

static void buf_deinitp(struct sl_buf *b)
{
	sl_buf_deinit(b);
}

static void diags_deinitp(struct sl_diags *d)
{
	sl_diags_deinit(d);
}

static void report_freep(struct sl_compile_report **r)
{
	(void)sl_compile_report_free(*r); /* always NULL */
}

static int read_file(const char *path, struct sl_buf *out)
{
	FILE *f = fopen(path, "re");
	char block[4096];
	size_t n;
	int r = 0;

	if (!f)
		return -errno;
	while (!r && (n = fread(block, 1, sizeof(block), f)))
		r = sl_buf_append(out, block, n);
	(void)fclose(f); /* read only */
	return r;
}

static int write_file(const char *path, struct sl_str text)
{
	FILE *f = fopen(path, "we");
	bool ok;

	if (!f)
		return -errno;
	ok = fwrite(text.ptr, 1, text.len, f) == text.len;
	return fclose(f) || !ok ? -EIO : 0;
}

static int compile_folder(const char *path, struct sl_buf *out)
{
	_cleanup_(sl_model_freep) struct sl_model *model = NULL;
	_cleanup_(diags_deinitp) struct sl_diags diags = SL_DIAGS_INIT;
	_cleanup_(sl_snapshot_unrefp) struct sl_snapshot *snap = NULL;
	_cleanup_(report_freep) struct sl_compile_report *report = NULL;
	const struct sl_compile_opts opts = {.failure_policy = SL_FAIL_OPEN,
					     .node = SL_STR("n1"),
					     .generation = 1,
					     .now_s = 1780272000 /* 2026-06-01 */};
	struct sl_config_report loaded;
	int r = sl_folder_load(path, &model, &diags, &loaded);

	if (!r)
		r = sl_compile(model, &opts, &snap, &report);
	return r ? r : dump_compiled(out, snap, report);
}

static struct sl_str next_line(struct sl_str *text)
{
	const char *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
	size_t len = end ? (size_t)(end - text->ptr) : text->len;
	struct sl_str l = {text->ptr, len};

	*text = sl_str_skip(*text, end ? len + 1 : len);
	return l;
}

static void show_difference(struct sl_str want, struct sl_str have)
{
	for (unsigned n = 1; want.len || have.len; n++) {
		struct sl_str w = next_line(&want), h = next_line(&have);

		if (sl_str_eq(w, h))
			continue;
		printf("# line %u, expected: %.*s\n# line %u, compiled: %.*s\n", n, SL_STR_ARG(w),
		       n, SL_STR_ARG(h));
		return;
	}
}

static bool run_case(const char *folder, const char *name)
{
	_cleanup_(sl_freep) char *path = sl_asprintf("%s/%s", folder, name);
	_cleanup_(sl_freep) char *expected = sl_asprintf("%s/%s/expected.txt", folder, name);
	_cleanup_(buf_deinitp) struct sl_buf want = SL_BUF_INIT(0);
	_cleanup_(buf_deinitp) struct sl_buf have = SL_BUF_INIT(0);
	int r;

	if (!path || !expected)
		return false;
	r = compile_folder(path, &have);
	if (!r)
		r = getenv("SLUICE_GOLDEN_WRITE") ? write_file(expected, sl_buf_str(&have))
						  : read_file(expected, &want);
	if (r) {
		printf("# %s\n", sl_strerror(r));
		return false;
	}
	if (getenv("SLUICE_GOLDEN_WRITE") || sl_str_eq(sl_buf_str(&want), sl_buf_str(&have)))
		return true;
	show_difference(sl_buf_str(&want), sl_buf_str(&have));
	return false;
}

static int visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **entries;
	int n = argc == 2 ? scandir(argv[1], &entries, visible, alphasort) : -1;
	bool ok = true;

	if (n < 1) {
		printf("Bail out! usage: test_golden FOLDER-OF-CASES\n");
		return 1;
	}
	printf("1..%d\n", n);
	for (int i = 0; i < n; i++) {
		bool passed = run_case(argv[1], entries[i]->d_name);

		printf("%sok %d - %s\n", passed ? "" : "not ", i + 1, entries[i]->d_name);
		ok = ok && passed;
		free(entries[i]);
	}
	free(entries);
	return ok ? 0 : 1;
}
