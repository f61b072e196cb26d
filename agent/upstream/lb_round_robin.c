/* SPDX-License-Identifier: Apache-2.0 */
/* One after the other; those in their slow start let some of their turns go. */
#include "upstream/lb.h"
#include "upstream/random.h"

static bool is_warm(const struct sl_lb_choice *c, uint32_t i)
{
	uint32_t warmth = sl_lb_warmth(c, i);

	return warmth >= 1024 || (sl_random_next(&c->lb->random) & 1023) < warmth;
}

static uint32_t pick(const struct sl_lb_choice *c)
{
	uint64_t at = c->state ? c->state->next++ : sl_random_next(&c->lb->random);
	uint32_t n = c->up->n_usable, first = SL_LB_NONE;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = (uint32_t)((at + k) % n);

		if (!sl_lb_takes(c, i))
			continue;
		if (first == SL_LB_NONE)
			first = i;
		if (!is_warm(c, i))
			continue;
		if (c->state)
			c->state->next += k; /* the next one's turn is behind it */
		return i;
	}
	return first;
}

const struct sl_lb_ops sl_lb_round_robin = {.pick = pick};
