/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Tables for people: columns as wide as their content, two spaces apart, nothing cut. A column that
 * is empty in every row is left out; an empty cell of another shows "-". Control characters and
 * what is not UTF-8 are replaced: the text comes from objects and peers.
 */
#include "base/buf.h"

enum { SL_TABLE_MAX_COLUMNS = 13 };

struct sl_table {
	const char *const *titles;
	size_t n_columns;
	size_t n_cells;
	struct sl_buf cells; /* each ends with NUL, row by row */
	int error;	     /* the first; comes back from sl_table_render() */
};

/* titles: static, n_columns of them. */
#define SL_TABLE_INIT(list) \
	((struct sl_table){.titles = (list), .n_columns = sizeof(list) / sizeof(*(list))})
void sl_table_deinit(struct sl_table *t);
/* The next cell, left to right, row by row. NULL is empty. */
void sl_table_add(struct sl_table *t, const char *text);
void sl_table_printf(struct sl_table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Titles and rows; only @none and a line feed when there is no row. Returns 0 or -ENOMEM. */
int sl_table_render(const struct sl_table *t, const char *none, struct sl_buf *out);

/* Text as a table shows it. Returns 0 or -ENOMEM. */
int sl_text_append(struct sl_buf *out, const char *text);
/* Columns that it takes: one for each character, whatever the bytes. */
size_t sl_text_width(const char *text);
