/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How many of an upstream's requests may be retries (GEP-3388, XBackendTrafficPolicy): a share of
 * those of the last interval, and a number for each shorter interval that is always allowed.
 *
 * Counted by all workers together, as struct sl_load is, for the same reason. Numbers need not fit
 * together to the last request: an interval is looked at in tenths, and of workers that begin one
 * at the same moment one may lose a count.
 */
#include "base/str.h"
#include "snapshot/part.h"

enum { SL_BUDGET_SLOTS = 10 };

struct sl_budget_count {
	struct sl_part part;
	struct sl_budget_slot {
		_Atomic uint64_t turn; /* which tenth of an interval it counts */
		atomic_uint requests, retries;
	} slots[SL_BUDGET_SLOTS];
	_Atomic uint64_t rate_turn; /* the interval that rate_retries counts */
	atomic_uint rate_retries;
	char pad[64]; /* workers that use what follows are not slowed down */
};

struct sl_retry_budget {
	struct sl_str policy; /* "XBackendTrafficPolicy/namespace/name" */
	uint32_t percent;     /* of requests and retries together */
	uint64_t interval_ns;
	uint32_t rate_count; /* in rate_interval_ns */
	uint64_t rate_interval_ns;
	struct sl_budget_count *spent; /* a reference */
};

int sl_budget_count_new(struct sl_budget_count **ret);
/* now_ns: of sl_loop_now(). Thread: any. A request that is no retry. */
void sl_budget_request(const struct sl_retry_budget *b, uint64_t now_ns);
/* A retry, if there is room for it: counted then. */
bool sl_budget_take(const struct sl_retry_budget *b, uint64_t now_ns);
