/* SPDX-License-Identifier: Apache-2.0 */
/* ConfigMap and Secret: named bytes. */
#include "base/base64.h"
#include "resource/kinds.h"

/* Of all values together, as the API server has it. */
enum { MAX_BYTES = 1 << 20 };

const char *const sl_config_map_fields[] = {"apiVersion", "kind",      "metadata", "data",
					    "binaryData", "immutable", NULL};
const char *const sl_secret_fields[] = {"apiVersion", "kind", "metadata",  "data",
					"stringData", "type", "immutable", NULL};

static bool is_key(struct sl_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_' && c != '.')
			return false;
	}
	return s.len > 0 && s.len <= 253 && !sl_str_eqc(s, ".") && !sl_str_eqc(s, "..");
}

static bool read_plain(const struct sl_cursor *at, struct sl_str *ret)
{
	struct sl_str s = {json_string_value(at->node), json_string_length(at->node)};

	if (!json_is_string(at->node)) {
		sl_cursor_error(at, "expected string");
		return false;
	}
	if (sl_arena_str(&at->dec->object->arena, s, ret)) {
		at->dec->oom = true;
		return false;
	}
	return true;
}

static bool read_base64(const struct sl_cursor *at, struct sl_str *ret)
{
	struct sl_str s = {json_string_value(at->node), json_string_length(at->node)};
	char *bytes;

	if (!json_is_string(at->node)) {
		sl_cursor_error(at, "expected string");
		return false;
	}
	bytes = sl_arena_alloc(&at->dec->object->arena, sl_base64_room(s.len));
	if (!bytes) {
		at->dec->oom = true;
		return false;
	}
	if (sl_base64_decode(s, bytes, &ret->len)) {
		sl_cursor_error(at, "must be base64");
		return false;
	}
	ret->ptr = bytes;
	return true;
}

static void read_item(const struct sl_cursor *at, bool is_base64)
{
	struct sl_data_object *o = (struct sl_data_object *)at->dec->object;
	struct sl_data_item *item = &o->items[o->n_items];
	struct sl_str key = sl_str_from(at->key);

	if (!is_key(key)) {
		sl_cursor_error(at, "the key must consist of letters, digits, \"-\", \"_\" and "
				    "\".\", at most 253");
		return;
	}
	if (!(is_base64 ? read_base64(at, &item->value) : read_plain(at, &item->value)))
		return;
	if (sl_arena_str(&o->object.arena, key, &item->key))
		at->dec->oom = true;
	else
		o->n_items++;
}

static void read_items(const struct sl_cursor *root, const char *field, bool is_base64,
		       const json_t *without)
{
	struct sl_cursor at = sl_cursor_texts(root, field);
	const char *key;
	json_t *value;

	json_object_foreach (at.node, key, value) {
		struct sl_cursor item = {.dec = at.dec, .up = &at, .node = value, .key = key};

		if (!json_object_get(without, key))
			read_item(&item, is_base64);
	}
}

/* plain counts where both have a key. */
static void decode_data(const struct sl_cursor *root, const char *base64_field,
			const char *plain_field)
{
	struct sl_data_object *o = (struct sl_data_object *)root->dec->object;
	const json_t *plain = json_object_get(root->node, plain_field);
	const json_t *coded = json_object_get(root->node, base64_field);
	size_t bytes = 0;

	o->type = SL_STR("");
	o->items = sl_decoder_new_n(root->dec, struct sl_data_item,
				    json_object_size(plain) + json_object_size(coded));
	if (!o->items)
		return;
	read_items(root, plain_field, false, NULL);
	read_items(root, base64_field, true, plain);
	for (uint32_t i = 0; i < o->n_items; i++)
		bytes += o->items[i].value.len;
	if (bytes > MAX_BYTES)
		sl_cursor_error(root, "must have at most %d bytes of data, has %zu", MAX_BYTES,
				bytes);
}

void sl_decode_config_map(const struct sl_cursor *root)
{
	struct sl_cursor binary = sl_cursor_member(root, "binaryData");
	const json_t *plain = json_object_get(root->node, "data");
	const char *key;
	json_t *value;

	decode_data(root, "binaryData", "data");
	json_object_foreach (binary.node, key, value) {
		struct sl_cursor at = {.dec = root->dec, .up = &binary, .node = value, .key = key};

		if (json_object_get(plain, key))
			sl_cursor_error(&at, "the key is in data too");
	}
}

void sl_decode_secret(const struct sl_cursor *root)
{
	struct sl_data_object *o = (struct sl_data_object *)root->dec->object;

	decode_data(root, "data", "stringData");
	(void)sl_read_str(root, "type", &sl_text_any, &o->type); /* optional */
}
