/* SPDX-License-Identifier: Apache-2.0 */
#include "source/file.h"

#include <errno.h>
#include <fcntl.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include "resource/decode.h"
#include "source/yaml.h"

/* ---- content ---- */

static void content_deinit(struct sl_file_content *c)
{
	for (size_t i = 0; i < c->n; i++)
		sl_object_unref(c->objects[i].object);
	free(c->objects);
	sl_arena_deinit(&c->arena);
	sl_diags_deinit(&c->diags);
	*c = (struct sl_file_content){0};
}

/* Takes its own reference; object may be NULL. */
static int content_add(struct sl_file_content *c, struct sl_str key, struct sl_object *object)
{
	struct sl_file_object *o;

	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 8;

		o = sl_reallocarray(c->objects, cap, sizeof(*o));
		if (!o)
			return -ENOMEM;
		c->objects = o;
		c->cap = cap;
	}
	o = &c->objects[c->n];
	if (sl_arena_str(&c->arena, key, &o->key))
		return -ENOMEM;
	o->object = object ? sl_object_ref(object) : NULL;
	c->n++;
	return 0;
}

/* What the file says of each key; of two, the first. */
static int content_index(const struct sl_file_content *c, struct sl_map *ret)
{
	for (size_t i = c->n; i > 0; i--) {
		struct sl_file_object *o = &c->objects[i - 1];
		int r = sl_map_put(ret, o->key, o, NULL);

		if (r)
			return r;
	}
	return 0;
}

/* All objects of from that are not in c. */
static int content_keep_missing(struct sl_file_content *c, const struct sl_file_content *from)
{
	struct sl_map have = SL_MAP_INIT;
	int r = content_index(c, &have);

	/* Adding moves the objects, but not the keys: what is in the map is only asked for. */
	for (size_t i = 0; i < from->n && !r; i++) {
		if (!sl_map_get(&have, from->objects[i].key))
			r = content_add(c, from->objects[i].key, from->objects[i].object);
	}
	sl_map_deinit(&have);
	return r;
}

/* ---- decoding ---- */

/* One reading of a file on its way into content. */
struct reading {
	const struct sl_file *file;
	struct sl_file_content content;
	struct sl_decode_opts opts;
	bool nameless;	    /* an invalid object cannot be told from others */
	bool indexed;	    /* last is filled in, which most readings do not need */
	struct sl_map last; /* the file's content so far, by key */
};

static int keep_last(struct reading *rd, struct sl_str key, uint32_t line)
{
	const struct sl_file_object *last;
	struct sl_diag diag = {
		.severity = SL_SEVERITY_WARNING,
		.file = rd->file->path,
		.line = line,
	};
	char label[SL_OBJECT_LABEL];

	if (!rd->indexed && content_index(&rd->file->content, &rd->last))
		return -ENOMEM;
	rd->indexed = true;
	last = sl_map_get(&rd->last, key);
	if (last && last->object) {
		diag.object = sl_str_from(sl_object_label(last->object, label));
		sl_diags_add(&rd->content.diags, &diag,
			     "the last valid version of the object stays in force");
	}
	return content_add(&rd->content, key, last ? last->object : NULL);
}

static int read_object(struct reading *rd, json_t *root)
{
	_cleanup_(sl_object_unrefp) struct sl_object *object = NULL;
	struct sl_str key;
	int r = sl_decode_object(root, &rd->opts, &rd->content.diags, &object, &key);

	rd->content.n_documents++;
	if (r == 0)
		return content_add(&rd->content, key, object);
	if (r == SL_DECODE_INVALID) {
		if (key.len)
			return keep_last(rd, key, rd->opts.line_of(rd->opts.line_arg, root));
		rd->nameless = true;
	}
	return r < 0 ? r : 0;
}

static bool is_text(json_t *root, const char *key, const char *text)
{
	const char *value = json_string_value(json_object_get(root, key));

	return value && strcmp(value, text) == 0;
}

/*
 * What the items of a list are, unless they say it: "" for what kubectl prints, NULL when root is
 * no list. The API server's own answers have kinds like ServiceList.
 */
static const char *list_kind(json_t *root, size_t *ret_len)
{
	const char *kind = json_string_value(json_object_get(root, "kind"));
	size_t len = kind ? strlen(kind) : 0;

	if (len < 4 || strcmp(kind + len - 4, "List") != 0 ||
	    !json_is_array(json_object_get(root, "items")))
		return NULL;
	*ret_len = len - 4;
	if (*ret_len == 0)
		return is_text(root, "apiVersion", "v1") ? kind : NULL;
	/* An object has a name, a list has none. */
	if (json_object_get(json_object_get(root, "metadata"), "name") ||
	    !json_is_string(json_object_get(root, "apiVersion")))
		return NULL;
	return kind;
}

static int name_item(json_t *item, json_t *list, const char *kind, size_t len)
{
	if (!json_is_object(item) || len == 0)
		return 0;
	if (!json_object_get(item, "kind") &&
	    json_object_set_new_nocheck(item, "kind", json_stringn_nocheck(kind, len)))
		return -ENOMEM;
	if (!json_object_get(item, "apiVersion") &&
	    json_object_set_nocheck(item, "apiVersion", json_object_get(list, "apiVersion")))
		return -ENOMEM;
	return 0;
}

static int read_document(struct reading *rd, json_t *root)
{
	const char *kind;
	json_t *item;
	size_t i, len;
	int r;

	kind = list_kind(root, &len);
	if (!kind)
		return read_object(rd, root);
	json_array_foreach (json_object_get(root, "items"), i, item) {
		r = name_item(item, root, kind, len);
		if (!r)
			r = read_object(rd, item);
		if (r)
			return r;
	}
	return 0;
}

/* Returns 0, SL_YAML_BAD with *err, -ENOMEM. */
static int read_documents(struct reading *rd, struct sl_yaml *yaml, struct sl_yaml_error *err)
{
	for (;;) {
		_cleanup_(sl_yaml_doc_freep) struct sl_yaml_doc *doc = NULL;
		int r = sl_yaml_next(yaml, &doc, err);

		if (r)
			return r == SL_YAML_END ? 0 : r;
		rd->opts.line_arg = doc;
		r = read_document(rd, sl_yaml_doc_root(doc));
		if (r)
			return r;
	}
}

/* The text is useless: report that, and go on with what there was. */
static int keep_all(struct sl_file *f, uint32_t line, const char *message)
{
	struct sl_diags diags = SL_DIAGS_INIT;
	struct sl_diag diag = {.severity = SL_SEVERITY_ERROR, .file = f->path, .line = line};

	sl_diags_add(&diags, &diag, "%s", message);
	if (f->content.n) {
		diag.severity = SL_SEVERITY_WARNING;
		sl_diags_add(&diags, &diag,
			     "the %zu objects that this file gave before stay in force",
			     f->content.n);
	}
	sl_diags_deinit(&f->content.diags);
	f->content.diags = diags;
	return 0;
}

int sl_file_parse(struct sl_file *f, struct sl_str text)
{
	_cleanup_(sl_yaml_freep) struct sl_yaml *yaml = NULL;
	struct reading rd = {
		.file = f,
		.opts = {.file = f->path, .line_of = sl_yaml_doc_line},
	};
	struct sl_yaml_error err;
	int r = sl_yaml_new(text, &yaml);

	if (r)
		return r;
	r = read_documents(&rd, yaml, &err);
	sl_map_deinit(&rd.last);
	/* Somebody broke an object so badly that it cannot be told which one: it must not vanish.
	 */
	if (r == 0 && rd.nameless)
		r = content_keep_missing(&rd.content, &f->content);
	if (r) {
		content_deinit(&rd.content);
		return r == SL_YAML_BAD ? keep_all(f, err.line, err.message) : r;
	}
	content_deinit(&f->content);
	f->content = rd.content;
	return 0;
}

/* ---- reading ---- */

static int read_all(int fd, struct sl_buf *buf)
{
	for (;;) {
		ssize_t n;
		int r = sl_buf_reserve(buf, 65536);

		if (r)
			return r == -ENOBUFS ? -EFBIG : r;
		n = read(fd, sl_buf_tail(buf), sl_buf_room(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		sl_buf_commit(buf, (size_t)n);
		if (sl_buf_len(buf) > SL_FILE_LIMIT_BYTES)
			return -EFBIG;
	}
}

/* O_NONBLOCK: a FIFO of that name must not hold up the agent. */
static int open_regular(const char *path, struct stat *ret)
{
	_cleanup_(sl_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 || fstat(fd, ret))
		return -errno;
	if (!S_ISREG(ret->st_mode))
		return -EINVAL;
	return sl_take_fd(&fd);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_nlink && a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* It cannot be read now; the next scan tries again. */
static int keep_unread(struct sl_file *f, int err)
{
	char message[96];

	if (f->read_error == err)
		return SL_FILE_SAME;
	f->read_error = err;
	f->stat = (struct stat){0};
	f->has_text = false;
	if (err == -EFBIG)
		(void)snprintf(message, sizeof(message), "the file is larger than %d MiB",
			       SL_FILE_LIMIT_BYTES >> 20);
	else
		(void)snprintf(message, sizeof(message), "cannot be read: %s", sl_strerror(err));
	return keep_all(f, 0, message);
}

int sl_file_load(struct sl_file *f, const char *full_path)
{
	struct sl_buf buf = SL_BUF_INIT(SL_FILE_LIMIT_BYTES + 65536 * 2);
	_cleanup_(sl_closep) int fd = -1;
	struct stat st = {0};
	uint64_t hash;
	int r = 0;

	/* Mostly it is, and opening it costs more. */
	if (!f->force && !stat(full_path, &st) && is_same(&f->stat, &st))
		return SL_FILE_SAME;
	fd = open_regular(full_path, &st);
	if (fd == -ENOENT)
		return SL_FILE_SAME; /* gone since the scan: the next one is under way */
	if (fd < 0)
		return keep_unread(f, fd);
	if (!f->force && is_same(&f->stat, &st))
		return SL_FILE_SAME;
	r = read_all(fd, &buf);
	if (r && r != -ENOMEM)
		r = keep_unread(f, r);
	else if (r == 0) {
		hash = sl_str_hash(sl_buf_str(&buf));
		if (f->has_text && f->hash == hash)
			r = SL_FILE_SAME;
		else
			r = sl_file_parse(f, sl_buf_str(&buf));
		if (r >= 0) {
			f->read_error = 0;
			f->stat = st;
			f->hash = hash;
			f->has_text = true;
			f->force = false;
		}
	}
	sl_buf_deinit(&buf);
	return r;
}

int sl_file_new(struct sl_str path, struct sl_file **ret)
{
	struct sl_file *f = sl_new(struct sl_file);
	char *copy = sl_malloc(path.len + 1);

	if (!f || !copy) {
		free(f);
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, path.ptr, path.len);
	copy[path.len] = '\0';
	f->path = (struct sl_str){copy, path.len};
	sl_list_init(&f->touched);
	sl_list_init(&f->troubled);
	*ret = f;
	return 0;
}

struct sl_file *sl_file_free(struct sl_file *f)
{
	if (!f)
		return NULL;
	sl_list_remove(&f->touched);
	sl_list_remove(&f->troubled);
	content_deinit(&f->content);
	free((char *)f->path.ptr);
	free(f);
	return NULL;
}
