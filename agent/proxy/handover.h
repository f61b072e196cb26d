/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Connections that another process goes on with (docs/architecture/upgrade.md). The proxy of the
 * old process gives each at a moment when all there is to know about it fits into the flat record
 * below: a client's connection between two exchanges, a tunnel between any two bytes, a connection
 * of the pool at any time. The proxy of the new process makes the same objects of the record. How
 * records travel is core's business.
 *
 * A connection that was given is lent: nobody here reads or writes it, but it is kept until the new
 * process says that it has it. Until then it can be taken back as it was.
 *
 * Thread: the proxy's worker.
 */
#include "base/addr.h"
#include "base/str.h"

struct sl_proxy;

enum sl_handed_kind {
	SL_HANDED_DETECT = 1, /* what the client speaks is not known yet */
	SL_HANDED_HTTP1,      /* between two requests */
	SL_HANDED_TUNNEL,
	SL_HANDED_POOLED, /* an idle connection to an endpoint; its socket is up */
	SL_HANDED_KIND_MAX,
};

/* One socket with its queues. */
struct sl_handed_sock {
	int fd;		       /* -1: none */
	struct sl_str in, out; /* read and not used yet; to be sent */
	uint64_t n_received, n_sent;
	bool eof;  /* the peer's FIN has been read */
	bool shut; /* ours was sent */
};

/* The request that began a tunnel: what its log record says in the end. */
struct sl_handed_request {
	uint16_t version; /* 11: HTTP/1.1; 0: there was no request */
	uint16_t status;
	uint32_t n_tries;
	uint64_t started_ns, first_byte_ns, req_bytes, res_bytes;
	struct sl_addr endpoint;
	struct sl_str method, authority, path, user_agent, route, rule, backend;
};

/* Times are CLOCK_MONOTONIC, which all processes of a host share. */
struct sl_handed {
	enum sl_handed_kind kind;
	uint64_t id;	 /* the giver's; for sl_proxy_given() */
	uint64_t source; /* cookie of the network namespace */
	struct sl_handed_sock down, up;

	uint32_t n_requests; /* that it carried */
	/* All but POOLED. */
	struct sl_addr peer, original;
	uint64_t cgroup_id, accepted_ns;
	uint64_t deadline_ns; /* of its idle or header timeout; 0: none */
	bool head_begun;

	/* TUNNEL and POOLED. */
	struct sl_addr endpoint;
	/* TUNNEL */
	uint64_t tunnel_up_bytes, tunnel_down_bytes;
	struct sl_handed_request request; /* version 0: no request, names of a route at the most */
	/* POOLED */
	bool served; /* an exchange */
};

/* A copy with its own text, in one block: free() does. The descriptors are the same. NULL: out of
 * memory. Thread: any. */
struct sl_handed *sl_handed_copy(const struct sl_handed *h);

/* Accept no more; all else goes on. */
void sl_proxy_stop_accepting(struct sl_proxy *p);

/* Give every connection as soon as it can be, by host.give(), under ids from first_id on, and
 * accept no more. Requests under way end here first. */
void sl_proxy_hand_over(struct sl_proxy *p, uint64_t first_id);
/* The new process has it: forget it without a word to its peer. Unknown ids are ignored. */
void sl_proxy_given(struct sl_proxy *p, uint64_t id);
/* There is no new process any more: go on with what is lent, and with everything. Listeners come
 * back by sl_proxy_add_source(). */
void sl_proxy_take_back(struct sl_proxy *p);

/* Go on with a connection of the old process. Takes the descriptors in any case; text is borrowed
 * for the call. Returns 0, -ENOENT when its network namespace is not served (it is closed then), or
 * -errno (it is cut). */
int sl_proxy_take(struct sl_proxy *p, const struct sl_handed *h);
