/* SPDX-License-Identifier: Apache-2.0 */
#include "source/index.h"

#include <errno.h>
#include "base/alloc.h"

struct described {
	struct sl_list changed, conflict; /* in the index's lists */
	struct sl_list entries;		  /* by file name, then as in the file */
	struct sl_str key;		  /* the bytes follow the struct */
};

struct sl_index_entry {
	struct sl_list node; /* of at->entries */
	struct described *at;
	const struct sl_file *file;
	size_t order;		  /* in the file */
	struct sl_object *object; /* a reference; NULL: invalid */
};

void sl_index_init(struct sl_index *ix)
{
	*ix = (struct sl_index){0};
	sl_list_init(&ix->changed);
	sl_list_init(&ix->conflicts);
}

void sl_index_deinit(struct sl_index *ix)
{
	struct described *d;
	size_t pos = 0;

	while ((d = sl_map_next(&ix->objects, &pos, NULL)))
		free(d);
	sl_map_deinit(&ix->objects);
	sl_index_init(ix);
}

static int described_get(struct sl_index *ix, struct sl_str key, struct described **ret)
{
	struct described *d = sl_map_get(&ix->objects, key);
	int r;

	if (!d) {
		d = sl_malloc(sizeof(*d) + key.len);
		if (!d)
			return -ENOMEM;
		sl_list_init(&d->changed);
		sl_list_init(&d->conflict);
		sl_list_init(&d->entries);
		memcpy(d + 1, key.ptr, key.len);
		d->key = (struct sl_str){(const char *)(d + 1), key.len};
		r = sl_map_put(&ix->objects, d->key, d, NULL);
		if (r) {
			free(d);
			return r;
		}
	}
	*ret = d;
	return 0;
}

static void touch(struct sl_index *ix, struct described *d)
{
	bool several = d->entries.next != d->entries.prev;

	if (sl_list_empty(&d->changed))
		sl_list_append(&ix->changed, &d->changed);
	if (!several)
		sl_list_remove(&d->conflict);
	else if (sl_list_empty(&d->conflict))
		sl_list_append(&ix->conflicts, &d->conflict);
}

static bool precedes(const struct sl_index_entry *a, const struct sl_index_entry *b)
{
	int order = a->file == b->file ? 0 : sl_str_cmp(a->file->path, b->file->path);

	return order ? order < 0 : a->order < b->order;
}

static void entry_insert(struct sl_index *ix, struct sl_index_entry *e)
{
	struct sl_list *at = e->at->entries.next;

	while (at != &e->at->entries &&
	       precedes(sl_container_of(at, struct sl_index_entry, node), e))
		at = at->next;
	sl_list_append(at, &e->node);
	touch(ix, e->at);
}

void sl_index_forget(struct sl_index *ix, struct sl_file *f)
{
	for (size_t i = 0; i < f->n_entries; i++) {
		sl_list_remove(&f->entries[i].node);
		touch(ix, f->entries[i].at);
		(void)sl_object_unref(f->entries[i].object); /* always NULL */
	}
	free(f->entries);
	f->entries = NULL;
	f->n_entries = 0;
}

int sl_index_file(struct sl_index *ix, struct sl_file *f)
{
	const struct sl_file_content *c = &f->content;
	struct sl_index_entry *entries = sl_new_n(struct sl_index_entry, c->n);

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++) {
		if (described_get(ix, c->objects[i].key, &entries[i].at)) {
			/* Those without entries go with the next settling. */
			for (size_t j = 0; j < i; j++)
				touch(ix, entries[j].at);
			free(entries);
			return -ENOMEM;
		}
	}
	sl_index_forget(ix, f);
	for (size_t i = 0; i < c->n; i++) {
		struct sl_index_entry *e = &entries[i];

		e->file = f;
		e->order = i;
		e->object = c->objects[i].object;
		if (e->object)
			sl_object_ref(e->object);
		entry_insert(ix, e);
	}
	f->entries = entries;
	f->n_entries = c->n;
	return 0;
}

/* ---- settling ---- */

/* The first valid description; NULL: none. */
static const struct sl_index_entry *winner_of(const struct described *d)
{
	sl_list_foreach (it, &d->entries) {
		const struct sl_index_entry *e = sl_container_of(it, struct sl_index_entry, node);

		if (e->object)
			return e;
	}
	return NULL;
}

/* "kind/namespace/name" */
static bool split_key(struct sl_str key, enum sl_kind *ret_kind, struct sl_str *ret_rest)
{
	for (int kind = 0; kind < SL_N_KINDS; kind++) {
		struct sl_str name = sl_str_from(sl_kind_name((enum sl_kind)kind));

		if (!sl_str_starts(key, name) || key.len <= name.len || key.ptr[name.len] != '/')
			continue;
		*ret_kind = (enum sl_kind)kind;
		*ret_rest = sl_str_skip(key, name.len + 1);
		return true;
	}
	return false;
}

/* All that can fail. */
static int prepare(struct sl_index *ix, struct sl_model *model)
{
	size_t n[SL_N_KINDS] = {0};
	int r = 0;

	sl_list_foreach (it, &ix->changed) {
		const struct described *d = sl_container_of(it, struct described, changed);
		const struct sl_index_entry *winner = winner_of(d);

		if (!winner)
			continue;
		n[winner->object->kind]++;
		r = sl_model_prepare(winner->object);
		if (r)
			return r;
	}
	for (int kind = 0; kind < SL_N_KINDS && !r; kind++)
		r = n[kind] ? sl_model_reserve(model, (enum sl_kind)kind, n[kind]) : 0;
	return r;
}

static void settle(struct sl_index *ix, struct described *d, struct sl_model *model)
{
	const struct sl_index_entry *winner = winner_of(d);
	struct sl_object *o;
	struct sl_str key;
	enum sl_kind kind;

	sl_list_remove(&d->changed);
	if (winner) {
		o = winner->object;
		if (sl_model_get_key(model, o->kind, o->key) != o)
			(void)sl_model_put(model, o); /* was prepared */
	}
	if (!sl_list_empty(&d->entries))
		return;
	o = split_key(d->key, &kind, &key) ? sl_model_get_key(model, kind, key) : NULL;
	if (o)
		(void)sl_model_remove(model, kind, o->meta.namespace, o->meta.name); /* is there */
	(void)sl_map_del(&ix->objects, d->key);					     /* likewise */
	free(d);
}

int sl_index_settle(struct sl_index *ix, struct sl_model *model)
{
	int r = prepare(ix, model);

	if (r)
		return r;
	sl_list_foreach_safe (it, &ix->changed)
		settle(ix, sl_container_of(it, struct described, changed), model);
	return 0;
}

/* ---- problems ---- */

static void report_twice(struct sl_diags *diags, const struct sl_index_entry *second,
			 const struct sl_object *first)
{
	char label[SL_OBJECT_LABEL];
	struct sl_diag diag = {
		.severity = SL_SEVERITY_ERROR,
		.file = second->file->path,
		.line = second->object->meta.line,
		.object = sl_str_from(sl_object_label(second->object, label)),
	};

	sl_diags_add(diags, &diag,
		     "described before in %.*s line %u, which counts; this one is ignored",
		     SL_STR_ARG(first->meta.file), (unsigned)first->meta.line);
}

void sl_index_report(const struct sl_index *ix, struct sl_diags *diags)
{
	sl_list_foreach (it, &ix->conflicts) {
		const struct described *d = sl_container_of(it, struct described, conflict);
		const struct sl_index_entry *winner = winner_of(d);

		sl_list_foreach (at, &d->entries) {
			const struct sl_index_entry *e =
				sl_container_of(at, struct sl_index_entry, node);

			if (e->object && e->object != winner->object)
				report_twice(diags, e, winner->object);
		}
	}
}
