/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <assert.h>
#include <errno.h>
#include "base/utf8.h"

enum { GAP = 2 };

void sl_table_deinit(struct sl_table *t)
{
	sl_buf_deinit(&t->cells);
}

int sl_text_append(struct sl_buf *out, const char *text)
{
	struct sl_str s = sl_str_from(text);
	int r = 0;

	while (s.len && !r) {
		size_t n = sl_utf8_len(s);
		unsigned char c = (unsigned char)*s.ptr;
		/* C1 control characters, U+0080 to U+009F, drive terminals too. */
		bool c1 = n == 2 && c == 0xc2 && (unsigned char)s.ptr[1] < 0xa0;

		if (!n || c1 || c < 0x20 || c == 0x7f)
			r = sl_buf_append_str(out,
					      c == '\n' || c == '\t' ? SL_STR(" ") : SL_STR("?"));
		else
			r = sl_buf_append(out, s.ptr, n);
		s = sl_str_skip(s, n ? n : 1);
	}
	return r;
}

size_t sl_text_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void sl_table_add(struct sl_table *t, const char *text)
{
	if (!t->error)
		t->error = sl_text_append(&t->cells, text ? text : "");
	if (!t->error)
		t->error = sl_buf_append(&t->cells, "", 1);
	t->n_cells++;
}

void sl_table_printf(struct sl_table *t, const char *fmt, ...)
{
	struct sl_buf text = SL_BUF_INIT(0);
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = sl_buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (!r)
		r = sl_buf_append(&text, "", 1);
	if (r && !t->error)
		t->error = r;
	sl_table_add(t, r ? "" : sl_buf_ptr(&text));
	sl_buf_deinit(&text);
}

/* 0: the column is empty. */
static void measure(const struct sl_table *t, size_t widths[SL_TABLE_MAX_COLUMNS])
{
	const char *cell = sl_buf_ptr(&t->cells);

	for (size_t i = 0; i < t->n_cells; i++, cell += strlen(cell) + 1) {
		size_t column = i % t->n_columns, width = sl_text_width(cell);
		size_t title = sl_text_width(t->titles[column]);

		if (width && width < title)
			width = title;
		if (width > widths[column])
			widths[column] = width;
	}
}

/* pad: columns to fill up behind the text, 0 at the end of a line. */
static int put(struct sl_buf *out, const char *text, size_t width)
{
	int r = sl_buf_append_str(out, sl_str_from(text));

	for (size_t n = sl_text_width(text); n < width && !r; n++)
		r = sl_buf_append(out, " ", 1);
	return r;
}

/* cells: those of one row behind each other, or NULL for the titles. */
static int put_row(const struct sl_table *t, const size_t *widths, const char *cells,
		   struct sl_buf *out)
{
	size_t last = 0;
	int r = 0;

	for (size_t i = 0; i < t->n_columns; i++)
		last = widths[i] ? i : last;
	for (size_t i = 0; i < t->n_columns && !r; i++) {
		const char *text = cells ? cells : t->titles[i];

		if (cells)
			cells += strlen(cells) + 1;
		if (!widths[i])
			continue;
		r = put(out, *text ? text : "-", i == last ? 0 : widths[i] + GAP);
	}
	return r ? r : sl_buf_append(out, "\n", 1);
}

int sl_table_render(const struct sl_table *t, const char *none, struct sl_buf *out)
{
	size_t widths[SL_TABLE_MAX_COLUMNS] = {0};
	const char *cell = sl_buf_ptr(&t->cells);
	int r;

	assert(t->n_columns <= SL_TABLE_MAX_COLUMNS && t->n_cells % t->n_columns == 0);
	if (t->error)
		return t->error;
	if (!t->n_cells)
		return sl_buf_printf(out, "%s\n", none);
	measure(t, widths);
	r = put_row(t, widths, NULL, out);
	for (size_t i = 0; i < t->n_cells && !r; i++, cell += strlen(cell) + 1) {
		if (i % t->n_columns == 0)
			r = put_row(t, widths, cell, out);
	}
	return r;
}
