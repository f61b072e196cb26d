/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/kinds.h"

static const char *const meta_fields[] = {
	"name",
	"generateName",
	"namespace",
	"labels",
	"annotations",
	"uid",
	"creationTimestamp",
	"generation",
	"resourceVersion",
	"managedFields",
	"ownerReferences",
	"finalizers",
	"deletionTimestamp",
	"deletionGracePeriodSeconds",
	"selfLink",
	NULL,
};

static const struct sl_text_type uid_type = {0, 256, NULL, "text"};

/* labels or annotations: text to text. */
static void decode_labels(const struct sl_cursor *meta, const char *key, struct sl_label **ret,
			  uint32_t *ret_n)
{
	struct sl_cursor at = sl_cursor_texts(meta, key);
	struct sl_decoder *dec = meta->dec;
	struct sl_label *labels;
	uint32_t n = 0;
	const char *name;
	json_t *value;

	if (!at.node)
		return;
	labels = sl_decoder_new_n(dec, struct sl_label, json_object_size(at.node));
	if (!labels)
		return;
	json_object_foreach (at.node, name, value) {
		struct sl_cursor item = {.dec = dec, .up = &at, .node = value, .key = name};

		if (!sl_cursor_str(&item, &sl_text_any, &labels[n].value))
			continue;
		if (sl_arena_str(&dec->object->arena, sl_str_from(name), &labels[n].name)) {
			dec->oom = true;
			return;
		}
		n++;
	}
	*ret = labels;
	*ret_n = n;
}

bool sl_cursor_time(const struct sl_cursor *c, int64_t *ret)
{
	char quoted[SL_QUOTE_TEXT];
	struct sl_str text;

	if (!sl_cursor_str(c, &sl_text_any, &text))
		return false;
	if (!sl_timestamp_parse(text, ret))
		return true;
	sl_cursor_error(c, "must be an RFC 3339 time like 2026-01-02T03:04:05Z, got %s",
			sl_quote(text, quoted));
	return false;
}

bool sl_decode_meta(const struct sl_cursor *root, const struct sl_text_type *name_type,
		    bool cluster_scoped)
{
	struct sl_decoder *dec = root->dec;
	struct sl_meta *meta = &dec->object->meta;
	struct sl_cursor at = sl_cursor_member(root, "metadata"), created;
	bool identified;

	meta->namespace = cluster_scoped ? SL_STR("") : SL_STR("default");
	meta->name = meta->uid = SL_STR("");
	meta->line = sl_cursor_line(root);
	if (sl_arena_str(&dec->object->arena, dec->opts->file, &meta->file))
		dec->oom = true;
	if (!at.node) {
		sl_cursor_error(&at, "required, but missing");
		return false;
	}
	if (!sl_cursor_is_object(&at, meta_fields))
		return false;
	identified = sl_require_str(&at, "name", name_type, &meta->name);
	if (!cluster_scoped && sl_cursor_has(&at, "namespace"))
		identified &= sl_read_str(&at, "namespace", &sl_text_dns_label, &meta->namespace);
	(void)sl_read_str(&at, "uid", &uid_type, &meta->uid);		       /* optional */
	(void)sl_read_int(&at, "generation", 0, INT64_MAX, &meta->generation); /* optional */
	created = sl_cursor_member(&at, "creationTimestamp");
	(void)sl_cursor_time(&created, &meta->created_at); /* optional */
	decode_labels(&at, "labels", &meta->labels, &meta->n_labels);
	decode_labels(&at, "annotations", &meta->annotations, &meta->n_annotations);
	return identified;
}
