/* SPDX-License-Identifier: Apache-2.0 */
#include "status/status.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/utf8.h"

/* What one update leaves behind. */
struct state {
	json_t *root;
	struct sl_arena arena;
	struct sl_map since; /* condition ("route, parentRef, type") -> struct since */
};

struct since {
	struct sl_str status;
	int64_t at_s;
};

struct sl_status {
	struct state state;
	bool unwritten;
};

SL_DEFINE_CLEANUP(struct sl_status *, sl_status_free)

static void json_unrefp(json_t **j)
{
	json_decref(*j); /* accepts NULL */
}

static int state_init(struct state *s)
{
	*s = (struct state){.arena = SL_ARENA_INIT(4096)};
	s->root = json_pack("{s:[]}", "routes");
	return s->root ? 0 : -ENOMEM;
}

static void state_deinit(struct state *s)
{
	json_decref(s->root);
	sl_map_deinit(&s->since);
	sl_arena_deinit(&s->arena);
}

int sl_status_new(struct sl_status **ret)
{
	_cleanup_(sl_status_freep) struct sl_status *s = sl_new(struct sl_status);
	int r;

	if (!s)
		return -ENOMEM;
	r = state_init(&s->state);
	if (r)
		return r;
	s->unwritten = true;
	*ret = sl_take(s);
	return 0;
}

struct sl_status *sl_status_free(struct sl_status *s)
{
	if (s) {
		state_deinit(&s->state);
		free(s);
	}
	return NULL;
}

/* ---- JSON ---- */

/* Messages can hold pieces of user text that were cut within a character. */
static json_t *lossy_text(struct sl_str s)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);

	while (s.len) {
		size_t n = sl_utf8_len(s);
		int r = n ? sl_buf_append(&out, s.ptr, n)
			  : sl_buf_append_str(&out, SL_STR(SL_UTF8_REPLACEMENT));

		if (r)
			return NULL;
		s = sl_str_skip(s, n ? n : 1);
	}
	return json_stringn(sl_buf_str(&out).ptr, sl_buf_len(&out));
}

static int set_text(json_t *object, const char *key, struct sl_str s)
{
	json_t *text = json_stringn(s.len ? s.ptr : "", s.len);

	if (!text)
		text = lossy_text(s);
	return json_object_set_new(object, key, text) ? -ENOMEM : 0;
}

static int set_number(json_t *object, const char *key, int64_t n)
{
	return json_object_set_new(object, key, json_integer(n)) ? -ENOMEM : 0;
}

static int set_time(json_t *object, const char *key, int64_t at_s)
{
	time_t t = (time_t)at_s;
	struct tm tm;
	char text[32];

	if (!gmtime_r(&t, &tm))
		return 0; /* a year that does not fit: better no time than no status */
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return set_text(object, key, sl_str_from(text));
}

/* As the user wrote it: that is how clients find their entry. */
static json_t *parent_ref_json(const struct sl_parent_ref *ref)
{
	_cleanup_(json_unrefp) json_t *j = json_object();
	int r = j ? 0 : -ENOMEM;

	if (!r && ref->has_group)
		r = set_text(j, "group", ref->group);
	if (!r && ref->has_kind)
		r = set_text(j, "kind", ref->kind);
	if (!r && ref->has_namespace)
		r = set_text(j, "namespace", ref->namespace);
	if (!r)
		r = set_text(j, "name", ref->name);
	if (!r && ref->section_name.len)
		r = set_text(j, "sectionName", ref->section_name);
	if (!r && ref->port)
		r = set_number(j, "port", ref->port);
	return r ? NULL : sl_take(j);
}

/* ---- transitions ---- */

/* Since when the condition has its status: as before unless that changed. */
static int remember(const struct state *old, struct state *next, struct sl_str parent,
		    const struct sl_condition *c, int64_t now_s, int64_t *ret_at_s)
{
	struct since *since = sl_arena_new(&next->arena, struct since);
	const struct since *before;
	struct sl_str key;

	if (!since || sl_arena_str(&next->arena, c->status, &since->status) ||
	    sl_arena_printf(&next->arena, &key, "%.*s %.*s", SL_STR_ARG(parent),
			    SL_STR_ARG(c->type)))
		return -ENOMEM;
	before = sl_map_get(&old->since, key);
	since->at_s = before && sl_str_eq(before->status, c->status) ? before->at_s : now_s;
	*ret_at_s = since->at_s;
	return sl_map_put(&next->since, key, since, NULL);
}

/* ---- building ---- */

struct update {
	const struct state *old;
	struct state *next;
	int64_t now_s;
};

static int add_condition(const struct update *u, json_t *conditions, const struct sl_object *route,
			 struct sl_str parent, const struct sl_condition *c)
{
	json_t *j = json_object();
	int64_t at_s;
	int r = json_array_append_new(conditions, j) ? -ENOMEM : 0; /* takes j, also on failure */

	if (!r)
		r = remember(u->old, u->next, parent, c, u->now_s, &at_s);
	if (!r)
		r = set_text(j, "type", c->type);
	if (!r)
		r = set_text(j, "status", c->status);
	if (!r)
		r = set_text(j, "reason", c->reason);
	if (!r)
		r = set_text(j, "message", c->message);
	if (!r && route->meta.generation)
		r = set_number(j, "observedGeneration", route->meta.generation);
	return r ? r : set_time(j, "lastTransitionTime", at_s);
}

static int add_parent(const struct update *u, json_t *parents, const struct sl_object *route,
		      const struct sl_parent_status *p)
{
	const struct sl_parent_ref *ref = p->ref;
	json_t *j = json_object(), *conditions = json_array();
	struct sl_str key;
	int r = json_array_append_new(parents, j) ? -ENOMEM : 0;

	if (r || json_object_set_new(j, "parentRef", parent_ref_json(ref)) ||
	    set_text(j, "controllerName", SL_STR(SL_CONTROLLER_NAME))) {
		json_decref(conditions);
		return -ENOMEM;
	}
	if (json_object_set_new(j, "conditions", conditions) ||
	    sl_arena_printf(&u->next->arena, &key, "%s %.*s %.*s/%.*s/%.*s/%.*s:%u/%.*s",
			    sl_kind_name(route->kind), SL_STR_ARG(route->key),
			    SL_STR_ARG(ref->group), SL_STR_ARG(ref->kind),
			    SL_STR_ARG(ref->namespace), SL_STR_ARG(ref->name), ref->port,
			    SL_STR_ARG(ref->section_name)))
		return -ENOMEM;
	for (uint32_t i = 0; i < p->n_conditions; i++) {
		r = add_condition(u, conditions, route, key, &p->conditions[i]);
		if (r)
			return r;
	}
	return 0;
}

static int add_route(const struct update *u, json_t *routes, const struct sl_route_status *rs)
{
	const struct sl_meta *meta = &rs->route->meta;
	json_t *j = json_object(), *parents;
	int r = json_array_append_new(routes, j) ? -ENOMEM : 0;

	if (!r)
		r = set_text(j, "kind", sl_str_from(sl_kind_name(rs->route->kind)));
	if (!r)
		r = set_text(j, "namespace", meta->namespace);
	if (!r)
		r = set_text(j, "name", meta->name);
	if (!r && meta->file.len)
		r = set_text(j, "file", meta->file);
	if (!r && meta->file.len && meta->line)
		r = set_number(j, "line", meta->line);
	if (r)
		return r;
	parents = json_array();
	if (json_object_set_new(j, "parents", parents))
		return -ENOMEM;
	for (uint32_t i = 0; i < rs->n_parents && !r; i++)
		r = add_parent(u, parents, rs->route, &rs->parents[i]);
	return r;
}

int sl_status_update(struct sl_status *s, const struct sl_compile_report *report, int64_t now_s)
{
	struct state next;
	struct update u = {.old = &s->state, .next = &next, .now_s = now_s};
	int r = state_init(&next);

	for (uint32_t i = 0; i < report->n_routes && !r; i++)
		r = add_route(&u, json_object_get(next.root, "routes"), &report->routes[i]);
	if (r) {
		state_deinit(&next);
		return r;
	}
	if (!json_equal(s->state.root, next.root))
		s->unwritten = true;
	state_deinit(&s->state);
	s->state = next;
	return 0;
}

int sl_status_json(const struct sl_status *s, json_t **ret)
{
	json_t *copy = json_deep_copy(s->state.root);

	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

/* ---- file ---- */

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
	}
	return 0;
}

/* A new file at path. No fsync: after a crash the agent writes it anew. */
static int write_file(const char *path, const char *text)
{
	_cleanup_(sl_closep) int fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, text, strlen(text));
	return r ? r : write_all(fd, "\n", 1);
}

int sl_status_write(struct sl_status *s, const char *path)
{
	_cleanup_(sl_freep) char *temporary = NULL;
	_cleanup_(sl_freep) char *text = NULL;
	int r;

	if (!s->unwritten)
		return 0;
	temporary = sl_asprintf("%s.tmp", path);
	text = json_dumps(s->state.root, JSON_INDENT(2));
	if (!temporary || !text)
		return -ENOMEM;
	r = write_file(temporary, text);
	if (!r && rename(temporary, path))
		r = -errno;
	if (r)
		(void)unlink(temporary); /* may not be there */
	else
		s->unwritten = false;
	return r;
}
