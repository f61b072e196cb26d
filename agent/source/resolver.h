/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Asks DNS for the hosts that XBackends name, again whenever an answer's time is over. Nobody waits
 * for it: who wants to know looks at the answers, and is told when one is another than before. Both
 * addresses of a host that has some of either family would be too many, as a client may have one of
 * them only: those of the family that RFC 6724 puts first from here are taken.
 *
 * An answer is kept for as long as it says, from SL_RESOLVER_TTL_MIN_S to _MAX_S. A name that does
 * not exist (any more), or has no address, is an answer too, without addresses. No answer (time
 * out, SERVFAIL, REFUSED) leaves the last one as it is for SL_RESOLVER_STALE_S (RFC 8767 section
 * 5), and DNS is asked again after a second, then ever more seldom. Thread: the loop's.
 */
#include "resource/hosts.h"
#include "resource/model.h"

struct sl_loop;
struct sl_resolver;

enum {
	SL_RESOLVER_TTL_MIN_S = 1,
	SL_RESOLVER_TTL_MAX_S = 3600,
	SL_RESOLVER_STALE_S = 24 * 3600,
	SL_RESOLVER_RETRY_MAX_S = 30,
	SL_RESOLVER_NAMES = 1000,   /* those over it are not asked for, and so have no address */
	SL_RESOLVER_ADDRESSES = 64, /* of one name; the others are left out */
};

struct sl_resolver_opts {
	const char *servers; /* "10.0.0.10,[fd00::1]:5353"; NULL: of resolv.conf. Borrowed. */
	/* An answer is not what it was, or all names have been asked for once. Called from the
	 * loop; may call sl_resolver_follow(). */
	void (*changed)(void *arg);
	void *arg;
};

/* What can be wrong with opts->servers is -EINVAL; else 0 or -ENOMEM. Reads resolv.conf, once. */
int sl_resolver_new(struct sl_loop *loop, const struct sl_resolver_opts *opts,
		    struct sl_resolver **ret);
/* Asks for the names of the model's XBackends, and for no others any more. Returns 0 or -ENOMEM
 * (the names that it knew by then are asked for). */
int sl_resolver_follow(struct sl_resolver *r, const struct sl_model *model);
/* Borrowed; as they are now. */
const struct sl_hosts *sl_resolver_hosts(const struct sl_resolver *r);
/* For each name there has been an answer, or the try has failed. */
bool sl_resolver_is_settled(const struct sl_resolver *r);
/* Accepts NULL, returns NULL. */
struct sl_resolver *sl_resolver_free(struct sl_resolver *r);
