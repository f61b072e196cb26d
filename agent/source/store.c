/* SPDX-License-Identifier: Apache-2.0 */
#include "source/store.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "source/scan.h"

int sl_store_init(struct sl_store *s, const char *root)
{
	*s = (struct sl_store){.root = sl_strdup(root), .rescan = true};
	sl_index_init(&s->index);
	sl_list_init(&s->touched);
	sl_list_init(&s->troubled);
	return s->root ? 0 : -ENOMEM;
}

void sl_store_deinit(struct sl_store *s)
{
	struct sl_file *f;
	size_t pos = 0;

	while ((f = sl_map_next(&s->files, &pos, NULL))) {
		sl_index_forget(&s->index, f);
		sl_file_free(f);
	}
	sl_map_deinit(&s->files);
	sl_index_deinit(&s->index);
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

void sl_store_touch(struct sl_store *s, struct sl_file *f)
{
	if (sl_list_empty(&f->touched))
		sl_list_append(&s->touched, &f->touched);
}

/* ---- files ---- */

static bool is_being_written(struct sl_store *s, const struct sl_file *f)
{
	uint64_t until = f->writing_ns + SL_STORE_PATIENCE_NS;

	if (!f->writing_ns || s->force || s->now_ns >= until)
		return false;
	if (!s->retry_ns || until < s->retry_ns)
		s->retry_ns = until;
	return true;
}

static void count(struct sl_store *s, struct sl_file *f, size_t n_documents)
{
	s->n_documents += n_documents - f->n_counted;
	f->n_counted = n_documents;
}

/* Read it if it changed. Returns 0 or -ENOMEM. */
static int load_file(struct sl_store *s, struct sl_file *f, const char *path)
{
	int r;

	f->writing_ns = 0;
	f->force |= s->force;
	r = sl_file_load(f, path);
	if (r < 0)
		return r;
	f->unindexed |= r == 0;
	if (f->unindexed) {
		s->dirty = true;
		r = sl_index_file(&s->index, f);
		if (r)
			return r;
		f->unindexed = false;
		count(s, f, f->content.n_documents);
		sl_list_remove(&f->troubled);
		if (f->content.diags.n || f->content.diags.n_dropped)
			sl_list_append(&s->troubled, &f->troubled);
	}
	sl_list_remove(&f->touched);
	return 0;
}

static void drop_file(struct sl_store *s, struct sl_file *f)
{
	s->dirty |= f->content.n || f->content.diags.n || f->content.n_documents;
	sl_index_forget(&s->index, f);
	count(s, f, 0);
	(void)sl_map_del(&s->files, f->path); /* it is there */
	sl_file_free(f);
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
		s->unwatched = true;
	}
	return 0;
}

static int on_file(void *arg, const char *rel, const char *path)
{
	struct sl_store *s = arg;
	struct sl_file *f;
	int r = sl_store_file(s, sl_str_from(rel), &f);

	if (r)
		return r;
	f->seen = true;
	return is_being_written(s, f) ? 0 : load_file(s, f, path);
}

static void on_link(void *arg)
{
	struct sl_store *s = arg;

	s->has_links = true;
}

static void drop_unseen(struct sl_store *s)
{
	struct sl_file *f;
	size_t pos = 0;

	while ((f = sl_map_next(&s->files, &pos, NULL))) {
		if (!f->seen)
			drop_file(s, f);
	}
}

static int scan(struct sl_store *s)
{
	const struct sl_scan_sink sink = {.arg = s,
					  .on_folder = on_folder,
					  .on_file = on_file,
					  .on_link = on_link,
					  .on_problem = on_problem};
	uint64_t hash_before = s->problems_hash;
	struct sl_file *f;
	size_t pos = 0;
	int r;

	sl_diags_deinit(&s->problems);
	s->problems_hash = 0;
	s->incomplete = s->has_links = s->unwatched = false;
	s->rescan = true; /* until this one went well */
	s->scanned = true;
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
	s->rescan = s->incomplete || s->unwatched;
	if (s->problems_hash != hash_before)
		s->dirty = true;
	return 0;
}

/* ---- model and diags ---- */

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

static void collect_diags(struct sl_store *s, struct sl_diags *out)
{
	sl_list_foreach (it, &s->troubled)
		copy_diags(out, &sl_container_of(it, struct sl_file, troubled)->content.diags);
	sl_index_report(&s->index, out);
	copy_diags(out, &s->problems);
	if (out->n)
		qsort(out->items, out->n, sizeof(struct sl_diag), compare_diags);
}

static int settle(struct sl_store *s)
{
	_cleanup_(sl_model_freep) struct sl_model *fresh = NULL;
	int r = s->model ? 0 : sl_model_new(&fresh);

	if (!r)
		r = sl_index_settle(&s->index, s->model ? s->model : fresh);
	if (r)
		return r;
	if (!s->model)
		s->model = sl_take(fresh);
	sl_diags_deinit(&s->diags);
	collect_diags(s, &s->diags);
	s->report = (struct sl_config_report){
		.diags = &s->diags, .n_files = s->files.n, .n_documents = s->n_documents};
	s->dirty = false;
	return 0;
}

/* ---- loading ---- */

enum { NOT_PLAIN = 1 };

/* Returns 0, NOT_PLAIN (a scan has to see to it), or -ENOMEM. */
static int load_touched(struct sl_store *s, struct sl_file *f)
{
	_cleanup_(sl_freep) char *path = sl_asprintf("%s/%.*s", s->root, SL_STR_ARG(f->path));
	struct stat st;

	if (!path)
		return -ENOMEM;
	if (lstat(path, &st)) {
		if (errno != ENOENT)
			return NOT_PLAIN;
		drop_file(s, f);
		return 0;
	}
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return NOT_PLAIN;
	return is_being_written(s, f) ? 0 : load_file(s, f, path);
}

static int load_all_touched(struct sl_store *s)
{
	s->scanned = false;
	sl_list_foreach_safe (it, &s->touched) {
		int r = load_touched(s, sl_container_of(it, struct sl_file, touched));

		if (r)
			return r;
	}
	return 0;
}

int sl_store_load(struct sl_store *s, bool force, uint64_t now_ns)
{
	int r = NOT_PLAIN;

	s->force = force;
	s->now_ns = now_ns;
	s->retry_ns = 0;
	if (!force && !s->rescan && !s->has_links && s->model)
		r = load_all_touched(s);
	if (r == NOT_PLAIN)
		r = scan(s);
	if (r)
		return r;
	if (s->model && !s->dirty)
		return SL_STORE_SAME;
	return settle(s);
}
