/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Timer wheel of one loop (private to agent/loop): eight levels of 64 slots, a slot of level k is
 * 64^k milliseconds wide. A timer sits at the level of the highest digit (base 64) in which its
 * tick differs from the wheel's, and moves down when the wheel reaches its slot. Arming and
 * cancelling are a list operation each; nothing is allocated.
 */
#include "loop/loop.h"

enum { SL_WHEEL_LEVELS = 8, SL_WHEEL_SLOTS = 64 };

struct sl_wheel {
	uint64_t tick;			    /* all timers up to here are in due, or fired */
	uint64_t occupied[SL_WHEEL_LEVELS]; /* bit per slot */
	struct sl_list due;		    /* in the order in which they fire */
	struct sl_list slots[SL_WHEEL_LEVELS][SL_WHEEL_SLOTS];
};

void sl_wheel_init(struct sl_wheel *wh, uint64_t now_ns);
/* t is in no list. now_ns never goes back between calls of one wheel. */
void sl_wheel_add(struct sl_wheel *wh, struct sl_timer *t, uint64_t now_ns);
/* t is in a slot, in due, or in a list that due was moved to. */
void sl_wheel_remove(struct sl_wheel *wh, struct sl_timer *t);
/* Move what is due at now_ns to the end of wh->due. */
void sl_wheel_advance(struct sl_wheel *wh, uint64_t now_ns);
/* When sl_wheel_advance() has work next: no later than the first deadline's millisecond ends,
 * perhaps earlier. UINT64_MAX: never. */
uint64_t sl_wheel_next_ns(const struct sl_wheel *wh);
