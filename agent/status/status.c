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

enum { ENTRY_BLOCK_BYTES = 1024, INDENT = 4 };

struct since {
	struct sl_str parent, type; /* of the condition; parent as made by parent_key() */
	struct sl_str status;
	int64_t at_s;
};

/* One route as it is shown; immutable. */
struct entry {
	struct sl_part part;
	struct sl_arena arena;
	struct sl_str key; /* "HTTPRoute/namespace/name" */
	struct sl_str namespace, name;
	json_t *json;
	char *text; /* of the status file */
	size_t text_len;
	struct since *since;
	uint32_t n_since;
};

struct sl_status {
	struct sl_pmap routes;	/* the last report's */
	struct sl_pmap entries; /* struct entry by key */
	bool unwritten;
	void (*fn)(void *arg, struct sl_str key);
	void *arg;
};

static void json_unrefp(json_t **j)
{
	json_decref(*j); /* accepts NULL */
}

static const struct entry *entry_of(const struct sl_part *p)
{
	return (const struct entry *)p; /* embedded first */
}

static void entry_free(struct sl_part *p)
{
	struct entry *e = (struct entry *)p;

	json_decref(e->json);
	free(e->text);
	sl_arena_deinit(&e->arena);
	free(e);
}

int sl_status_new(struct sl_status **ret)
{
	struct sl_status *s = sl_new(struct sl_status);

	if (!s)
		return -ENOMEM;
	s->unwritten = true;
	*ret = s;
	return 0;
}

struct sl_status *sl_status_free(struct sl_status *s)
{
	if (s) {
		sl_pmap_deinit(&s->routes);
		sl_pmap_deinit(&s->entries);
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

static int parent_key(struct sl_arena *a, const struct sl_parent_ref *ref, struct sl_str *ret)
{
	return sl_arena_printf(a, ret, "%.*s/%.*s/%.*s/%.*s:%u/%.*s", SL_STR_ARG(ref->group),
			       SL_STR_ARG(ref->kind), SL_STR_ARG(ref->namespace),
			       SL_STR_ARG(ref->name), ref->port, SL_STR_ARG(ref->section_name));
}

/* Since when the condition has its status: as before unless that changed. */
static int remember(const struct entry *old, struct entry *e, struct sl_str parent,
		    const struct sl_condition *c, int64_t now_s, int64_t *ret_at_s)
{
	struct since *since = &e->since[e->n_since];

	since->parent = parent;
	since->at_s = now_s;
	if (sl_arena_str(&e->arena, c->status, &since->status) ||
	    sl_arena_str(&e->arena, c->type, &since->type))
		return -ENOMEM;
	for (uint32_t i = 0; old && i < old->n_since; i++) {
		const struct since *before = &old->since[i];

		if (sl_str_eq(before->parent, parent) && sl_str_eq(before->type, since->type) &&
		    sl_str_eq(before->status, since->status))
			since->at_s = before->at_s;
	}
	e->n_since++;
	*ret_at_s = since->at_s;
	return 0;
}

/* ---- one route ---- */

struct rendering {
	const struct entry *old; /* NULL: new */
	struct entry *entry;
	const struct sl_object *route;
	int64_t now_s;
};

static int add_condition(const struct rendering *rd, json_t *conditions, struct sl_str parent,
			 const struct sl_condition *c)
{
	json_t *j = json_object();
	int64_t at_s;
	int r = json_array_append_new(conditions, j) ? -ENOMEM : 0; /* takes j, also on failure */

	if (!r)
		r = remember(rd->old, rd->entry, parent, c, rd->now_s, &at_s);
	if (!r)
		r = set_text(j, "type", c->type);
	if (!r)
		r = set_text(j, "status", c->status);
	if (!r)
		r = set_text(j, "reason", c->reason);
	if (!r)
		r = set_text(j, "message", c->message);
	if (!r && rd->route->meta.generation)
		r = set_number(j, "observedGeneration", rd->route->meta.generation);
	return r ? r : set_time(j, "lastTransitionTime", at_s);
}

static int add_parent(const struct rendering *rd, json_t *parents, const struct sl_parent_status *p)
{
	json_t *j = json_object(), *conditions = json_array();
	struct sl_str key;
	int r = json_array_append_new(parents, j) ? -ENOMEM : 0;

	if (r || json_object_set_new(j, "parentRef", parent_ref_json(p->ref)) ||
	    set_text(j, "controllerName", SL_STR(SL_CONTROLLER_NAME))) {
		json_decref(conditions);
		return -ENOMEM;
	}
	if (json_object_set_new(j, "conditions", conditions) ||
	    parent_key(&rd->entry->arena, p->ref, &key))
		return -ENOMEM;
	for (uint32_t i = 0; i < p->n_conditions; i++) {
		r = add_condition(rd, conditions, key, &p->conditions[i]);
		if (r)
			return r;
	}
	return 0;
}

static int render_json(const struct rendering *rd, const struct sl_route_status *rs)
{
	const struct sl_meta *meta = &rs->route->meta;
	json_t *j = json_object(), *parents;
	int r = 0;

	rd->entry->json = j;
	if (!j || set_text(j, "kind", sl_str_from(sl_kind_name(rs->route->kind))) ||
	    set_text(j, "namespace", meta->namespace) || set_text(j, "name", meta->name))
		return -ENOMEM;
	if (meta->file.len)
		r = set_text(j, "file", meta->file);
	if (!r && meta->file.len && meta->line)
		r = set_number(j, "line", meta->line);
	if (r)
		return r;
	parents = json_array();
	if (json_object_set_new(j, "parents", parents))
		return -ENOMEM;
	for (uint32_t i = 0; i < rs->n_parents && !r; i++)
		r = add_parent(rd, parents, &rs->parents[i]);
	return r;
}

/* Its lines in the file, which has the routes in a list in an object. */
static int render_text(struct entry *e)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	_cleanup_(sl_freep) char *plain = json_dumps(e->json, JSON_INDENT(2));

	if (!plain)
		return -ENOMEM;
	for (const char *line = plain; line;) {
		const char *end = strchr(line, '\n');
		size_t n = end ? (size_t)(end - line) + 1 : strlen(line);

		if (sl_buf_printf(&out, "%*s", INDENT, "") || sl_buf_append(&out, line, n))
			return -ENOMEM;
		line = end ? end + 1 : NULL;
	}
	e->text_len = sl_buf_len(&out);
	e->text = sl_malloc(e->text_len);
	if (!e->text)
		return -ENOMEM;
	memcpy(e->text, sl_buf_ptr(&out), e->text_len);
	return 0;
}

static uint32_t n_conditions(const struct sl_route_status *rs)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < rs->n_parents; i++)
		n += rs->parents[i].n_conditions;
	return n;
}

static int entry_fill(const struct entry *old, const struct sl_route_status *rs, int64_t now_s,
		      struct entry *e)
{
	const struct rendering rd = {old, e, rs->route, now_s};
	const struct sl_meta *meta = &rs->route->meta;
	int r;

	e->since = sl_arena_new_n(&e->arena, struct since, n_conditions(rs) + 1);
	if (!e->since || sl_arena_str(&e->arena, rs->key, &e->key) ||
	    sl_arena_str(&e->arena, meta->namespace, &e->namespace) ||
	    sl_arena_str(&e->arena, meta->name, &e->name))
		return -ENOMEM;
	r = render_json(&rd, rs);
	return r ? r : render_text(e);
}

/* ---- update ---- */

struct update {
	struct sl_pmap next; /* entries */
	int64_t now_s;
	bool changed;
};

static int update_route(void *arg, struct sl_str key, const struct sl_part *before,
			const struct sl_part *after)
{
	struct update *u = arg;
	const struct entry *old;
	struct entry *e;
	int r;

	if (!after) {
		u->changed = true;
		return sl_pmap_del(&u->next, key);
	}
	old = entry_of(sl_pmap_get(&u->next, key));
	e = sl_new(struct entry);
	if (!e)
		return -ENOMEM;
	sl_part_init(&e->part, entry_free);
	e->arena = SL_ARENA_INIT(ENTRY_BLOCK_BYTES);
	r = entry_fill(old, sl_route_status_of(after), u->now_s, e);
	u->changed |= !old || !json_equal(old->json, e->json);
	if (!r)
		r = sl_pmap_put(&u->next, e->key, &e->part);
	sl_part_unref(&e->part);
	return r;
}

static int tell(void *arg, struct sl_str key, const struct sl_part *before,
		const struct sl_part *after)
{
	const struct sl_status *s = arg;

	s->fn(s->arg, key);
	return 0;
}

void sl_status_watch(struct sl_status *s, void (*fn)(void *arg, struct sl_str key), void *arg)
{
	s->fn = fn;
	s->arg = arg;
}

const json_t *sl_status_parents(const struct sl_status *s, struct sl_str key)
{
	const struct entry *e = entry_of(sl_pmap_get(&s->entries, key));

	return e ? json_object_get(e->json, "parents") : NULL;
}

int sl_status_update(struct sl_status *s, const struct sl_compile_report *report, int64_t now_s)
{
	struct update u = {.next = sl_pmap_copy(&s->entries), .now_s = now_s};
	struct sl_pmap before;
	int r = sl_pmap_diff(&s->routes, &report->routes, update_route, &u);

	if (r) {
		sl_pmap_deinit(&u.next);
		return r;
	}
	sl_pmap_deinit(&s->entries);
	s->entries = u.next;
	before = s->routes;
	s->routes = sl_pmap_copy(&report->routes);
	s->unwritten |= u.changed;
	if (s->fn)
		(void)sl_pmap_diff(&before, &s->routes, tell, s); /* as tell() does */
	sl_pmap_deinit(&before);
	return 0;
}

/* ---- all of them ---- */

static int entry_cmp(const void *a, const void *b)
{
	const struct entry *x = *(const struct entry *const *)a;
	const struct entry *y = *(const struct entry *const *)b;
	int order = sl_str_cmp(x->namespace, y->namespace);

	return order ? order : sl_str_cmp(x->name, y->name);
}

/* Sorted by namespace and name: a new array (free()). */
static int list_entries(const struct sl_status *s, const struct entry ***ret)
{
	const struct entry **list = sl_new_n(const struct entry *, s->entries.n);
	struct sl_pmap_iter it = sl_pmap_iterate(&s->entries);
	const struct sl_part *p;
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	while ((p = sl_pmap_next(&it, NULL)))
		list[n++] = entry_of(p);
	qsort(list, n, sizeof(*list), entry_cmp);
	*ret = list;
	return 0;
}

int sl_status_json(const struct sl_status *s, json_t **ret)
{
	_cleanup_(sl_freep) const struct entry **list = NULL;
	_cleanup_(json_unrefp) json_t *root = json_pack("{s:[]}", "routes");
	int r = list_entries(s, &list);

	if (r || !root)
		return -ENOMEM;
	for (size_t i = 0; i < s->entries.n; i++) {
		if (json_array_append_new(json_object_get(root, "routes"),
					  json_deep_copy(list[i]->json)))
			return -ENOMEM;
	}
	*ret = sl_take(root);
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
static int write_file(const char *path, struct sl_str text)
{
	_cleanup_(sl_closep) int fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : write_all(fd, text.ptr, text.len);
}

static int render_file(const struct sl_status *s, struct sl_buf *out)
{
	_cleanup_(sl_freep) const struct entry **list = NULL;
	int r = list_entries(s, &list);

	if (!r)
		r = sl_buf_printf(out, "{\n  \"routes\": [");
	for (size_t i = 0; i < s->entries.n && !r; i++) {
		r = sl_buf_append_str(out, i ? SL_STR(",\n") : SL_STR("\n"));
		if (!r)
			r = sl_buf_append(out, list[i]->text, list[i]->text_len);
	}
	return r ? r
		 : sl_buf_append_str(out, s->entries.n ? SL_STR("\n  ]\n}\n") : SL_STR("]\n}\n"));
}

int sl_status_write(struct sl_status *s, const char *path)
{
	_cleanup_(sl_buf_deinit) struct sl_buf text = SL_BUF_INIT(0);
	_cleanup_(sl_freep) char *temporary = NULL;
	int r;

	if (!s->unwritten)
		return 0;
	temporary = sl_asprintf("%s.tmp", path);
	if (!temporary)
		return -ENOMEM;
	r = render_file(s, &text);
	if (!r)
		r = write_file(temporary, sl_buf_str(&text));
	if (!r && rename(temporary, path))
		r = -errno;
	if (r)
		(void)unlink(temporary); /* may not be there */
	else
		s->unwritten = false;
	return r;
}
