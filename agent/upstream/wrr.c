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

/* No phase chosen yet (weights are not known before the first pick): a value no rule can reach. */
#define UNSTARTED INT64_MIN

/* Picks that a phase is walked to: weights in thousandths are. */
enum { WALK_MAX = 1000 };

int sl_wrr_resize(struct sl_wrr *w, uint32_t n_cells)
{
	int64_t *cells = NULL;

	if (n_cells) {
		cells = sl_reallocarray(NULL, n_cells, sizeof(*cells));
		if (!cells)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < n_cells; i++)
		cells[i] = UNSTARTED;
	free(w->cells);
	w->cells = cells;
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
static int furthest_behind(const int64_t *cells, const struct sl_rule *rule)
{
	int best = -1;

	for (uint32_t i = 0; i < rule->n_backends; i++)
		if (rule->backends[i].weight && (best < 0 || cells[i] > cells[best]))
			best = (int)i;
	return best;
}

static int step(int64_t *cells, const struct sl_rule *rule, int64_t total)
{
	int best;

	for (uint32_t i = 0; i < rule->n_backends; i++)
		cells[i] += rule->backends[i].weight;
	best = furthest_behind(cells, rule);
	cells[best] -= total;
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
static void jump(int64_t *cells, const struct sl_rule *rule, int64_t total, int64_t n_picks)
{
	int64_t left = n_picks;

	for (uint32_t i = 0; i < rule->n_backends; i++) {
		int64_t due = n_picks * rule->backends[i].weight;

		cells[i] = due % total;
		left -= due / total;
	}
	while (left-- > 0)
		cells[furthest_behind(cells, rule)] -= total;
}

/* The state after a random number of picks below the period. */
static void start(struct sl_wrr *w, int64_t *cells, const struct sl_rule *rule, int64_t total)
{
	int64_t n = period(rule, total);
	int64_t n_picks = (int64_t)(sl_random_next(&w->seed) % (uint64_t)n);

	if (n > WALK_MAX) {
		jump(cells, rule, total, n_picks);
		return;
	}
	memset(cells, 0, rule->n_backends * sizeof(*cells));
	while (n_picks-- > 0)
		(void)step(cells, rule, total); /* whichever it is */
}

/* Cells may be another rule's for a moment, when a stream still holds the snapshot before: what
 * such a rule leaves behind must not starve anybody. */
static bool plausible(const int64_t *cells, const struct sl_rule *rule, int64_t total)
{
	for (uint32_t i = 0; i < rule->n_backends; i++)
		if (cells[i] <= -total || cells[i] >= total * (int64_t)rule->n_backends)
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
	int64_t total = total_weight(rule), *cells;

	if (total == 0)
		return -1;
	if (rule->n_backends == 1)
		return 0;
	if ((uint64_t)rule->wrr_offset + rule->n_backends > w->n_cells)
		return pick_at_random(w, rule, total);
	cells = w->cells + rule->wrr_offset;
	if (!plausible(cells, rule, total))
		start(w, cells, rule, total);
	return step(cells, rule, total);
}
