/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/server.h"

#include <errno.h>
#include <sys/stat.h>
#include "admin/exchange.h"
#include "admin/unix_listen.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "obs/metrics.h"
#include "sluice/admin.h"

enum { BACKLOG = 64, DEFAULT_MAX_LATER = 16 };

struct command {
	struct sl_str name;
	sl_admin_fn fn;
	void *arg;
};

struct sl_admin {
	struct sl_exchange *exchange;
	struct sl_map commands;
	struct sl_list later; /* answers that are outstanding */
	uint32_t n_later, max_later;
	char *path;
	dev_t dev; /* of the socket's file: whether it is still ours */
	ino_t ino;
};

struct sl_admin_later {
	struct sl_list node;
	struct sl_admin *admin; /* NULL: closed */
	struct sl_exchange_later *client;
};

SL_DEFINE_CLEANUP(struct sl_admin *, sl_admin_close)

/* ---- answering ---- */

static int append(const char *bytes, size_t n, void *buf)
{
	return sl_buf_append(buf, bytes, n) ? -1 : 0;
}

/* Without memory the answer is none. */
static void answer_json(struct sl_buf *out, const json_t *j)
{
	if (!j || json_dump_callback(j, append, out, JSON_COMPACT) || sl_buf_append(out, "\n", 1))
		sl_buf_deinit(out);
}

static void answer_error(struct sl_buf *out, const char *message)
{
	_cleanup_(json_decrefp) json_t *j = json_pack("{s:{s:s}}", "error", "message", message);

	answer_json(out, j);
}

static void run(struct sl_admin *a, const json_t *request, const char *name, struct sl_buf *out)
{
	struct command *cmd = sl_map_get(&a->commands, sl_str_from(name));
	_cleanup_(json_decrefp) json_t *result = NULL;
	_cleanup_(sl_freep) char *message = NULL;
	int r;

	if (!cmd) {
		message = sl_asprintf("unknown command '%s'", name);
		answer_error(out, message ? message : "unknown command");
		return;
	}
	r = cmd->fn(cmd->arg, request, &result);
	if (r == SL_ADMIN_LATER)
		return;
	if (!r)
		answer_json(out, result);
	else if (r == SL_ADMIN_REFUSED)
		answer_error(out, json_string_value(result));
	else
		answer_error(out, sl_strerror(r));
}

static bool asked(void *arg, struct sl_str in, bool last, struct sl_buf *out)
{
	const char *end = in.len ? memchr(in.ptr, '\n', in.len) : NULL;
	_cleanup_(json_decrefp) json_t *request = NULL;
	const char *name;
	json_error_t e;

	if (!end) {
		if (in.len == SL_ADMIN_MAX_REQUEST_BYTES)
			answer_error(out, "the request is too long");
		else if (last && in.len)
			answer_error(out, "the request does not end with a line feed");
		return last;
	}
	request = json_loadb(in.ptr, (size_t)(end - in.ptr), JSON_REJECT_DUPLICATES, &e);
	name = json_string_value(json_object_get(request, "command"));
	if (!request)
		answer_error(out, "the request is not a JSON object on one line");
	else if (!name)
		answer_error(out, "the request has no \"command\"");
	else
		run(arg, request, name, out);
	return true;
}

/* ---- the socket ---- */

/* Remember which file is ours. */
static int know_file(struct sl_admin *a)
{
	struct stat st;

	if (stat(a->path, &st))
		return -errno;
	a->dev = st.st_dev;
	a->ino = st.st_ino;
	return 0;
}

static int version(void *arg, const json_t *request, json_t **ret)
{
	*ret = json_pack("{s:s}", "version", SL_VERSION);
	return *ret ? 0 : -ENOMEM;
}

int sl_admin_open(struct sl_loop *loop, const struct sl_admin_opts *opts, struct sl_admin **ret)
{
	_cleanup_(sl_admin_closep) struct sl_admin *a = sl_new(struct sl_admin);
	struct sl_exchange_opts xopts = {
		.fn = asked,
		.arg = a,
		.max_request_bytes = SL_ADMIN_MAX_REQUEST_BYTES,
		.max_clients = opts->max_clients,
		.timeout_ns = opts->timeout_ns,
	};
	_cleanup_(sl_closep) int fd = opts->inherited ? *opts->inherited : -1;
	int r;

	if (!a)
		return -ENOMEM;
	sl_list_init(&a->later);
	a->max_later = opts->max_later ? opts->max_later : DEFAULT_MAX_LATER;
	a->path = sl_strdup(opts->path ? opts->path : SL_ADMIN_SOCKET);
	r = a->path ? sl_admin_register(a, "version", version, NULL) : -ENOMEM;
	if (!r)
		r = sl_unix_listen(a->path, BACKLOG, sl_take_fd(&fd), &fd);
	if (!r)
		r = know_file(a);
	if (!r)
		r = sl_exchange_open(loop, sl_take_fd(&fd), &xopts, &a->exchange);
	if (r)
		return r;
	*ret = sl_take(a);
	return 0;
}

int sl_admin_fd(const struct sl_admin *a)
{
	return sl_exchange_fd(a->exchange);
}

void sl_admin_leave(struct sl_admin *a)
{
	a->ino = 0;
}

struct sl_admin *sl_admin_close(struct sl_admin *a)
{
	struct command *cmd;
	struct stat st;
	size_t pos = 0;

	if (!a)
		return NULL;
	if (a->ino && !lstat(a->path, &st) && st.st_dev == a->dev && st.st_ino == a->ino)
		(void)unlink(a->path); /* what stays is replaced by the next agent */
	sl_exchange_close(a->exchange);
	sl_list_foreach_safe (n, &a->later) {
		sl_container_of(n, struct sl_admin_later, node)->admin = NULL;
		sl_list_remove(n);
	}
	while ((cmd = sl_map_next(&a->commands, &pos, NULL)))
		free(cmd);
	sl_map_deinit(&a->commands);
	free(a->path);
	free(a);
	return NULL;
}

/* ---- later ---- */

int sl_admin_defer(struct sl_admin *a, struct sl_admin_later **ret, json_t **ret_message)
{
	_cleanup_(sl_freep) struct sl_admin_later *l = NULL;

	if (a->n_later >= a->max_later) {
		*ret_message = json_string("too many questions at a time, try again");
		return *ret_message ? SL_ADMIN_REFUSED : -ENOMEM;
	}
	l = sl_new(struct sl_admin_later);
	if (!l)
		return -ENOMEM;
	l->client = sl_exchange_defer(a->exchange);
	if (!l->client)
		return -ENOMEM;
	l->admin = a;
	sl_list_append(&a->later, &l->node);
	a->n_later++;
	*ret = sl_take(l);
	return 0;
}

void sl_admin_answer(struct sl_admin_later *l, struct sl_buf *text)
{
	/* Without memory for the line feed the answer is none. */
	if (sl_buf_append(text, "\n", 1))
		sl_buf_deinit(text);
	sl_list_remove(&l->node);
	if (l->admin)
		l->admin->n_later--;
	sl_exchange_answer(l->client, text);
	free(l);
}

void sl_admin_answer_error(struct sl_admin_later *l, const char *message)
{
	_cleanup_(json_decrefp) json_t *j = json_pack("{s:{s:s}}", "error", "message", message);
	struct sl_buf text = SL_BUF_INIT(0);

	if (!j || json_dump_callback(j, append, &text, JSON_COMPACT))
		sl_buf_deinit(&text);
	sl_admin_answer(l, &text);
}

int sl_admin_register(struct sl_admin *a, const char *name, sl_admin_fn fn, void *arg)
{
	_cleanup_(sl_freep) struct command *cmd = sl_new(struct command);
	void *old;
	int r;

	if (!cmd)
		return -ENOMEM;
	*cmd = (struct command){sl_str_from(name), fn, arg};
	r = sl_map_put(&a->commands, cmd->name, cmd, &old);
	if (r)
		return r;
	cmd = old;
	return 0;
}

static int metrics(void *arg, const json_t *request, json_t **ret)
{
	struct sl_buf text = SL_BUF_INIT(0);
	int r = sl_metrics_render(arg, &text);

	if (!r) {
		*ret = json_pack("{s:s%}", "text", sl_buf_ptr(&text), sl_buf_len(&text));
		r = *ret ? 0 : -ENOMEM;
	}
	sl_buf_deinit(&text);
	return r;
}

int sl_admin_register_metrics(struct sl_admin *a, struct sl_metrics *m)
{
	return sl_admin_register(a, "metrics", metrics, m);
}
