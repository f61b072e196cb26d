/* SPDX-License-Identifier: Apache-2.0 */
/* Workers' questions to the host: thread-safe calls into datapath and netns, nothing else. */
#include <errno.h>
#include "base/alloc.h"
#include "core/handover.h"
#include "core/state.h"

/* A connection goes to another worker when this one has a quarter more, and enough for it to
 * matter. */
enum { UNEVEN_CONNS = 16 };

static int original(void *arg, int fd, struct sl_proxy_original *ret)
{
	struct sl_control *c = arg;
	struct sl_original o;
	int r = sl_datapath_original(c->datapath, fd, &o);

	if (r)
		return r;
	*ret = (struct sl_proxy_original){.addr = o.addr, .cgroup_id = o.cgroup_id};
	return 0;
}

static int own(void *arg, int fd)
{
	struct sl_control *c = arg;

	return sl_datapath_own(c->datapath, fd, SL_OWN_UPSTREAM);
}

static int pod_uid(void *arg, uint64_t cgroup_id, char ret_uid[64])
{
	struct sl_control *c = arg;

	return c->cgroups ? sl_cgroups_pod_uid(c->cgroups, cgroup_id, ret_uid) : -ENOENT;
}

struct crowd {
	struct sl_mail mail;
	struct sl_control *control;
	uint64_t source;
	int change;
};

static void on_crowd(struct sl_mail *m)
{
	struct crowd *crowd = sl_container_of(m, struct crowd, mail);

	sl_served_crowd(crowd->control, crowd->source, crowd->change);
	free(crowd);
}

static void crowd(void *arg, uint64_t source, int change)
{
	struct sl_control *c = arg;
	struct crowd *news = sl_new(struct crowd);

	if (!news)
		return; /* the count is off by a step */
	*news = (struct crowd){
		.mail.fn = on_crowd, .control = c, .source = source, .change = change};
	sl_mailbox_post(c->mailbox, &news->mail);
}

static bool hand_over(void *arg, const struct sl_proxy_accepted *accepted, size_t n_own)
{
	struct sl_control *c = arg;
	struct sl_worker *least = NULL;
	size_t n_least = n_own;

	if (n_own < UNEVEN_CONNS)
		return false;
	for (uint32_t i = 0; i < c->n_workers; i++) {
		size_t n = sl_worker_n_conns(c->workers[i]);

		if (n < n_least) {
			n_least = n;
			least = c->workers[i];
		}
	}
	return least && n_own - n_least >= UNEVEN_CONNS && n_own * 4 > n_least * 5 &&
	       !sl_worker_adopt(least, accepted);
}

static int give(void *arg, const struct sl_handed *h)
{
	return sl_handover_give(arg, h);
}

static bool ask_before(void *arg, const struct sl_proxy_accepted *accepted)
{
	return sl_takeover_ask(arg, accepted);
}

struct sl_proxy_host sl_host_for(struct sl_control *c, uint32_t worker)
{
	return (struct sl_proxy_host){
		.arg = c,
		.original = original,
		.own = own,
		.pod_uid = pod_uid,
		.crowd = crowd,
		.hand_over = c->n_workers > 1 ? hand_over : NULL,
		.give = give,
		.ask_before = c->takeover ? ask_before : NULL,
		.splice = sl_splicer_host(c->splicer, worker),
	};
}
