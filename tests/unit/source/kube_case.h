/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a source's feeds share, and a server in another process (kube_server.py). */
#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "source/kube_group.h"
#include "source/kube_needs.h"

struct fixture {
	char folder[64];
	pid_t server;
	FILE *to, *from;
	struct sl_kube_access access;
	struct sl_kube_opts opts;
	struct sl_kube_pool pool;
	unsigned n_changes;
};

static void on_changed(void *arg)
{
	((struct fixture *)arg)->n_changes++;
}

static void read_line(struct fixture *f, char out[512])
{
	cr_assert_not_null(fgets(out, 512, f->from), "the server has gone");
	out[strcspn(out, "\n")] = '\0';
}

/* What the server answers. */
static long ask(struct fixture *f, const char *command)
{
	char line[512];

	cr_assert_gt(fprintf(f->to, "%s\n", command), 0);
	cr_assert_eq(fflush(f->to), 0);
	read_line(f, line);
	return strtol(line, NULL, 10);
}

static void start_server(struct fixture *f)
{
	int in[2], out[2];

	cr_assert_eq(pipe(in), 0);
	cr_assert_eq(pipe(out), 0);
	f->server = fork();
	cr_assert_geq(f->server, 0);
	if (f->server == 0) {
		(void)dup2(in[0], 0);
		(void)dup2(out[1], 1);
		(void)close(in[1]); /* or it never sees the end of its commands */
		(void)execl("/usr/bin/python3", "python3", getenv("KUBE_SERVER"), f->folder, NULL);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	f->to = fdopen(in[1], "w");
	f->from = fdopen(out[0], "r");
	cr_assert(f->to && f->from);
}

static void set_up(struct fixture *f)
{
	char kubeconfig[512], err[400] = "";

	*f = (struct fixture){.folder = "/tmp/sluice-kube-XXXXXX"};
	cr_assert_not_null(mkdtemp(f->folder));
	start_server(f);
	read_line(f, kubeconfig);
	cr_assert_eq(sl_kube_access_kubeconfig(kubeconfig, NULL, &f->access, err, sizeof(err)), 0,
		     "%s", err);
	f->pool = (struct sl_kube_pool){.opts = &f->opts, .changed = on_changed, .arg = f};
	sl_list_init(&f->pool.groups);
	sl_list_init(&f->pool.troubled);
	sl_list_init(&f->pool.feeds);
	cr_assert_eq(sl_loop_new(&f->pool.loop), 0);
	cr_assert_eq(sl_model_new(&f->pool.model), 0);
	cr_assert_eq(sl_kube_client_new(f->pool.loop, &f->access, &f->pool.client), 0);
	cr_assert_eq(sl_kube_needs_new(&f->pool, &f->pool.needs), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void tear_down(struct fixture *f)
{
	f->pool.needs = sl_kube_needs_free(f->pool.needs);
	sl_kube_groups_free(&f->pool.groups);
	sl_kube_client_free(f->pool.client);
	sl_model_free(f->pool.model);
	sl_loop_free(f->pool.loop);
	sl_kube_access_deinit(&f->access);
	(void)fclose(f->to);
	(void)fclose(f->from);
	(void)waitpid(f->server, NULL, 0);
	(void)nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#define ROUNDS_UNTIL(f, condition)                                                         \
	do {                                                                               \
		uint64_t until_ = sl_clock_now_ns() + 20 * SL_NS_PER_S;                    \
                                                                                           \
		while (!(condition)) {                                                     \
			cr_assert_lt(sl_clock_now_ns(), until_, "never: " #condition);     \
			cr_assert_eq(sl_loop_round((f)->pool.loop, 10 * SL_NS_PER_MS), 0); \
		}                                                                          \
	} while (0)
