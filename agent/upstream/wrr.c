/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each backend has a cell that says how far it is behind its fair share, in units of 1/total pick:
 * a pick adds every backend's weight to its cell, takes the one furthest behind and subtracts the
 * total from it. The sum of a rule's cells stays zero.
 */
#include "upstream/upstream.h"

#include <errno.h>
#include "base/alloc.h"
#include "upstream/random.h"

/* Picks that a phase is walked to: weights in thousandths are. */
enum { WALK_MAX = 1000 };

int sl_wrr_resize(struct sl_wrr *w, uint32_t n_cells)
{
	struct sl_wrr_cell *cells;

	if (n_cells > w->cap_cells) {
		cells = sl_reallocarray(w->cells, n_cells, sizeof(*cells));
		if (!cells)
			return -ENOMEM;
		w->cells = cells;
		w->cap_cells = n_cells;
	}
	/* Those between are new, or of rules that are gone: nobody's. */
	for (uint32_t i = w->n_cells; i < n_cells; i++)
		w->cells[i] = (struct sl_wrr_cell){0};
	w->n_cells = n_cells;
	if (!w->seed)
		w->seed = sl_random_seed();
	return 0;
}

void sl_wrr_deinit(struct sl_wrr *w)
{
	free(w->cells);
	*w = SL_WRR_INIT;
}

static int64_t total_weight(const struct sl_rule *rule)
{
	int64_t total = 0;

	for (uint32_t i = 0; i < rule->n_backends; i++)
		total += rule->backends[i].weight;
	return total;
}

/* The backend furthest behind; the first of equals. Those of weight 0 stay out. */
static int furthest_behind(const struct sl_wrr_cell *cells, const struct sl_rule *rule)
{
	int best = -1;

	for (uint32_t i = 0; i < rule->n_backends; i++)
		if (rule->backends[i].weight && (best < 0 || cells[i].behind > cells[best].behind))
			best = (int)i;
	return best;
}

static int step(struct sl_wrr_cell *cells, const struct sl_rule *rule, int64_t total)
{
	int best;

	for (uint32_t i = 0; i < rule->n_backends; i++)
		cells[i].behind += rule->backends[i].weight;
	best = furthest_behind(cells, rule);
	cells[best].behind -= total;
	return best;
}

/* After how many picks the cells are zero again. */
static int64_t period(const struct sl_rule *rule, int64_t total)
{
	uint32_t divisor = 0;

	for (uint32_t i = 0; i < rule->n_backends; i++) {
		uint32_t w = rule->backends[i].weight;

		while (w) {
			uint32_t rest = divisor % w;

			divisor = w;
			w = rest;
		}
	}
	return total / divisor;
}

/*
 * Walking up to 16 million picks would take too long. Whole shares first, then the few picks that
 * are left over go to the largest fractions: less than one pick each off the state when walked.
 */
static void jump(struct sl_wrr_cell *cells, const struct sl_rule *rule, int64_t total,
		 int64_t n_picks)
{
	int64_t left = n_picks;

	for (uint32_t i = 0; i < rule->n_backends; i++) {
		int64_t due = n_picks * rule->backends[i].weight;

		cells[i].behind = due % total;
		left -= due / total;
	}
	while (left-- > 0)
		cells[furthest_behind(cells, rule)].behind -= total;
}

/* The state after a random number of picks below the period. */
static void start(struct sl_wrr *w, struct sl_wrr_cell *cells, const struct sl_rule *rule,
		  int64_t total)
{
	int64_t n = period(rule, total);
	int64_t n_picks = (int64_t)(sl_random_next(&w->seed) % (uint64_t)n);

	for (uint32_t i = 0; i < rule->n_backends; i++)
		cells[i] = (struct sl_wrr_cell){.owner = rule->id};
	if (n > WALK_MAX) {
		jump(cells, rule, total, n_picks);
		return;
	}
	while (n_picks-- > 0)
		(void)step(cells, rule, total); /* whichever it is */
}

/* Cells may be another rule's: they were taken over from one that went, or a stream still holds the
 * snapshot before and uses them. */
static bool owns(const struct sl_wrr_cell *cells, const struct sl_rule *rule)
{
	for (uint32_t i = 0; i < rule->n_backends; i++)
		if (cells[i].owner != rule->id)
			return false;
	return true;
}

static int pick_at_random(struct sl_wrr *w, const struct sl_rule *rule, int64_t total)
{
	int64_t at = (int64_t)(sl_random_next(&w->seed) % (uint64_t)total);
	uint32_t i = 0;

	while (at >= rule->backends[i].weight)
		at -= rule->backends[i++].weight;
	return (int)i;
}

int sl_wrr_pick(struct sl_wrr *w, const struct sl_rule *rule)
{
	int64_t total = total_weight(rule);
	struct sl_wrr_cell *cells;

	if (total == 0)
		return -1;
	if (rule->n_backends == 1)
		return 0;
	if ((uint64_t)rule->wrr_offset + rule->n_backends > w->n_cells)
		return pick_at_random(w, rule, total);
	cells = w->cells + rule->wrr_offset;
	if (!owns(cells, rule))
		start(w, cells, rule, total);
	return step(cells, rule, total);
}
