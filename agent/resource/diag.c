/* SPDX-License-Identifier: Apache-2.0 */
#include "resource/diag.h"

#include <stdarg.h>
#include "base/alloc.h"

enum { MAX_ITEMS = 10000, MAX_MESSAGE = 512 };

void sl_diags_deinit(struct sl_diags *d)
{
	free(d->items);
	sl_arena_deinit(&d->arena);
	*d = SL_DIAGS_INIT;
}

static struct sl_diag *append(struct sl_diags *d)
{
	if (d->n >= MAX_ITEMS)
		return NULL;
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 16;
		struct sl_diag *items = sl_reallocarray(d->items, cap, sizeof(*items));

		if (!items)
			return NULL;
		d->items = items;
		d->cap = cap;
	}
	return &d->items[d->n];
}

void sl_diags_add(struct sl_diags *d, const struct sl_diag *diag, const char *fmt, ...)
{
	struct sl_diag *item = append(d);
	char text[MAX_MESSAGE];
	va_list ap;

	if (diag->severity == SL_SEVERITY_ERROR)
		d->n_errors++;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* a message cut short is still one */
	va_end(ap);
	if (!item || sl_arena_str(&d->arena, diag->file, &item->file) ||
	    sl_arena_str(&d->arena, diag->object, &item->object) ||
	    sl_arena_str(&d->arena, diag->field, &item->field) ||
	    sl_arena_str(&d->arena, sl_str_from(text), &item->message)) {
		d->n_dropped++;
		return;
	}
	item->severity = diag->severity;
	item->line = diag->line;
	d->n++;
}
