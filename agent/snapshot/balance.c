/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/balance.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"

enum { FREE_SLOT = UINT16_MAX };

static void load_free(struct sl_part *p)
{
	free(p); /* embedded first */
}

int sl_load_new(struct sl_load **ret)
{
	struct sl_load *l = sl_new(struct sl_load);

	if (!l)
		return -ENOMEM;
	sl_part_init(&l->part, load_free);
	atomic_flag_clear(&l->judging);
	*ret = l;
	return 0;
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* FNV-1a, finished by a mixing function: its high bits alone are poor for short keys. */
uint64_t sl_balance_hash(struct sl_str s)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.ptr[i]) * 0x100000001b3ULL;
	return mix(h);
}

/* In which order a name wants the slots: from at in steps, which visits all as their number is
 * prime. */
struct wish {
	uint32_t at, step;
};

static uint32_t next_wish(struct wish *w)
{
	uint32_t slot = w->at;

	w->at = (w->at + w->step) % SL_HASH_SLOTS;
	return slot;
}

static void fill(uint16_t *slots, struct wish *wishes, uint32_t n)
{
	uint32_t n_taken = 0;

	for (uint32_t i = 0; n_taken < SL_HASH_SLOTS; i = i + 1 < n ? i + 1 : 0) {
		uint32_t slot = next_wish(&wishes[i]);

		while (slots[slot] != FREE_SLOT)
			slot = next_wish(&wishes[i]);
		slots[slot] = (uint16_t)i;
		n_taken++;
	}
}

int sl_hash_slots(struct sl_arena *a, const uint64_t *names, uint32_t n, const uint16_t **ret)
{
	_cleanup_(sl_freep) struct wish *wishes = sl_new_n(struct wish, n);
	uint16_t *slots = sl_arena_new_n(a, uint16_t, SL_HASH_SLOTS);

	if (!wishes || !slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		wishes[i] = (struct wish){(uint32_t)(mix(names[i] + 1) % SL_HASH_SLOTS),
					  1 + (uint32_t)(mix(~names[i]) % (SL_HASH_SLOTS - 1))};
	for (uint32_t i = 0; i < SL_HASH_SLOTS; i++)
		slots[i] = FREE_SLOT;
	fill(slots, wishes, n);
	*ret = slots;
	return 0;
}
