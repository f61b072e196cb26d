/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/faults.h"

#include <errno.h>
#include <time.h>
#include "base/alloc.h"
#include "snapshot/match.h"

enum { BLOCK_BYTES = 1024 };

static void count_free(struct sl_part *p)
{
	free(p); /* embedded first */
}

static int count_new(struct sl_fault_count **ret)
{
	struct sl_fault_count *c = sl_new(struct sl_fault_count);

	if (!c)
		return -ENOMEM;
	sl_part_init(&c->part, count_free);
	*ret = c;
	return 0;
}

static void faults_free(struct sl_part *p)
{
	struct sl_faults *f = (struct sl_faults *)p;

	for (uint32_t i = 0; i < f->n; i++)
		sl_matches_deinit(f->items[i].matches, f->items[i].n_matches);
	sl_part_unref(f->count ? &f->count->part : NULL);
	sl_arena_deinit(&f->arena);
	free(f);
}

int sl_faults_new(struct sl_fault_count *count, struct sl_faults **ret)
{
	struct sl_faults *f = sl_new(struct sl_faults);
	int r = f ? 0 : -ENOMEM;

	if (r)
		return r;
	sl_part_init(&f->part, faults_free);
	f->arena = SL_ARENA_INIT(BLOCK_BYTES);
	if (count)
		sl_part_ref(&count->part);
	else
		r = count_new(&count);
	if (r) {
		sl_faults_unref(f);
		return r;
	}
	f->count = count;
	*ret = f;
	return 0;
}

int sl_faults_seal(struct sl_faults *f)
{
	int r = 0;

	for (uint32_t i = 0; i < f->n; i++) {
		for (uint32_t j = 0; j < f->items[i].n_matches && !r; j++)
			r = sl_match_seal(&f->items[i].matches[j], &f->arena);
	}
	return r;
}

struct sl_faults *sl_faults_ref(struct sl_faults *f)
{
	if (f)
		sl_part_ref(&f->part);
	return f;
}

void sl_faults_unref(struct sl_faults *f)
{
	sl_part_unref(f ? &f->part : NULL);
}

bool sl_faults_act(const struct sl_faults *f)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now); /* which expiresAt is of, whatever is done to it */
	return sl_faults_in_force(f, now.tv_sec);
}

static bool fits(const struct sl_fault *fault, const struct sl_request *req, struct sl_str path,
		 struct sl_match_scratch *scratch, struct sl_arena *arena)
{
	for (uint32_t i = 0; i < fault->n_matches; i++) {
		if (sl_match_fits(&fault->matches[i], req, path, scratch, arena))
			return true;
	}
	return false;
}

const struct sl_fault *sl_faults_find(const struct sl_faults *f, const struct sl_request *req,
				      struct sl_str path, struct sl_match_scratch *scratch,
				      struct sl_arena *arena)
{
	for (uint32_t i = 0; i < f->n; i++) {
		if (fits(&f->items[i], req, path, scratch, arena))
			return &f->items[i];
	}
	return NULL;
}

bool sl_faults_hold(struct sl_faults *f)
{
	if (atomic_fetch_add_explicit(&f->count->held, 1, memory_order_relaxed) < f->max_delayed)
		return true;
	sl_faults_release(f);
	return false;
}

void sl_faults_release(struct sl_faults *f)
{
	atomic_fetch_sub_explicit(&f->count->held, 1, memory_order_relaxed);
}
