/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that several objects may wish for: the first by namespace, name and index has it. */
#include <errno.h>
#include "base/alloc.h"
#include "compile/work.h"

void contest_init(struct contest *t)
{
	*t = (struct contest){0};
	sl_list_init(&t->changed);
	sl_list_init(&t->conflicts);
}

void contest_deinit(struct contest *t)
{
	struct claimed *k;
	size_t pos = 0;

	while ((k = sl_map_next(&t->by_key, &pos, NULL)))
		free(k);
	sl_map_deinit(&t->by_key);
	contest_init(t);
}

static int claim_cmp(const struct claim *a, const struct claim *b)
{
	int order = sl_str_cmp(a->namespace, b->namespace);

	if (!order)
		order = sl_str_cmp(a->name, b->name);
	return order ? order : (a->index > b->index) - (a->index < b->index);
}

static int claimed_get(struct contest *t, struct sl_str key, struct claimed **ret)
{
	struct claimed *k = sl_map_get(&t->by_key, key);
	int r;

	if (!k) {
		k = sl_calloc(1, sizeof(*k) + key.len);
		if (!k)
			return -ENOMEM;
		sl_list_init(&k->claims);
		sl_list_init(&k->changed);
		sl_list_init(&k->conflict);
		memcpy(k + 1, key.ptr, key.len);
		k->key = (struct sl_str){(const char *)(k + 1), key.len};
		r = sl_map_put(&t->by_key, k->key, k, NULL);
		if (r) {
			free(k);
			return r;
		}
	}
	*ret = k;
	return 0;
}

static void claimed_touch(struct contest *t, struct claimed *k)
{
	if (sl_list_empty(&k->changed))
		sl_list_append(&t->changed, &k->changed);
}

/* As many claims as make a conflict? */
static void conflict_check(struct contest *t, struct claimed *k)
{
	bool several = k->claims.next != k->claims.prev;

	if (several && sl_list_empty(&k->conflict))
		sl_list_append(&t->conflicts, &k->conflict);
	else if (!several)
		sl_list_remove(&k->conflict);
}

int claim_make(struct contest *t, struct claim *c, struct sl_str key)
{
	struct sl_list *before;
	struct claimed *k;
	int r = claimed_get(t, key, &k);

	if (r)
		return r;
	/* Mostly the list is empty. */
	for (before = k->claims.next; before != &k->claims; before = before->next) {
		if (claim_cmp(c, sl_container_of(before, struct claim, node)) < 0)
			break;
	}
	sl_list_append(before, &c->node);
	c->at = k;
	conflict_check(t, k);
	claimed_touch(t, k);
	return 0;
}

void claim_drop(struct contest *t, struct claim *c)
{
	if (!c->at)
		return;
	sl_list_remove(&c->node);
	conflict_check(t, c->at);
	claimed_touch(t, c->at);
	c->at = NULL;
}

void claim_touch(struct contest *t, struct claim *c)
{
	if (c->at)
		claimed_touch(t, c->at);
}

struct claim *claimed_winner(const struct claimed *k)
{
	return sl_list_empty(&k->claims) ? NULL
					 : sl_container_of(k->claims.next, struct claim, node);
}

struct claimed *contest_next(struct contest *t)
{
	struct claimed *k;

	if (sl_list_empty(&t->changed))
		return NULL;
	k = sl_container_of(t->changed.next, struct claimed, changed);
	sl_list_remove(&k->changed);
	return k;
}

void contest_settle(struct contest *t, struct claimed *k)
{
	if (!sl_list_empty(&k->claims))
		return;
	(void)sl_map_del(&t->by_key, k->key); /* it is there */
	free(k);
}

static int loser_cmp(const void *a, const void *b)
{
	const struct claim *x = *(const struct claim *const *)a;
	const struct claim *y = *(const struct claim *const *)b;

	return claim_cmp(x, y);
}

int contest_losers(const struct contest *t, const struct claim ***ret, size_t *ret_n)
{
	const struct claim **out = NULL;
	size_t n = 0, cap = 0;

	sl_list_foreach (it, &t->conflicts) {
		const struct claimed *k = sl_container_of(it, struct claimed, conflict);

		for (struct sl_list *c = k->claims.next->next; c != &k->claims; c = c->next) {
			if (n == cap) {
				const struct claim **more =
					sl_reallocarray(out, cap ? cap * 2 : 8, sizeof(*more));

				if (!more) {
					free(out);
					return -ENOMEM;
				}
				out = more;
				cap = cap ? cap * 2 : 8;
			}
			out[n++] = sl_container_of(c, struct claim, node);
		}
	}
	if (n)
		qsort(out, n, sizeof(*out), loser_cmp);
	*ret = out;
	*ret_n = n;
	return 0;
}
