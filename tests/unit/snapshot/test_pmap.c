/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A long random life next to a plain map: what was copied at any time stays what it was. The seed
 * is printed and can be given as SLUICE_TEST_SEED.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <time.h>
#include "base/alloc.h"
#include "base/map.h"
#include "../../lib/leak.h"
#ifdef FEW_HASHES
/* The map itself, but with so many collisions that its deepest leaves are long lists. */
static uint64_t hash_of(struct sl_str key)
{
	return (unsigned char)key.ptr[0] % 3;
}
#define sl_str_hash(s) hash_of(s)
#include "../../../agent/snapshot/pmap.c"
#else
#include "snapshot/pmap.h"
#endif

enum { KEYS = 3000, STEPS = 40000, KEEP = 16 };

struct value {
	struct sl_part part;
	uint32_t key;
};

static uint64_t random_state;
static long n_values; /* alive */

static uint32_t below(uint32_t n)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)((z ^ z >> 31) % n);
}

static void seed(void)
{
	const char *text = getenv("SLUICE_TEST_SEED");

	random_state = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
	fprintf(stderr, "# SLUICE_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

static void value_free(struct sl_part *p)
{
	n_values--;
	free(p);
}

static struct value *value_new(uint32_t key)
{
	struct value *v = malloc(sizeof(*v));

	cr_assert_not_null(v);
	sl_part_init(&v->part, value_free);
	v->key = key;
	n_values++;
	return v;
}

/* The reference. */
struct plain {
	struct value *at[KEYS];
	size_t n;
};

static void expect_same(const struct sl_pmap *m, const struct plain *p)
{
	struct sl_pmap_iter it = sl_pmap_iterate(m);
	const struct sl_part *part;
	struct sl_str key;
	size_t n = 0;

	cr_assert_eq(m->n, p->n);
	for (uint32_t i = 0; i < KEYS; i++)
		cr_assert_eq(sl_pmap_get(m, SL_KEY(&i)), p->at[i] ? &p->at[i]->part : NULL);
	while ((part = sl_pmap_next(&it, &key))) {
		const struct value *v = (const struct value *)part;

		cr_assert_eq(p->at[v->key], v);
		cr_assert(sl_str_eq(key, SL_KEY(&v->key)));
		n++;
	}
	cr_assert_eq(n, p->n);
}

struct counts {
	const struct plain *before, *after;
	size_t n;
};

static int count_difference(void *arg, struct sl_str key, const struct sl_part *before,
			    const struct sl_part *after)
{
	struct counts *c = arg;
	uint32_t i;

	memcpy(&i, key.ptr, sizeof(i));
	cr_assert_eq(before, c->before->at[i] ? &c->before->at[i]->part : NULL);
	cr_assert_eq(after, c->after->at[i] ? &c->after->at[i]->part : NULL);
	cr_assert_neq(before, after);
	c->n++;
	return 0;
}

static void expect_difference(const struct sl_pmap *a, const struct plain *p,
			      const struct sl_pmap *b, const struct plain *q)
{
	struct counts c = {p, q, 0};
	size_t n = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		n += p->at[i] != q->at[i];
	cr_assert_eq(sl_pmap_diff(a, b, count_difference, &c), 0);
	cr_assert_eq(c.n, n);
}

static void change(struct sl_pmap *m, struct plain *p, uint32_t keys)
{
	uint32_t i = below(keys);

	if (below(3) == 0) {
		cr_assert_eq(sl_pmap_del(m, SL_KEY(&i)), 0);
		p->n -= p->at[i] != NULL;
		p->at[i] = NULL;
		return;
	}
	p->n += p->at[i] == NULL;
	p->at[i] = value_new(i);
	cr_assert_eq(sl_pmap_put(m, SL_KEY(&p->at[i]->key), &p->at[i]->part), 0);
	sl_part_unref(&p->at[i]->part);
}

static void live(uint32_t keys)
{
	static struct plain plain, kept_plain[KEEP];
	struct sl_pmap m = SL_PMAP_INIT, kept[KEEP] = {0};

	memset(&plain, 0, sizeof(plain));
	memset(kept_plain, 0, sizeof(kept_plain));
	for (uint32_t step = 0; step < STEPS; step++) {
		uint32_t k = below(KEEP);

		change(&m, &plain, keys);
		if (below(200))
			continue;
		expect_same(&kept[k], &kept_plain[k]);
		expect_difference(&kept[k], &kept_plain[k], &m, &plain);
		sl_pmap_deinit(&kept[k]);
		kept[k] = sl_pmap_copy(&m);
		kept_plain[k] = plain;
	}
	for (uint32_t k = 0; k < KEEP; k++) {
		expect_same(&kept[k], &kept_plain[k]);
		sl_pmap_deinit(&kept[k]);
	}
	expect_same(&m, &plain);
	sl_pmap_deinit(&m);
	cr_assert_eq(n_values, 0);
}

Test(pmap, copies_stay_what_they_were)
{
	seed();
	live(10);
	live(100);
	live(KEYS);
	check_leaks();
}

Test(pmap, an_empty_map_has_nothing)
{
	struct sl_pmap m = SL_PMAP_INIT, copy = sl_pmap_copy(&m);
	struct sl_pmap_iter it = sl_pmap_iterate(&m);

	cr_expect_null(sl_pmap_get(&m, SL_STR("x")));
	cr_expect_eq(sl_pmap_del(&m, SL_STR("x")), 0);
	cr_expect_null(sl_pmap_next(&it, NULL));
	sl_pmap_deinit(&m);
	sl_pmap_deinit(&copy);
}

static int stop(void *arg, struct sl_str key, const struct sl_part *before,
		const struct sl_part *after)
{
	(*(unsigned *)arg)++;
	return 7;
}

Test(pmap, a_difference_ends_when_it_is_told_to)
{
	struct sl_pmap m = SL_PMAP_INIT, none = SL_PMAP_INIT;
	unsigned n = 0;

	for (uint32_t i = 0; i < 100; i++) {
		struct value *v = value_new(i);

		cr_assert_eq(sl_pmap_put(&m, SL_KEY(&v->key), &v->part), 0);
		sl_part_unref(&v->part);
	}
	cr_expect_eq(sl_pmap_diff(&none, &m, stop, &n), 7);
	cr_expect_eq(sl_pmap_diff(&m, &none, stop, &n), 7);
	cr_expect_eq(n, 2);
	cr_expect_eq(sl_pmap_diff(&m, &m, stop, &n), 0);
	sl_pmap_deinit(&m);
}

Test(pmap, a_change_that_fails_changes_nothing)
{
	static struct plain plain, copy_plain;
	struct sl_pmap m = SL_PMAP_INIT, copy;

	seed();
	for (uint32_t i = 0; i < 2000; i++)
		change(&m, &plain, KEYS);
	for (uint32_t round = 0; round < 300; round++) {
		uint32_t i = below(KEYS);
		struct value *v = value_new(i);
		bool put = below(2);
		int r = -ENOMEM;

		copy = sl_pmap_copy(&m);
		copy_plain = plain;
		for (long n = 0; r; n++) {
			(void)sl_alloc_fail_after(n);
			r = put ? sl_pmap_put(&m, SL_KEY(&v->key), &v->part)
				: sl_pmap_del(&m, SL_KEY(&v->key));
			(void)sl_alloc_fail_after(-1);
			cr_assert(r == 0 || r == -ENOMEM);
			cr_assert(r == 0 || m.n == plain.n);
			cr_assert(r == 0 || sl_pmap_get(&m, SL_KEY(&i)) ==
						    (plain.at[i] ? &plain.at[i]->part : NULL));
		}
		plain.n += put && !plain.at[i];
		plain.n -= !put && plain.at[i];
		plain.at[i] = put ? v : NULL;
		sl_part_unref(&v->part);
		if (round % 50 == 0) {
			expect_same(&m, &plain);
			expect_same(&copy, &copy_plain);
		}
		sl_pmap_deinit(&copy);
	}
	sl_pmap_deinit(&m);
	cr_assert_eq(n_values, 0);
	check_leaks();
}
