/* SPDX-License-Identifier: Apache-2.0 */
#include "kubectl.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/log.h"

enum { MAX_OUTPUT_BYTES = 512 << 20, READ_BYTES = 65536, OWN_WORDS = 5 };

extern char **environ;

static int said(const char *what, int r)
{
	fprintf(stderr, "sluicectl: %s: %s\n", what, sl_strerror(r));
	return r;
}

/* A file in memory: neither side waits for the other. */
static int memory_file(struct sl_str content, int *ret_fd)
{
	_cleanup_(sl_closep) int fd = memfd_create("kubectl", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (struct sl_str rest = content; rest.len;) {
		ssize_t n = write(fd, rest.ptr, rest.len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			rest = sl_str_skip(rest, (size_t)n);
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	*ret_fd = sl_take_fd(&fd);
	return 0;
}

static void make_argv(const struct sl_kubectl *k, const char *program, const char *const words[],
		      const char *argv[SL_KUBECTL_MAX_WORDS + OWN_WORDS + 1])
{
	size_t n = 0;

	argv[n++] = program;
	if (k->kubeconfig) {
		argv[n++] = "--kubeconfig";
		argv[n++] = k->kubeconfig;
	}
	if (k->context) {
		argv[n++] = "--context";
		argv[n++] = k->context;
	}
	for (size_t i = 0; words[i] && i < SL_KUBECTL_MAX_WORDS; i++)
		argv[n++] = words[i];
	argv[n] = NULL;
}

/* out_fd: -1 for our own standard output. */
static int spawn(const struct sl_kubectl *k, const char *const words[], struct sl_str input,
		 int out_fd, pid_t *ret)
{
	const char *argv[SL_KUBECTL_MAX_WORDS + OWN_WORDS + 1];
	const char *program = getenv("KUBECTL");
	_cleanup_(sl_closep) int in_fd = -1;
	posix_spawn_file_actions_t files;
	int r = memory_file(input, &in_fd);

	if (r)
		return said("cannot prepare kubectl", r);
	program = program && *program ? program : "kubectl";
	make_argv(k, program, words, argv);
	if (posix_spawn_file_actions_init(&files))
		return said("cannot prepare kubectl", -ENOMEM);
	r = posix_spawn_file_actions_adddup2(&files, in_fd, STDIN_FILENO);
	if (!r && out_fd >= 0)
		r = posix_spawn_file_actions_adddup2(&files, out_fd, STDOUT_FILENO);
	if (!r)
		r = posix_spawnp(ret, program, &files, NULL, (char *const *)argv, environ);
	(void)posix_spawn_file_actions_destroy(&files); /* always 0 */
	if (r)
		fprintf(stderr, "sluicectl: cannot run %s ($KUBECTL names another): %s\n", program,
			sl_strerror(-r));
	return -r;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return said("waitpid", -errno);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int sl_kubectl_start(const struct sl_kubectl *k, const char *const words[], struct sl_str input,
		     struct sl_kubectl_job *ret)
{
	_cleanup_(sl_closep) int fd = -1;
	int r = memory_file(SL_STR(""), &fd);

	if (r)
		return said("cannot prepare kubectl", r);
	r = spawn(k, words, input, fd, &ret->pid);
	if (!r)
		ret->out_fd = sl_take_fd(&fd);
	return r;
}

static int read_all(int fd, struct sl_buf *out)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		int r = sl_buf_reserve(out, READ_BYTES);
		ssize_t n;

		if (r)
			return r;
		n = read(fd, sl_buf_tail(out), sl_buf_room(out));
		if (n > 0)
			sl_buf_commit(out, (size_t)n);
		else if (n == 0 || errno != EINTR)
			return n ? -errno : 0;
	}
}

int sl_kubectl_finish(struct sl_kubectl_job *job, struct sl_buf *out)
{
	_cleanup_(sl_closep) int fd = job->out_fd;
	int status = wait_for(job->pid);
	int r = out ? read_all(fd, out) : 0;

	job->out_fd = -1;
	return r ? said("cannot read kubectl's output", r) : status;
}

int sl_kubectl_show(const struct sl_kubectl *k, const char *const words[], struct sl_str input)
{
	pid_t pid;
	int r;

	(void)fflush(stdout); /* what we said comes first */
	r = spawn(k, words, input, -1, &pid);
	return r ? r : wait_for(pid);
}

/* One document, or {"items": [...]} of several, one behind the other. NULL: neither. */
static json_t *parse(const struct sl_buf *out)
{
	struct sl_str rest = sl_buf_str(out);
	json_auto_t *items = json_array();
	json_error_t e;

	while (rest.len) {
		json_t *item = json_loadb(rest.ptr, rest.len, JSON_DISABLE_EOF_CHECK, &e);

		if (json_array_append_new(items, item))
			return NULL;
		rest = sl_str_skip(rest, (size_t)e.position);
		while (rest.len && strchr(" \n\r\t", *rest.ptr))
			rest = sl_str_skip(rest, 1);
	}
	if (json_array_size(items) == 1)
		return json_incref(json_array_get(items, 0));
	return json_array_size(items) ? json_pack("{s:O}", "items", items) : NULL;
}

int sl_kubectl_json(const struct sl_kubectl *k, const char *const words[], struct sl_str input,
		    json_t **ret)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(MAX_OUTPUT_BYTES);
	struct sl_kubectl_job job;
	json_t *answer;
	int r = sl_kubectl_start(k, words, input, &job);

	if (!r)
		r = sl_kubectl_finish(&job, &out);
	if (r)
		return r;
	answer = parse(&out);
	if (!json_is_object(answer)) {
		json_decref(answer);
		fprintf(stderr, "sluicectl: kubectl %s did not print JSON\n", words[0]);
		return -EPROTO;
	}
	*ret = answer;
	return 0;
}
