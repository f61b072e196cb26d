/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A folder on disk, changed step by step while a loop watches it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "source/folder.h"

struct folder_case {
	char root[64]; /* temporary; the folder is "conf" in it */
	char conf[80];
	struct sl_loop *loop;
	struct sl_folder *folder;
	/* as of the last call */
	unsigned n_calls;
	const struct sl_model *model;
	const struct sl_config_report *report;
};

static inline void path_in(const struct folder_case *c, const char *rel, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s", c->conf, rel);
}

static inline void case_make(struct folder_case *c)
{
	*c = (struct folder_case){.root = "/tmp/sl-folder-XXXXXX"};
	cr_assert_not_null(mkdtemp(c->root));
	(void)snprintf(c->conf, sizeof(c->conf), "%s/conf", c->root);
	cr_assert_eq(mkdir(c->conf, 0755), 0);
	cr_assert_eq(sl_loop_new(&c->loop), 0);
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void remove_tree(const char *path)
{
	cr_assert_eq(nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void case_free(struct folder_case *c)
{
	sl_folder_close(c->folder);
	sl_loop_free(c->loop);
	remove_tree(c->root);
}

/* The model and report are borrowed during the call, but live until the next one as it is: tests
 * look at them in between. */
static inline void on_load(void *arg, const struct sl_model *model,
			   const struct sl_config_report *report)
{
	struct folder_case *c = arg;

	c->n_calls++;
	c->model = model;
	c->report = report;
}

static inline void case_open(struct folder_case *c)
{
	cr_assert_eq(sl_folder_open(c->loop, c->conf, on_load, c, &c->folder), 0);
	cr_assert_eq(c->n_calls, 1);
}

static inline void write_at(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	cr_assert_eq(close(fd), 0);
}

static inline void write_file(struct folder_case *c, const char *rel, const char *text)
{
	char path[PATH_MAX];

	path_in(c, rel, path);
	write_at(path, text);
}

static inline void make_folder(struct folder_case *c, const char *rel)
{
	char path[PATH_MAX];

	path_in(c, rel, path);
	cr_assert_eq(mkdir(path, 0755), 0);
}

static inline void remove_file(struct folder_case *c, const char *rel)
{
	char path[PATH_MAX];

	path_in(c, rel, path);
	cr_assert_eq(remove(path), 0);
}

static inline void move(struct folder_case *c, const char *from, const char *to)
{
	char a[PATH_MAX], b[PATH_MAX];

	path_in(c, from, a);
	path_in(c, to, b);
	cr_assert_eq(rename(a, b), 0);
}

static inline void link_to(struct folder_case *c, const char *target, const char *rel)
{
	char path[PATH_MAX];

	path_in(c, rel, path);
	cr_assert_eq(symlink(target, path), 0);
}

/* Rounds until done says so; the test fails when it takes too long. */
static inline bool wait_until(struct folder_case *c,
			      bool (*done)(struct folder_case *c, const void *arg), const void *arg)
{
	uint64_t deadline = sl_clock_now_ns() + 10 * SL_NS_PER_S;

	while (!done(c, arg)) {
		if (sl_clock_now_ns() > deadline)
			return false;
		cr_assert_eq(sl_loop_round(c->loop, 100 * SL_NS_PER_MS), 0);
	}
	return true;
}

static inline bool has_called(struct folder_case *c, const void *arg)
{
	return c->n_calls >= *(const unsigned *)arg;
}

#define expect_load(c)                                                         \
	do {                                                                   \
		unsigned next_call = (c)->n_calls + 1;                         \
		cr_assert(wait_until((c), has_called, &next_call), "no load"); \
	} while (0)

/* Runs the loop past the quiet time behind an event: what did not come by then does not come. A
 * file that is written now is seen, so nothing before it was missed. */
static inline void settle(struct folder_case *c)
{
	static unsigned n;
	char name[32], text[128];
	unsigned next = c->n_calls + 1;

	(void)snprintf(name, sizeof(name), "zz-marker-%u.yaml", n);
	(void)snprintf(text, sizeof(text),
		       "{apiVersion: v1, kind: Namespace, metadata: {name: marker-%u}}", n++);
	write_file(c, name, text);
	cr_assert(wait_until(c, has_called, &next), "no load");
}

/* Port 0: there is no such Service. */
static inline unsigned port_of(const struct folder_case *c, const char *name)
{
	const struct sl_object *o =
		sl_model_get(c->model, SL_KIND_SERVICE, SL_STR("default"), sl_str_from(name));

	return o ? ((const struct sl_service *)o)->ports[0].port : 0;
}

static inline const struct sl_diag *diag_with(const struct folder_case *c, const char *message)
{
	for (size_t i = 0; i < c->report->diags->n; i++) {
		if (strstr(c->report->diags->items[i].message.ptr, message))
			return &c->report->diags->items[i];
	}
	return NULL;
}

#define SERVICE(name, port)                                                                      \
	"apiVersion: v1\nkind: Service\nmetadata: {name: " name "}\nspec: {ports: [{port: " port \
	"}]}\n"
