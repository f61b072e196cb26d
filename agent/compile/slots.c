/* SPDX-License-Identifier: Apache-2.0 */
#include "compile/slots.h"

#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"

void sl_slots_deinit(struct sl_slots *s)
{
	free(s->gaps);
	*s = (struct sl_slots){0};
}

static void gap_remove(struct sl_slots *s, size_t i)
{
	memmove(&s->gaps[i], &s->gaps[i + 1], (--s->n_gaps - i) * sizeof(s->gaps[0]));
}

uint32_t sl_slots_take(struct sl_slots *s, uint32_t n)
{
	uint32_t from = s->end;

	if (!n)
		return 0;
	for (size_t i = 0; i < s->n_gaps; i++) {
		struct sl_slot_range *g = &s->gaps[i];

		if (g->n < n)
			continue;
		from = g->from;
		g->from += n;
		g->n -= n;
		if (!g->n)
			gap_remove(s, i);
		return from;
	}
	s->end += n;
	return from;
}

/* The first gap behind from. */
static size_t gap_after(const struct sl_slots *s, uint32_t from)
{
	size_t low = 0, high = s->n_gaps;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->gaps[mid].from < from)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void gap_insert(struct sl_slots *s, size_t i, struct sl_slot_range g)
{
	if (s->n_gaps == s->cap_gaps) {
		size_t cap = s->cap_gaps ? s->cap_gaps * 2 : 8;
		struct sl_slot_range *gaps = sl_reallocarray(s->gaps, cap, sizeof(*gaps));

		if (!gaps)
			return;
		s->gaps = gaps;
		s->cap_gaps = cap;
	}
	memmove(&s->gaps[i + 1], &s->gaps[i], (s->n_gaps++ - i) * sizeof(s->gaps[0]));
	s->gaps[i] = g;
}

void sl_slots_give(struct sl_slots *s, uint32_t from, uint32_t n)
{
	size_t i = gap_after(s, from);
	struct sl_slot_range *before = i > 0 ? &s->gaps[i - 1] : NULL;
	struct sl_slot_range *after = i < s->n_gaps ? &s->gaps[i] : NULL;

	if (!n)
		return;
	if (before && before->from + before->n == from) {
		before->n += n;
		if (after && before->from + before->n == after->from) {
			before->n += after->n;
			gap_remove(s, i);
		}
		i--;
	} else if (after && from + n == after->from) {
		after->from = from;
		after->n += n;
	} else {
		gap_insert(s, i, (struct sl_slot_range){from, n});
	}
	if (i < s->n_gaps && s->gaps[i].from + s->gaps[i].n == s->end) {
		s->end = s->gaps[i].from;
		gap_remove(s, i);
	}
}
