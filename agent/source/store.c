/* SPDX-License-Identifier: Apache-2.0 */
#include "source/store.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "source/scan.h"

int sl_store_init(struct sl_store *s, const char *root)
{
	*s = (struct sl_store){.root = sl_strdup(root)};
	return s->root ? 0 : -ENOMEM;
}

void sl_store_deinit(struct sl_store *s)
{
	struct sl_file *f;
	size_t pos = 0;

	while ((f = sl_map_next(&s->files, &pos, NULL)))
		sl_file_free(f);
	sl_map_deinit(&s->files);
	sl_model_free(s->model);
	sl_diags_deinit(&s->diags);
	sl_diags_deinit(&s->problems);
	free(s->root);
	*s = (struct sl_store){0};
}

int sl_store_file(struct sl_store *s, struct sl_str path, struct sl_file **ret)
{
	struct sl_file *f = sl_map_get(&s->files, path);
	int r;

	if (!f) {
		r = sl_file_new(path, &f);
		if (r)
			return r;
		r = sl_map_put(&s->files, f->path, f, NULL);
		if (r) {
			sl_file_free(f);
			return r;
		}
	}
	*ret = f;
	return 0;
}

/* ---- scan ---- */

static void add_problem(struct sl_store *s, enum sl_severity severity, const char *rel,
			const char *message)
{
	struct sl_diag diag = {.severity = severity, .file = sl_str_from(rel)};

	sl_diags_add(&s->problems, &diag, "%s", message);
	s->problems_hash = s->problems_hash * 31 + sl_str_hash(sl_str_from(rel)) +
			   sl_str_hash(sl_str_from(message));
}

static void on_problem(void *arg, const char *rel, const char *message)
{
	struct sl_store *s = arg;
	char text[256];

	s->incomplete = true;
	(void)snprintf(text, sizeof(text), "%s; what was read there before stays in force",
		       message);
	add_problem(s, SL_SEVERITY_ERROR, rel, text);
}

static int on_folder(void *arg, const char *rel, const char *path)
{
	struct sl_store *s = arg;
	char text[256];
	int r = s->on_folder ? s->on_folder(s->arg, rel, path) : 0;

	if (r == -ENOMEM)
		return r;
	if (r && r != -ENOENT && r != -ENOTDIR) {
		(void)snprintf(text, sizeof(text),
			       "cannot be watched, it is looked at from time to time: %s",
			       sl_strerror(r));
		add_problem(s, SL_SEVERITY_WARNING, rel, text);
		s->retry_ns = s->now_ns + SL_NS_PER_S;
	}
	return 0;
}

static bool is_being_written(struct sl_store *s, const struct sl_file *f)
{
	uint64_t until = f->writing_ns + SL_STORE_PATIENCE_NS;

	if (!f->writing_ns || s->force || s->now_ns >= until)
		return false;
	if (!s->retry_ns || until < s->retry_ns)
		s->retry_ns = until;
	return true;
}

static int on_file(void *arg, const char *rel, const char *path)
{
	struct sl_store *s = arg;
	struct sl_file *f;
	int r = sl_store_file(s, sl_str_from(rel), &f);

	if (r)
		return r;
	f->seen = true;
	if (is_being_written(s, f))
		return 0;
	f->writing_ns = 0;
	f->force |= s->force;
	r = sl_file_load(f, path);
	if (r == 0)
		s->dirty = true;
	return r < 0 ? r : 0;
}

static void drop_unseen(struct sl_store *s)
{
	struct sl_file *f;
	struct sl_str path;
	size_t pos = 0;

	while ((f = sl_map_next(&s->files, &pos, &path))) {
		if (f->seen)
			continue;
		sl_map_del(&s->files, path);
		s->dirty |= f->content.n || f->content.diags.n || f->content.n_documents;
		sl_file_free(f);
	}
}

static int scan(struct sl_store *s)
{
	const struct sl_scan_sink sink = {
		.arg = s, .on_folder = on_folder, .on_file = on_file, .on_problem = on_problem};
	uint64_t hash_before = s->problems_hash;
	struct sl_file *f;
	size_t pos = 0;
	int r;

	sl_diags_deinit(&s->problems);
	s->problems_hash = 0;
	s->incomplete = false;
	s->retry_ns = 0;
	while ((f = sl_map_next(&s->files, &pos, NULL)))
		f->seen = false;
	r = sl_scan(s->root, &sink);
	if (r == -ENOMEM || (r && !s->model))
		return r;
	if (r) {
		on_problem(s, "", sl_strerror(r));
		s->retry_ns = s->now_ns + SL_NS_PER_S;
	}
	if (!s->incomplete)
		drop_unseen(s);
	if (s->problems_hash != hash_before)
		s->dirty = true;
	return 0;
}

/* ---- assembly ---- */

/* What is being put together. */
struct assembly {
	struct sl_file **files; /* sorted by path */
	size_t n;
	struct sl_model *model;
	struct sl_diags diags;
	size_t n_documents;
};

static int compare_files(const void *a, const void *b)
{
	return sl_str_cmp((*(struct sl_file *const *)a)->path, (*(struct sl_file *const *)b)->path);
}

static int sort_files(const struct sl_store *s, struct assembly *as)
{
	struct sl_file *f;
	size_t pos = 0;

	as->files = sl_new_n(struct sl_file *, s->files.n + 1);
	if (!as->files)
		return -ENOMEM;
	while ((f = sl_map_next(&s->files, &pos, NULL)))
		as->files[as->n++] = f;
	qsort(as->files, as->n, sizeof(struct sl_file *), compare_files);
	return 0;
}

static void report_twice(struct assembly *as, const struct sl_file *f,
			 const struct sl_object *second, const struct sl_object *first)
{
	char label[SL_OBJECT_LABEL];
	struct sl_diag diag = {
		.severity = SL_SEVERITY_ERROR,
		.file = f->path,
		.line = second->meta.line,
		.object = sl_str_from(sl_object_label(second, label)),
	};

	sl_diags_add(&as->diags, &diag,
		     "described before in %.*s line %u, which counts; this one is ignored",
		     SL_STR_ARG(first->meta.file), (unsigned)first->meta.line);
}

static int put_objects(struct assembly *as, const struct sl_file *f)
{
	for (size_t i = 0; i < f->content.n; i++) {
		struct sl_object *o = f->content.objects[i].object;
		struct sl_object *first;
		int r;

		if (!o)
			continue;
		first = sl_model_get(as->model, o->kind, o->meta.namespace, o->meta.name);
		if (first && first != o) {
			report_twice(as, f, o, first);
			continue;
		}
		r = sl_model_put(as->model, o);
		if (r)
			return r;
	}
	return 0;
}

/* The object that was in force under a "kind/namespace/name", wherever it came from. */
static struct sl_object *find_by_key(const struct sl_model *m, struct sl_str key)
{
	for (int kind = 0; kind < SL_N_KINDS; kind++) {
		struct sl_str name = sl_str_from(sl_kind_name((enum sl_kind)kind));

		if (sl_str_starts(key, name) && key.len > name.len && key.ptr[name.len] == '/')
			return sl_map_get(&m->by_kind[kind], sl_str_skip(key, name.len + 1));
	}
	return NULL;
}

/* An object that moved to another file and broke on the way goes on as it was. */
static int put_orphans(struct assembly *as, const struct sl_file *f, const struct sl_model *before)
{
	for (size_t i = 0; before && i < f->content.n; i++) {
		const struct sl_file_object *fo = &f->content.objects[i];
		struct sl_object *o = fo->object ? NULL : find_by_key(before, fo->key);
		int r;

		if (!o || find_by_key(as->model, fo->key))
			continue;
		r = sl_model_put(as->model, o);
		if (r)
			return r;
	}
	return 0;
}

static void copy_diags(struct sl_diags *to, const struct sl_diags *from)
{
	size_t before = to->n_errors;

	for (size_t i = 0; i < from->n; i++)
		sl_diags_add(to, &from->items[i], "%.*s", SL_STR_ARG(from->items[i].message));
	to->n_dropped += from->n_dropped;
	to->n_errors = before + from->n_errors; /* with those that were dropped */
}

/* Within one line in the order in which they were found: items of one list keep their order in
 * memory. */
static int compare_diags(const void *a, const void *b)
{
	const struct sl_diag *x = a, *y = b;
	int r = sl_str_cmp(x->file, y->file);

	if (r)
		return r;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	r = sl_str_cmp(x->object, y->object);
	return r ? r : sl_str_cmp(x->field, y->field);
}

static int build(struct sl_store *s, struct assembly *as)
{
	int r = sl_model_new(&as->model);

	if (!r)
		r = sort_files(s, as);
	for (size_t i = 0; i < as->n && !r; i++) {
		copy_diags(&as->diags, &as->files[i]->content.diags);
		as->n_documents += as->files[i]->content.n_documents;
		r = put_objects(as, as->files[i]);
	}
	for (size_t i = 0; i < as->n && !r; i++)
		r = put_orphans(as, as->files[i], s->model);
	copy_diags(&as->diags, &s->problems);
	if (!r && as->diags.n)
		qsort(as->diags.items, as->diags.n, sizeof(struct sl_diag), compare_diags);
	return r;
}

static int assemble(struct sl_store *s)
{
	struct assembly as = {0};
	int r = build(s, &as);

	if (r) {
		sl_model_free(as.model);
		sl_diags_deinit(&as.diags);
		free(as.files);
		return r;
	}
	as.model->generation = ++s->generation;
	sl_model_free(s->model);
	s->model = as.model;
	sl_diags_deinit(&s->diags);
	s->diags = as.diags;
	s->report = (struct sl_folder_report){
		.diags = &s->diags, .n_files = as.n, .n_documents = as.n_documents};
	s->dirty = false;
	free(as.files);
	return 0;
}

int sl_store_load(struct sl_store *s, bool force, uint64_t now_ns)
{
	int r;

	s->force = force;
	s->now_ns = now_ns;
	r = scan(s);
	if (r)
		return r;
	if (s->model && !s->dirty)
		return SL_STORE_SAME;
	return assemble(s);
}
