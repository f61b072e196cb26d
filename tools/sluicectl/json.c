/* SPDX-License-Identifier: Apache-2.0 */
#include "view.h"

#include <errno.h>

static int append(const char *bytes, size_t n, void *buf)
{
	return sl_buf_append(buf, bytes, n) ? -1 : 0;
}

int sl_json_dump(const json_t *j, size_t flags, struct sl_buf *out)
{
	return json_dump_callback(j, append, out, flags) || sl_buf_append(out, "\n", 1) ? -ENOMEM
											: 0;
}

const char *sl_json_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

long long sl_json_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

void sl_json_number_cell(struct sl_table *t, const json_t *object, const char *key)
{
	if (json_is_integer(json_object_get(object, key)))
		sl_table_printf(t, "%lld", sl_json_number(object, key));
	else
		sl_table_add(t, NULL);
}

void sl_json_list_cell(struct sl_table *t, const json_t *array)
{
	struct sl_buf text = SL_BUF_INIT(0);
	const json_t *item;
	int r = 0;
	size_t i;

	json_array_foreach (array, i, item) {
		const char *s = json_string_value(item);

		if (!r && s)
			r = sl_buf_printf(&text, "%s%s", sl_buf_len(&text) ? ", " : "", s);
	}
	if (!r)
		r = sl_buf_append(&text, "", 1);
	if (r && !t->error)
		t->error = r;
	sl_table_add(t, r ? NULL : sl_buf_ptr(&text));
	sl_buf_deinit(&text);
}
