/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Random phases for balancers. Not for secrets. */
#include <stdbool.h>
#include <stdint.h>

/* A fresh seed; never 0. Never fails: without entropy it falls back to clock and address. */
uint64_t sl_random_seed(void);
/* Advances *state; all 64 bits are usable. */
uint64_t sl_random_next(uint64_t *state);
/* True for numerator of denominator, which is not 0. */
bool sl_random_chance(uint64_t *state, uint32_t numerator, uint32_t denominator);
