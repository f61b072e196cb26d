/* SPDX-License-Identifier: Apache-2.0 */
#include "source/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <yaml.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "source/yaml_scalar.h"

enum {
	MAX_DEPTH = 128,
	/* Nodes are shared, so an alias costs nothing here, but whoever walks the tree meets it
	 * anew each time: what aliases add to one file is limited, counted in bytes. */
	NODE_COST = 16,
	MAX_EXPANSION = 4 << 20,
};

struct node_line {
	const json_t *node;
	uint32_t line;
};

struct sl_yaml_doc {
	json_t *root;
	json_t *held;		 /* keeps what was merged away, so that no address is used twice */
	struct node_line *lines; /* sorted by address */
	size_t n_lines, cap_lines;
};

/* A complete node on its way to the place where it belongs. */
struct part {
	json_t *node;
	size_t cost;   /* bytes of the whole subtree, aliases counted in full */
	size_t height; /* levels of containers, its own included */
};

struct anchor {
	struct sl_str name;
	struct part part; /* node is NULL while it is being read; the reference is the anchor's */
};

/* A container that is being read. */
struct frame {
	struct part part; /* cost and height so far */
	struct anchor *anchor;
	char *key;	/* of the pair being read; NULL: the next node is a key */
	bool merging;	/* the key is << */
	bool has_merge; /* there was one */
	json_t *merges; /* array of objects, the first one first */
};

struct sl_yaml {
	yaml_parser_t parser;
	struct sl_str text;
	bool done;
	struct sl_yaml_error *err; /* during sl_yaml_next() */

	/* of the document being read */
	struct sl_yaml_doc *doc;
	struct frame frames[MAX_DEPTH];
	size_t n_frames;
	struct sl_map anchors;
	struct sl_arena arena; /* the anchors */
	size_t expanded;       /* of all documents */
};

/* ---- errors ---- */

static int bad(struct sl_yaml *y, size_t line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int bad(struct sl_yaml *y, size_t line, const char *fmt, ...)
{
	va_list ap;

	y->err->line = (uint32_t)line;
	va_start(ap, fmt);
	(void)vsnprintf(y->err->message, sizeof(y->err->message), fmt, ap); /* cut short is fine */
	va_end(ap);
	return SL_YAML_BAD;
}

/* libyaml says of a tab that it "cannot start any token", which helps nobody. */
static bool has_tab_indent(struct sl_str text, size_t line)
{
	const char *p = text.ptr, *end = text.ptr + text.len;

	for (; line > 1; line--) {
		p = memchr(p, '\n', (size_t)(end - p));
		if (!p)
			return false;
		p++;
	}
	while (p < end && *p == ' ')
		p++;
	return p < end && *p == '\t';
}

static int parser_error(struct sl_yaml *y)
{
	const yaml_parser_t *p = &y->parser;
	size_t line = p->problem_mark.line + 1;

	switch (p->error) {
	case YAML_MEMORY_ERROR:
		return -ENOMEM;
	case YAML_READER_ERROR:
		return bad(y, p->mark.line + 1, "%s (byte %zu)", p->problem, p->problem_offset);
	default:
		break;
	}
	/* A key without a colon is noticed where the next line starts. */
	if (p->context && strcmp(p->context, "while scanning a simple key") == 0)
		return bad(y, p->context_mark.line + 1, "%s after the key", p->problem);
	if (has_tab_indent(y->text, line))
		return bad(y, line, "a tab is used for indentation, YAML allows only spaces");
	if (p->context)
		return bad(y, line, "%s (%s that starts in line %zu)", p->problem, p->context,
			   p->context_mark.line + 1);
	return bad(y, line, "%s", p->problem ? p->problem : "not YAML");
}

/* ---- lines ---- */

static bool is_shared_constant(const json_t *node)
{
	return json_is_null(node) || json_is_boolean(node);
}

static int note_line(struct sl_yaml_doc *doc, const json_t *node, size_t line)
{
	if (is_shared_constant(node))
		return 0;
	if (doc->n_lines == doc->cap_lines) {
		size_t cap = doc->cap_lines ? doc->cap_lines * 2 : 64;
		struct node_line *lines = sl_reallocarray(doc->lines, cap, sizeof(*lines));

		if (!lines)
			return -ENOMEM;
		doc->lines = lines;
		doc->cap_lines = cap;
	}
	doc->lines[doc->n_lines++] = (struct node_line){node, (uint32_t)line + 1};
	return 0;
}

static int compare_lines(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct node_line *)a)->node;
	uintptr_t y = (uintptr_t)((const struct node_line *)b)->node;

	return (x > y) - (x < y);
}

uint32_t sl_yaml_doc_line(const void *arg, const json_t *node)
{
	const struct sl_yaml_doc *doc = arg;
	struct node_line key = {.node = node};
	const struct node_line *found;

	if (!doc->n_lines)
		return 0;
	found = bsearch(&key, doc->lines, doc->n_lines, sizeof(key), compare_lines);
	return found ? found->line : 0;
}

/* ---- putting nodes together ---- */

static struct frame *top(struct sl_yaml *y)
{
	return y->n_frames ? &y->frames[y->n_frames - 1] : NULL;
}

static int add_merge(struct sl_yaml *y, struct frame *f, json_t *node, size_t line)
{
	size_t n = json_array_size(node);

	if (json_is_object(node))
		return json_array_append(f->merges, node) ? -ENOMEM : 0;
	if (!json_is_array(node))
		return bad(y, line, "the value of << must be a mapping or a list of mappings");
	for (size_t i = 0; i < n; i++) {
		json_t *item = json_array_get(node, i);

		if (!json_is_object(item))
			return bad(y, line,
				   "the value of << must be a mapping or a list of mappings");
		if (json_array_append(f->merges, item))
			return -ENOMEM;
	}
	return 0;
}

/* Takes the part's node. */
static int attach(struct sl_yaml *y, struct part part, size_t line)
{
	_cleanup_(json_decrefp) json_t *node = part.node;
	struct frame *f = top(y);
	int r = 0;

	if (!f) {
		y->doc->root = sl_take(node);
		return 0;
	}
	f->part.cost += part.cost;
	if (f->part.height < part.height + 1)
		f->part.height = part.height + 1;
	if (!f->key)
		return json_array_append_new(f->part.node, sl_take(node)) ? -ENOMEM : 0;
	if (f->merging) {
		r = add_merge(y, f, node, line);
		if (r == 0 && json_array_append(y->doc->held, node))
			r = -ENOMEM;
	} else if (json_object_set_new_nocheck(f->part.node, f->key, sl_take(node))) {
		r = -ENOMEM;
	}
	free(sl_take(f->key));
	f->merging = false;
	return r;
}

/* Registered before its node is read, so that an alias to itself is seen as one. */
static int add_anchor(struct sl_yaml *y, const yaml_char_t *name, struct anchor **ret)
{
	struct anchor *a;
	void *old;

	*ret = NULL;
	if (!name)
		return 0;
	a = sl_arena_new(&y->arena, struct anchor);
	if (!a || sl_arena_str(&y->arena, sl_str_from((const char *)name), &a->name) ||
	    sl_map_put(&y->anchors, a->name, a, &old))
		return -ENOMEM;
	if (old)
		json_decref(((struct anchor *)old)->part.node);
	*ret = a;
	return 0;
}

/* An anchor that was redefined inside its own node is not in the map any more. */
static void set_anchor(struct sl_yaml *y, struct anchor *a, struct part part)
{
	if (a && sl_map_get(&y->anchors, a->name) == a) {
		a->part = part;
		json_incref(part.node);
	}
}

static bool is_tag(const yaml_char_t *tag, const char *name)
{
	return tag && strcmp((const char *)tag, name) == 0;
}

static bool is_plain_tag(const yaml_char_t *tag)
{
	return !tag || is_tag(tag, "!");
}

/* ---- events ---- */

static int make_scalar(struct sl_yaml *y, const yaml_event_t *e, json_t **ret)
{
	struct sl_str s = {(const char *)e->data.scalar.value, e->data.scalar.length};
	const yaml_char_t *tag = e->data.scalar.tag;
	size_t line = e->start_mark.line + 1;
	bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	_cleanup_(json_decrefp) json_t *node = NULL;
	bool fits = true;

	if (memchr(s.ptr, '\0', s.len))
		return bad(y, line, "NUL characters are not allowed");
	if ((!tag && !plain) || is_tag(tag, "!") || is_tag(tag, YAML_STR_TAG))
		node = json_stringn_nocheck(s.ptr, s.len);
	else
		node = sl_yaml_resolve(s);
	if (!node)
		return -ENOMEM;
	if (is_tag(tag, YAML_INT_TAG))
		fits = json_is_integer(node);
	else if (is_tag(tag, YAML_FLOAT_TAG))
		fits = json_is_number(node);
	else if (is_tag(tag, YAML_BOOL_TAG))
		fits = json_is_boolean(node);
	else if (is_tag(tag, YAML_NULL_TAG))
		fits = json_is_null(node);
	else if (!is_plain_tag(tag) && !is_tag(tag, YAML_STR_TAG))
		return bad(y, line, "tag %.60s is not supported", (const char *)tag);
	if (!fits)
		return bad(y, line, "the value is not what its tag %.60s says", (const char *)tag);
	*ret = sl_take(node);
	return 0;
}

/* The mapping's next key, out of a scalar or an alias to one. */
static int set_key(struct sl_yaml *y, struct frame *f, const json_t *node, bool merge, size_t line)
{
	const char *key;

	if (!json_is_string(node))
		return bad(y, line, "a key must be text: put it in quotes");
	key = json_string_value(node);
	if (merge ? f->has_merge : json_object_get(f->part.node, key) != NULL)
		return bad(y, line, "key \"%.60s\" appears twice in this mapping", key);
	f->key = sl_strdup(key);
	if (!f->key)
		return -ENOMEM;
	f->merging = merge;
	f->part.cost += NODE_COST + json_string_length(node);
	if (merge) {
		f->has_merge = true;
		f->merges = json_array();
		if (!f->merges)
			return -ENOMEM;
	}
	return 0;
}

static bool wants_key(const struct frame *f)
{
	return f && json_is_object(f->part.node) && !f->key;
}

static int on_scalar(struct sl_yaml *y, const yaml_event_t *e)
{
	size_t line = e->start_mark.line + 1;
	struct frame *f = top(y);
	struct anchor *anchor;
	struct part part = {.cost = NODE_COST + e->data.scalar.length};
	int r = add_anchor(y, e->data.scalar.anchor, &anchor);

	if (r == 0)
		r = make_scalar(y, e, &part.node);
	if (r)
		return r;
	set_anchor(y, anchor, part);
	if (wants_key(f)) {
		bool merge = e->data.scalar.plain_implicit &&
			     strcmp((const char *)e->data.scalar.value, "<<") == 0;

		r = set_key(y, f, part.node, merge, line);
		json_decref(part.node);
		return r;
	}
	r = note_line(y->doc, part.node, e->start_mark.line);
	if (r) {
		json_decref(part.node);
		return r;
	}
	return attach(y, part, line);
}

static int on_alias(struct sl_yaml *y, const yaml_event_t *e)
{
	struct sl_str name = sl_str_from((const char *)e->data.alias.anchor);
	const struct anchor *a = sl_map_get(&y->anchors, name);
	size_t line = e->start_mark.line + 1;

	if (!a)
		return bad(y, line, "alias *%.60s refers to no anchor before it", name.ptr);
	if (!a->part.node)
		return bad(y, line, "alias *%.60s refers to what it is part of", name.ptr);
	if (wants_key(top(y)))
		return set_key(y, top(y), a->part.node, false, line);
	if (y->n_frames + a->part.height > MAX_DEPTH)
		return bad(y, line, "nested too deep (more than %d levels)", MAX_DEPTH);
	y->expanded += a->part.cost;
	if (y->expanded > MAX_EXPANSION)
		return bad(y, line,
			   "aliases make the file too large (more than %d MiB are repeated)",
			   MAX_EXPANSION >> 20);
	json_incref(a->part.node);
	return attach(y, a->part, line);
}

static int on_start(struct sl_yaml *y, const yaml_event_t *e, bool mapping)
{
	const yaml_char_t *tag = mapping ? e->data.mapping_start.tag : e->data.sequence_start.tag;
	const yaml_char_t *name =
		mapping ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
	size_t line = e->start_mark.line + 1;
	struct frame *f;

	if (!is_plain_tag(tag) && !is_tag(tag, mapping ? YAML_MAP_TAG : YAML_SEQ_TAG))
		return bad(y, line, "tag %.60s is not supported", (const char *)tag);
	if (wants_key(top(y)))
		return bad(y, line, "a key must be text, not a list or a mapping");
	if (y->n_frames == MAX_DEPTH)
		return bad(y, line, "nested too deep (more than %d levels)", MAX_DEPTH);
	f = &y->frames[y->n_frames];
	*f = (struct frame){.part = {.cost = NODE_COST, .height = 1}};
	if (add_anchor(y, name, &f->anchor))
		return -ENOMEM;
	f->part.node = mapping ? json_object() : json_array();
	if (!f->part.node)
		return -ENOMEM;
	y->n_frames++;
	return note_line(y->doc, f->part.node, e->start_mark.line);
}

/* Keys of the mapping itself win over merged ones, and earlier sources over later ones. */
static int apply_merges(struct frame *f)
{
	size_t i;
	json_t *source, *value;
	const char *key;

	json_array_foreach (f->merges, i, source) {
		json_object_foreach (source, key, value) {
			if (!json_object_get(f->part.node, key) &&
			    json_object_set_nocheck(f->part.node, key, value))
				return -ENOMEM;
		}
	}
	json_decref(sl_take(f->merges));
	return 0;
}

static int on_end(struct sl_yaml *y, const yaml_event_t *e)
{
	struct frame *f = top(y);
	struct part part;

	if (f->merges && apply_merges(f))
		return -ENOMEM;
	part = f->part;
	set_anchor(y, f->anchor, part);
	y->n_frames--;
	return attach(y, part, e->start_mark.line + 1);
}

static int on_event(struct sl_yaml *y, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(y, e);
	case YAML_ALIAS_EVENT:
		return on_alias(y, e);
	case YAML_MAPPING_START_EVENT:
		return on_start(y, e, true);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(y, e, false);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		return on_end(y, e);
	default:
		return 0;
	}
}

/* ---- documents ---- */

static void reset_document(struct sl_yaml *y)
{
	struct anchor *a;
	size_t pos = 0;

	while (y->n_frames) {
		struct frame *f = &y->frames[--y->n_frames];

		json_decref(f->part.node);
		json_decref(f->merges);
		free(f->key);
	}
	while ((a = sl_map_next(&y->anchors, &pos, NULL)))
		json_decref(a->part.node);
	sl_map_deinit(&y->anchors);
	sl_arena_reset(&y->arena);
	y->doc = sl_yaml_doc_free(y->doc);
}

static int new_document(struct sl_yaml *y)
{
	y->doc = sl_new(struct sl_yaml_doc);
	if (!y->doc)
		return -ENOMEM;
	y->doc->held = json_array();
	return y->doc->held ? 0 : -ENOMEM;
}

/* One event; *ret_type says which. */
static int step(struct sl_yaml *y, yaml_event_type_t *ret_type)
{
	yaml_event_t e;
	int r = 0;

	if (!yaml_parser_parse(&y->parser, &e))
		return parser_error(y);
	*ret_type = e.type;
	if (e.type == YAML_DOCUMENT_START_EVENT)
		r = new_document(y);
	else
		r = on_event(y, &e);
	yaml_event_delete(&e);
	return r;
}

int sl_yaml_next(struct sl_yaml *y, struct sl_yaml_doc **ret, struct sl_yaml_error *err)
{
	yaml_event_type_t type = YAML_NO_EVENT;
	int r = 0;

	y->err = err;
	while (!y->done) {
		r = step(y, &type);
		if (r || type == YAML_STREAM_END_EVENT) {
			y->done = true;
			break;
		}
		if (type != YAML_DOCUMENT_END_EVENT)
			continue;
		if (json_is_null(y->doc->root)) {
			reset_document(y);
			continue;
		}
		*ret = sl_take(y->doc);
		reset_document(y);
		if ((*ret)->n_lines)
			qsort((*ret)->lines, (*ret)->n_lines, sizeof(struct node_line),
			      compare_lines);
		return 0;
	}
	reset_document(y);
	return r ? r : SL_YAML_END;
}

struct sl_yaml_doc *sl_yaml_doc_free(struct sl_yaml_doc *d)
{
	if (!d)
		return NULL;
	json_decref(d->root);
	json_decref(d->held);
	free(d->lines);
	free(d);
	return NULL;
}

json_t *sl_yaml_doc_root(struct sl_yaml_doc *d)
{
	return d->root;
}

int sl_yaml_new(struct sl_str text, struct sl_yaml **ret)
{
	struct sl_yaml *y = sl_new(struct sl_yaml);

	if (!y)
		return -ENOMEM;
	if (!yaml_parser_initialize(&y->parser)) {
		free(y);
		return -ENOMEM;
	}
	y->text = text;
	y->arena = SL_ARENA_INIT(1024);
	yaml_parser_set_input_string(&y->parser, (const unsigned char *)(text.ptr ? text.ptr : ""),
				     text.len);
	*ret = y;
	return 0;
}

struct sl_yaml *sl_yaml_free(struct sl_yaml *y)
{
	if (!y)
		return NULL;
	reset_document(y);
	sl_arena_deinit(&y->arena);
	yaml_parser_delete(&y->parser);
	free(y);
	return NULL;
}
