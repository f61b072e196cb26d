/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/wheel.h"

#include "base/clock.h"

enum { BITS = 6, SLOT_NONE = SL_WHEEL_LEVELS * SL_WHEEL_SLOTS };

_Static_assert(SL_WHEEL_SLOTS == 1 << BITS, "a slot is one digit of a tick");
_Static_assert(UINT64_MAX / SL_NS_PER_MS < 1ULL << (SL_WHEEL_LEVELS * BITS),
	       "every tick has a level");

/* Rounded up, so that nothing fires early. */
static uint64_t tick_of(uint64_t deadline_ns)
{
	return deadline_ns / SL_NS_PER_MS + (deadline_ns % SL_NS_PER_MS != 0);
}

void sl_wheel_init(struct sl_wheel *wh, uint64_t now_ns)
{
	wh->tick = now_ns / SL_NS_PER_MS;
	sl_list_init(&wh->due);
	for (int level = 0; level < SL_WHEEL_LEVELS; level++) {
		wh->occupied[level] = 0;
		for (int slot = 0; slot < SL_WHEEL_SLOTS; slot++)
			sl_list_init(&wh->slots[level][slot]);
	}
}

static void place(struct sl_wheel *wh, struct sl_timer *t)
{
	uint64_t tick = tick_of(t->deadline_ns);
	unsigned level, slot;

	if (tick <= wh->tick) {
		t->slot = SLOT_NONE;
		sl_list_append(&wh->due, &t->node);
		return;
	}
	level = (63U - (unsigned)__builtin_clzll(tick ^ wh->tick)) / BITS;
	slot = (tick >> (level * BITS)) & (SL_WHEEL_SLOTS - 1);
	t->slot = (uint16_t)(level * SL_WHEEL_SLOTS + slot);
	wh->occupied[level] |= 1ULL << slot;
	sl_list_append(&wh->slots[level][slot], &t->node);
}

void sl_wheel_add(struct sl_wheel *wh, struct sl_timer *t, uint64_t now_ns)
{
	if (t->deadline_ns > now_ns) {
		place(wh, t);
		return;
	}
	sl_wheel_advance(wh, now_ns); /* what has been due for longer goes first */
	t->slot = SLOT_NONE;
	sl_list_append(&wh->due, &t->node);
}

void sl_wheel_remove(struct sl_wheel *wh, struct sl_timer *t)
{
	unsigned level, slot;

	sl_list_remove(&t->node);
	if (t->slot == SLOT_NONE)
		return;
	level = t->slot / SL_WHEEL_SLOTS;
	slot = t->slot % SL_WHEEL_SLOTS;
	if (sl_list_empty(&wh->slots[level][slot]))
		wh->occupied[level] &= ~(1ULL << slot);
}

/* The first slot with timers, and the tick at which it begins. All slots of a lower level come
 * before those of a higher one. False when the wheel is empty. */
static bool first_slot(const struct sl_wheel *wh, unsigned *ret_level, unsigned *ret_slot,
		       uint64_t *ret_tick)
{
	for (unsigned level = 0; level < SL_WHEEL_LEVELS; level++) {
		unsigned shift = level * BITS, slot;

		if (!wh->occupied[level])
			continue;
		slot = (unsigned)__builtin_ctzll(wh->occupied[level]);
		*ret_level = level;
		*ret_slot = slot;
		*ret_tick = (wh->tick >> (shift + BITS) << (shift + BITS)) | (uint64_t)slot
										     << shift;
		return true;
	}
	return false;
}

void sl_wheel_advance(struct sl_wheel *wh, uint64_t now_ns)
{
	uint64_t now = now_ns / SL_NS_PER_MS, tick;
	unsigned level, slot;

	while (first_slot(wh, &level, &slot, &tick) && tick <= now) {
		struct sl_list *list = &wh->slots[level][slot];

		wh->tick = tick;
		wh->occupied[level] &= ~(1ULL << slot);
		while (!sl_list_empty(list)) {
			struct sl_timer *t = sl_container_of(list->next, struct sl_timer, node);

			sl_list_remove(&t->node);
			place(wh, t);
		}
	}
	wh->tick = now;
}

uint64_t sl_wheel_next_ns(const struct sl_wheel *wh)
{
	unsigned level, slot;
	uint64_t tick, ns;

	if (!sl_list_empty(&wh->due))
		return 0;
	if (!first_slot(wh, &level, &slot, &tick))
		return UINT64_MAX;
	return __builtin_mul_overflow(tick, SL_NS_PER_MS, &ns) ? UINT64_MAX : ns;
}
