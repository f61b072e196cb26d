/* SPDX-License-Identifier: Apache-2.0 */
/* One hop: slot, own socket in the map, the app on the list of those that are looked for. */
#include <bpf/bpf.h>
#include <errno.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "datapath/hops_internal.h"

static void share_deinit(struct sl_hops_share *s)
{
	free(s->free);
	free(s->freed_ns);
}

static int share_init(struct sl_hops_share *s, uint32_t first_slot, uint32_t n_slots)
{
	s->free = sl_new_n(uint32_t, n_slots);
	s->freed_ns = sl_new_n(uint64_t, n_slots);
	if (!s->free || !s->freed_ns)
		return -ENOMEM;
	s->first_slot = first_slot;
	s->n_slots = s->n_free = n_slots;
	for (uint32_t i = 0; i < n_slots; i++)
		s->free[i] = first_slot + i;
	return 0;
}

int sl_hops_shares_new(struct sl_hops *h, uint32_t n_workers)
{
	uint32_t each = h->n_slots / n_workers;

	h->shares = sl_new_n(struct sl_hops_share, n_workers);
	if (!h->shares)
		return -ENOMEM;
	h->n_shares = n_workers;
	for (uint32_t i = 0; i < n_workers; i++) {
		int r = share_init(&h->shares[i], i * each, each);

		if (r)
			return r;
	}
	return 0;
}

void sl_hops_shares_free(struct sl_hops *h)
{
	for (uint32_t i = 0; h->shares && i < h->n_shares; i++)
		share_deinit(&h->shares[i]);
	free(h->shares);
}

void sl_hops_rested(struct sl_hops *h)
{
	for (uint32_t i = 0; i < h->n_shares; i++)
		memset(h->shares[i].freed_ns, 0, h->shares[i].n_slots * sizeof(uint64_t));
}

/* Returns a slot, or -ENOSPC. */
static int64_t slot_take(struct sl_hops_share *s, uint64_t rest_ns)
{
	uint64_t freed = s->n_free ? s->freed_ns[s->first] : 0;
	uint32_t slot;

	if (!s->n_free || (freed && sl_clock_now_ns() - freed < rest_ns))
		return -ENOSPC;
	slot = s->free[s->first];
	s->first = (s->first + 1) % s->n_slots;
	s->n_free--;
	return slot;
}

static void slot_give(struct sl_hops *h, uint32_t slot)
{
	uint32_t each = h->shares[0].n_slots;
	struct sl_hops_share *s = &h->shares[slot / each];
	uint32_t last = (s->first + s->n_free) % s->n_slots;

	__atomic_store_n(&h->table[slot].gen, 0, __ATOMIC_SEQ_CST);
	s->free[last] = slot;
	s->freed_ns[last] = sl_clock_now_ns();
	s->n_free++;
}

static int end_of(int fd, bool peer, __u8 ip[16], __u16 *port)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	struct sl_addr a;
	int r;

	if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	r = sl_addr_from_sockaddr(&ss, &a);
	if (r)
		return r;
	memcpy(ip, a.ip, sizeof(a.ip));
	*port = a.port;
	return 0;
}

/* The other end of own, as that end sees it. */
static int want_key(int own, uint64_t app_netns, struct sl_want_key *ret)
{
	struct sl_want_key key = {.netns = app_netns};
	int r = end_of(own, true, key.local, &key.local_port);

	if (!r)
		r = end_of(own, false, key.remote, &key.remote_port);
	if (!r)
		*ret = key;
	return r;
}

static uint32_t next_gen(struct sl_hops *h)
{
	uint32_t gen = __atomic_add_fetch(&h->last_gen, 1, __ATOMIC_RELAXED);

	return gen ? gen : next_gen(h);
}

static void hop_init(struct sl_hops *h, const struct sl_hop_lease *l, bool is_active,
		     uint64_t taken, uint64_t done)
{
	uint32_t gen = l->gen;

	memset(l->hop, 0, sizeof(*l->hop)); /* gen is 0: nobody looks */
	l->hop->taken = taken;
	l->hop->done = done;
	l->hop->own_cookie = l->cookie;
	l->hop->budget = h->budget;
	l->hop->is_active = is_active;
	__atomic_store_n(&l->hop->gen, gen, __ATOMIC_SEQ_CST);
}

/* own's storage, own in the map, the app wanted; all or nothing. */
static int enter(struct sl_hops *h, const struct sl_hop_lease *l, int own)
{
	struct sl_peer peer = {.slot = l->slot, .gen = l->gen, .is_own = 1};
	struct sl_want want = {.slot = l->slot, .gen = l->gen};
	uint64_t fd = own;
	int r = bpf_map_update_elem(h->peer, &own, &peer, BPF_ANY);

	if (r)
		return r;
	r = bpf_map_update_elem(h->sock, &l->cookie, &fd, BPF_NOEXIST);
	if (!r) {
		r = bpf_map_update_elem(h->want, &l->want, &want, BPF_ANY);
		if (r) /* nothing was redirected to it */
			(void)bpf_map_delete_elem(h->sock, &l->cookie);
	}
	if (r)
		(void)bpf_map_delete_elem(h->peer, &own); /* was just made */
	return sl_dp_map_error(r);
}

int sl_hops_lease(struct sl_hops *h, uint32_t worker, int own, bool is_active, uint64_t app_netns,
		  uint64_t taken, uint64_t done, struct sl_hop_lease *ret)
{
	struct sl_hop_lease l = {0};
	socklen_t len = sizeof(l.cookie);
	int64_t slot;
	int r;

	if (getsockopt(own, SOL_SOCKET, SO_COOKIE, &l.cookie, &len) < 0)
		return -errno;
	r = want_key(own, app_netns, &l.want);
	if (r)
		return r;
	slot = slot_take(&h->shares[worker % h->n_shares], h->rest_ns);
	if (slot < 0)
		return slot;
	l.slot = slot;
	l.gen = next_gen(h);
	l.hop = &h->table[slot];
	hop_init(h, &l, is_active, taken, done);
	r = enter(h, &l, own);
	if (r) {
		slot_give(h, l.slot);
		return r;
	}
	*ret = l;
	return 0;
}

bool sl_hops_shut(const struct sl_hop_lease *l)
{
	enum sl_hop_state before =
		__atomic_exchange_n(&l->hop->state, SL_HOP_SHUT, __ATOMIC_SEQ_CST);
	uint64_t sent;

	if (before == SL_HOP_IDLE || before == SL_HOP_REFUSED)
		return true; /* never in */
	/* The program counts, then looks at the state; here the other way round. */
	sent = __atomic_load_n(&l->hop->app_sent, __ATOMIC_SEQ_CST);
	return (int64_t)(sent - __atomic_load_n(&l->hop->taken, __ATOMIC_RELAXED)) <= 0;
}

void sl_hops_release(struct sl_hops *h, const struct sl_hop_lease *l, int own, bool stays)
{
	/* All three may be gone already: the connection was reset, another hop has the tuple. */
	(void)bpf_map_delete_elem(h->want, &l->want);
	if (stays) {
		(void)bpf_map_delete_elem(h->sock, &l->cookie);
		(void)bpf_map_delete_elem(h->peer, &own);
	}
	slot_give(h, l->slot);
}

int sl_hops_take_out(struct sl_hops *h, const struct sl_hop_lease *l)
{
	uint64_t cookie = l->hop->app_cookie;
	int r = bpf_map_delete_elem(h->sock, &cookie);

	if (r && r != -ENOENT && r != -EINVAL)
		return r;
	__atomic_store_n(&l->hop->state, SL_HOP_OUT, __ATOMIC_SEQ_CST);
	return 0;
}

bool sl_hops_has_app(const struct sl_hops *h, const struct sl_hop_lease *l)
{
	uint64_t cookie = l->hop->app_cookie, found;

	return !bpf_map_lookup_elem(h->sock, &cookie, &found);
}

int sl_hops_iter(const struct sl_hops *h)
{
	return bpf_iter_create(h->iter_link);
}

static void count(struct sl_hops_pass *pass, uint32_t verdict)
{
	pass->n_seen++;
	if (verdict == SL_HOP_TAKEN_IN_VERDICT)
		pass->n_in++;
	else if (verdict == SL_HOP_TAKEN_OUT_VERDICT)
		pass->n_out++;
	else if (verdict != SL_HOP_NOT_EMPTY_VERDICT && verdict != SL_HOP_UNNUMBERED_VERDICT)
		pass->n_refused++;
}

int sl_hops_pass(int iter, struct sl_hops_pass *ret)
{
	_cleanup_(sl_closep) int fd = iter;
	uint64_t start = sl_clock_cpu_ns();
	struct sl_hops_pass pass = {0};
	uint32_t verdicts[256];
	ssize_t n;

	do {
		n = read(fd, verdicts, sizeof(verdicts));
		for (ssize_t i = 0; i < n / (ssize_t)sizeof(*verdicts); i++)
			count(&pass, verdicts[i]);
	} while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	if (n < 0)
		return -errno;
	pass.took_ns = sl_clock_cpu_ns() - start;
	*ret = pass;
	return 0;
}
