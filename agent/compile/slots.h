/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Ranges of numbers that are given out and taken back, kept low. Thread: control. */
#include <stddef.h>
#include <stdint.h>

struct sl_slot_range {
	uint32_t from, n;
};

struct sl_slots {
	uint32_t end;		    /* everything given out lies below */
	struct sl_slot_range *gaps; /* sorted, none touch each other or the end */
	size_t n_gaps, cap_gaps;
};

void sl_slots_deinit(struct sl_slots *s);
/* The first number of n. Never fails. */
uint32_t sl_slots_take(struct sl_slots *s, uint32_t n);
/* Without memory for it a gap is lost. */
void sl_slots_give(struct sl_slots *s, uint32_t from, uint32_t n);
