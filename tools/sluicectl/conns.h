/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Two answers of "conns", one after the other. */
#include <jansson.h>
#include <stdint.h>

/* Gives each connection of now that was there before too the members received_rate, sent_rate
 * (bytes a second) and requests_rate. Returns 0 or -ENOMEM. */
int sl_conns_rates(const json_t *before, json_t *now, uint64_t elapsed_ms);
