/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The objects of one proxy, shared by the files of this folder and by nobody else.
 *
 *   conn      a client's connection: detects what is spoken, reads requests, writes answers
 *   stream    one request with its response: routing, filters, deadlines, the log record
 *   attempt   one try of a stream at an endpoint, over one upconn
 *   upconn    a connection to an endpoint: of an attempt, of a tunnel, or idle in the pool
 *
 * A stream knows no protocol. Towards the client it speaks through struct sl_down_ops, towards the
 * endpoint through struct sl_up_ops; each codec has one of either, and any two go together.
 *
 * Who drives: callbacks of watches and timers only note what happened and queue a task, which does
 * the work at the end of the round. So nothing is re-entered, and nothing is freed under a caller's
 * feet. In HTTP/1 the conn's task does all the work of the conn, its stream and its upconn.
 */
#include "base/cleanup.h"
#include "base/list.h"
#include "http/h1_parse.h"
#include "proxy/proxy.h"
#include "proxy/sock.h"
#include "proxy/filter.h"
#include "snapshot/match.h"
#include "upstream/upstream.h"

struct sl_conn;
struct sl_stream;
struct sl_upconn;

/* A snapshot with a count that only this worker touches: requests must not share a cache line. */
struct sl_config {
	struct sl_snapshot *snap;
	unsigned refs;
	struct sl_metrics_recent recent; /* labels are the snapshot's strings */
};

/* The Pod that calls, borrowed from the snapshot. */
struct sl_client {
	struct sl_str namespace, name;
};

struct sl_listener {
	struct sl_list node;
	struct sl_watch watch;
	struct sl_proxy_source *source;
	int fd;		/* borrowed */
	uint64_t round; /* the loop's, in which it was ready last */
	unsigned burst; /* connections to take at most when it is ready next */
};

/* One network namespace that this worker serves. */
struct sl_proxy_source {
	struct sl_proxy *proxy;
	struct sl_source *source;
	uint64_t cookie;
	struct sl_list listeners;
	struct sl_list conns;
	int n_conns, n_told; /* open; as host.crowd() knows it */
};

struct sl_proxy {
	struct sl_loop *loop;
	struct sl_proxy_opts opts;
	struct sl_proxy_host host;
	struct sl_metrics_shard *metrics;
	struct sl_access_log *log;
	struct sl_config *config;
	uint64_t config_generation; /* counts what makes conns look up their Service and client
				       again */
	struct sl_map sources;	    /* cookie -> struct sl_proxy_source */
	struct sl_map silent;	    /* frontend key -> struct silent: see detect.c */
	struct sl_pool *pool;
	struct sl_lb *lb;
	struct sl_wrr wrr;
	struct sl_match_scratch *scratch;
	struct sl_blocks blocks; /* of the queues of all connections */
	struct sl_list free_streams;
	struct sl_list dead; /* conns to free at the end of the round */
	struct sl_task reap;
	unsigned n_free_streams;
	uint64_t buffered_bytes; /* sum of conn.buffered_bytes */
	size_t n_conns;		 /* atomic store, relaxed: read by other threads */
	struct sl_list lent;	 /* sl_lent.node: handover.c */
	uint64_t next_lent_id;
	int spare_fd; /* given up for a moment to refuse a connection when descriptors ran out */
	bool draining;
	bool giving; /* to the process that takes over */
};

/* In a connection that another process may have by now. */
struct sl_lent {
	struct sl_list node;
	uint64_t id;
	struct sl_conn *conn; /* this, or */
	struct sl_upconn *up; /* that */
};

/* ---- upconn ---- */

struct sl_upconn {
	struct sl_pooled pooled; /* its watch is the sock's */
	struct sl_sock sock;
	struct sl_proxy *proxy;
	struct sl_task *wakes; /* runs on events, borrowed; NULL in the pool */
	bool reused;	       /* has served an exchange before this one */
	bool counted_connect;  /* in metrics */
	struct sl_lent lent;
	uint64_t counted_received, counted_sent; /* what metrics have of sock's counters */
};

/* What a connection from the pool will do for. */
enum sl_reuse {
	SL_REUSE_NEVER, /* dial */
	SL_REUSE_ONCE,	/* a request that must not be sent twice */
	SL_REUSE_AGAIN, /* one that may: should the connection turn out closed, it is */
};

/* A connection to an endpoint from the client's network namespace; connect(2) may still be under
 * way. Its events queue wakes. Returns 0 or -errno. */
int sl_upconn_open(struct sl_proxy_source *src, const struct sl_addr *endpoint, enum sl_reuse reuse,
		   struct sl_task *wakes, struct sl_upconn **ret);
/* Idle and clean: into the pool. */
void sl_upconn_give(struct sl_upconn *u);
/* Bring the byte counters up to date. */
void sl_upconn_count(struct sl_upconn *u);
/* Accepts NULL. */
void sl_upconn_close(struct sl_upconn *u, bool reset);
/* From now on events queue that task. */
void sl_upconn_bind(struct sl_upconn *u, struct sl_task *wakes);
/* One around a connected, idle descriptor, which it takes on success; of nobody. Returns 0 or
 * -errno. */
int sl_upconn_new(struct sl_proxy *p, uint64_t source, const struct sl_addr *endpoint, int fd,
		  struct sl_upconn **ret);

/* ---- codecs ---- */

/* Takes the first n bytes of from, a part of the request's body. Returns 0 or -errno. */
typedef int (*sl_body_fn)(struct sl_stream *s, struct sl_buf *from, size_t n);

/* The client's side of a stream. Those that return int: 0, -ENOMEM, or -EINVAL for what the
 * protocol cannot carry. */
struct sl_down_ops {
	/* Give the request's body that has come to fn (NULL: throw it away), and set
	 * s->req_body.done behind its end. Returns true on progress; a malformed body, and a client
	 * that ended in the middle of it, end the stream. */
	bool (*read_body)(struct sl_stream *s, sl_body_fn fn);
	/* Any number of interim responses, then s->res as the final head. */
	int (*write_interim)(struct sl_stream *s, const struct sl_response *res);
	int (*write_head)(struct sl_stream *s);
	/* Takes the first n bytes of from. */
	int (*write_body)(struct sl_stream *s, struct sl_buf *from, size_t n);
	/* The same for text of the agent's own. */
	int (*write_text)(struct sl_stream *s, struct sl_str text);
	int (*write_end)(struct sl_stream *s);
	/* The client takes no more now: stop reading from the endpoint. */
	bool (*full)(const struct sl_stream *s);
	/* The answer cannot be finished: let the client see that. State is DONE afterwards. */
	void (*abort)(struct sl_stream *s, enum sl_end_reason end);
	/* s->res switches protocols: from here on bytes. Takes s->attempt.up, and s. Returns as
	 * write_head, and took nothing then. */
	int (*detach)(struct sl_stream *s);
};
extern const struct sl_down_ops sl_down_h1;

/* The endpoint's side of a stream, for s->attempt.up. */
struct sl_up_ops {
	/* Connected: the request's head goes out. Returns 0, -ENOMEM, or -EINVAL when the protocol
	 * cannot carry it. */
	int (*write_head)(struct sl_stream *s);
	sl_body_fn write_body;
	int (*write_end)(struct sl_stream *s);
	/* It takes no more of the request now (or never, when it broke). */
	bool (*full)(const struct sl_stream *s);
	/* Send what is queued. Returns true on progress. */
	bool (*flush)(struct sl_stream *s);
	/* Take what came of the answer, see answer.c. Returns true on progress. */
	bool (*read)(struct sl_stream *s);
	/* The exchange is over; reusable: both messages went to their ends. */
	void (*release)(struct sl_stream *s, bool reusable);
};
extern const struct sl_up_ops sl_up_h1;

/* ---- stream ---- */

/*
 *  NEW ──► CONNECTING ──► WAITING ──► RESPONDING ──► DONE
 *   │          │ ▲  retry    │             │            ▲
 *   │          └─┴───────────┤             └─► (cut)    │
 *   └──────────┴─────────────┴─► LOCAL ─────────────────┘
 *
 * CONNECTING  an endpoint was chosen, its connection is not there yet
 * WAITING     the request goes out, no final response head yet
 * RESPONDING  the response head went to the client, its body follows
 * LOCAL       the answer is the agent's own
 * DONE        everything that the client gets is queued; log, then free
 */
enum sl_stream_state {
	SL_STREAM_NEW,
	SL_STREAM_CONNECTING,
	SL_STREAM_WAITING,
	SL_STREAM_RESPONDING,
	SL_STREAM_LOCAL,
	SL_STREAM_DONE,
};

struct sl_attempt {
	const struct sl_up_ops *ops;
	struct sl_upconn *up;
	struct sl_addr endpoint;
	unsigned n_tries;
	bool head_queued; /* the request's head is in the endpoint's queue */
	bool retried_stale;
	uint64_t started_ns, first_byte_ns;
	struct sl_timer timer; /* backendRequest */
	struct sl_timer connect_timer;
};

struct sl_stream {
	struct sl_list node; /* in the free list */
	struct sl_conn *conn;
	const struct sl_down_ops *down;
	struct sl_task *wakes; /* runs sl_stream_step(), borrowed */
	enum sl_stream_state state;
	enum sl_end_reason end;
	struct sl_arena arena;
	struct sl_config *config; /* what is borrowed below and in rule lives there */
	const struct sl_frontend *frontend;
	struct sl_client client;
	const struct sl_rule *rule; /* NULL: not governed, or none matched */
	const struct sl_backend *backend;
	struct sl_str upstream_key;
	struct sl_filter_env env;
	struct sl_request req;
	struct sl_response res;
	struct sl_h1_body req_body, res_body;
	struct sl_headers req_trailers, res_trailers;
	struct sl_h1_scan res_scan;
	struct sl_attempt attempt;
	struct sl_timer timer; /* timeouts.request */
	uint64_t started_ns, req_bytes, res_bytes;
	struct sl_str log_path, log_authority; /* as received, before filters */
	const char *why;	/* what was wrong with the request, static; NULL: as s->end says */
	enum sl_limit limit;	/* that was reached */
	struct sl_str own_body; /* of an answer of the agent's own */
	enum sl_body_kind down_body; /* framing of the answer towards the client */
	bool req_ended;		     /* the end of the request went into the upstream's queue */
	bool close_after;	     /* this answer is the connection's last */
	bool request_expired, attempt_expired, connect_expired;
	uint8_t n_interim;
};

/* A request head was parsed into s->req: route it and begin. */
void sl_stream_begin(struct sl_stream *s);
void sl_stream_wake(struct sl_stream *s);
/* Do what can be done now; sets state DONE at the end. Returns true when it made progress. */
bool sl_stream_step(struct sl_stream *s);
/* Answer it ourselves, unless the head went out already: then cut the connection. */
void sl_stream_reply(struct sl_stream *s, uint16_t status, enum sl_end_reason end);
/* Its conn is being cut: let go of the endpoint, state DONE. */
void sl_stream_cut(struct sl_stream *s, enum sl_end_reason end);
/* Run the response filters of backendRef and rule: towards the client, what is closest to the
 * backend comes first. Answers of the agent's filters are modified as a backend's. Returns 0 or
 * -ENOMEM. */
int sl_stream_filter_response(struct sl_stream *s);
/* Answer and count that a limit was reached. */
void sl_stream_limit(struct sl_stream *s, enum sl_limit limit, uint16_t status,
		     enum sl_end_reason end);
/* Log, count and free. */
void sl_stream_end(struct sl_stream *s);
/* Free one that never became a request. */
void sl_stream_free(struct sl_stream *s);
struct sl_stream *sl_stream_new(struct sl_conn *conn, const struct sl_down_ops *down,
				struct sl_task *wakes);
void sl_stream_move(struct sl_stream *s, enum sl_stream_state to);

/* attempt.c: choose an endpoint of s->upstream_key and connect. Answers by itself when it cannot.
 */
void sl_attempt_begin(struct sl_stream *s);
bool sl_attempt_step(struct sl_stream *s);
/* The connection ended before a response head: try again where that is safe, else 502. */
void sl_attempt_lost(struct sl_stream *s);
/* Let the connection go: into the pool if it is clean, else closed. */
void sl_attempt_release(struct sl_stream *s);

/* answer.c: what came from the endpoint, whatever it was written in. Each may end the stream. */
/* s->res is a head. */
void sl_answer_head(struct sl_stream *s);
/* Its body and trailers went to the client. */
void sl_answer_end(struct sl_stream *s);
/* It is not valid. */
void sl_answer_bad(struct sl_stream *s);
void sl_answer_first_byte(struct sl_stream *s);

/* ---- conn ---- */

enum sl_conn_state {
	SL_CONN_DETECT, /* what is spoken is not known yet */
	SL_CONN_HTTP1,
	SL_CONN_TUNNEL,
	SL_CONN_CLOSING, /* the last bytes go out, then a FIN, then what comes in is thrown away */
	SL_CONN_DEAD,
	SL_CONN_LENT, /* to the process that takes over, until that says that it has it */
};

/* Names of a rule that another process chose. */
struct sl_taken_rule {
	struct sl_rule rule;
	struct sl_backend backend;
	char text[];
};

struct sl_conn {
	struct sl_list node; /* of its source, or in proxy->dead */
	struct sl_proxy *proxy;
	struct sl_proxy_source *source;
	enum sl_conn_state state;
	struct sl_watch watch;
	struct sl_sock sock;
	struct sl_task task;
	struct sl_timer timer; /* header, idle or linger timeout, by state */
	struct sl_addr peer, original;
	uint64_t cgroup_id, accepted_ns;
	uint64_t learn_next_ns; /* see sl_detect_learn() */
	uint64_t seen;		/* config_generation in which the three below were looked up */
	const struct sl_frontend *frontend; /* NULL: the Service is not in the snapshot */
	const struct sl_route_table *table; /* NULL: this client is not governed */
	struct sl_client client;	    /* may be empty */
	struct sl_upconn *up;	     /* DETECT: dialled in case the server speaks first; TUNNEL */
	struct sl_stream *stream;    /* HTTP1: NULL between requests */
	struct sl_stream *tunnel_of; /* TUNNEL that an upgrade began: for the log */
	struct sl_config *tunnel_config;  /* any other TUNNEL: keeps frontend, client and rule */
	struct sl_taken_rule *taken_rule; /* what rule and backend are of; NULL: a snapshot's */
	const struct sl_rule *rule;	  /* TUNNEL: of a TLSRoute or TCPRoute; NULL: not routed */
	const struct sl_backend *backend;
	struct sl_h1_scan scan;
	uint32_t n_requests;
	size_t hello_need; /* DETECT: bytes that the ClientHello has at least; 0: not known */
	bool head_begun;   /* bytes of the next head came: the header timeout runs */
	bool looked;	   /* DETECT: gave the client one round to speak */
	bool timed_out;
	bool close_after; /* no further request */
	bool parted;	  /* the client has said that it sends nothing more, and has not */
	uint64_t counted_received, counted_sent; /* what metrics have of sock's counters */
	uint64_t buffered_bytes; /* capacity of its queues and its endpoint's, as of its last round
				  */
	uint64_t tunnel_up_bytes, tunnel_down_bytes;
	struct sl_addr dialled; /* endpoint of the last dial of a tunnel */
	unsigned n_dials;
	struct sl_lent lent;
	enum sl_conn_state lent_from; /* LENT: the state that it comes back to */
	uint64_t lent_deadline_ns;    /* of its timer; 0: not armed */
};

/* conn.c */
void sl_conn_accept(struct sl_proxy_source *src, const struct sl_proxy_accepted *a);
/* Cut: close with a reset, end the stream with that reason. Both are freed at the end of the round,
 * so a caller may still look at their states (DEAD and DONE). */
void sl_conn_kill(struct sl_conn *c, enum sl_end_reason reason);
/* Out of everything, to be freed at the end of the round; its descriptors are closed already. */
void sl_conn_bury(struct sl_conn *c);
/* A connection of src around a descriptor, which it takes on success; original, peer and state are
 * the caller's to set, and the place in src->conns. NULL: out of memory or watches. */
struct sl_conn *sl_conn_new(struct sl_proxy_source *src, int fd);
void sl_conn_on_event(struct sl_watch *w, uint32_t events);
/* Send what is queued, then close gracefully. */
void sl_conn_finish(struct sl_conn *c);
/* End of the round: free what is dead. */
void sl_conn_reap(struct sl_conn *c);
void sl_conn_wake(struct sl_conn *c);
/* The proxy drains: close it as soon as nothing is under way. */
void sl_conn_drain(struct sl_conn *c);
/* Look the Service and the client up again if the snapshot changed. */
void sl_conn_resolve(struct sl_conn *c);
void sl_conn_move(struct sl_conn *c, enum sl_conn_state to);

/* detect.c: returns true when it made progress. */
bool sl_conn_detect(struct sl_conn *c);
/* The Service's servers wait for the client to speak: seen, so nothing needs to be dialled ahead.
 */
void sl_detect_learn(struct sl_conn *c, const struct sl_frontend *frontend);
void sl_detect_forget(struct sl_proxy *p);

/* detect_tls.c: a connection to a port with TLSRoutes. */
enum sl_detected {
	SL_DETECT_DONE,	 /* the conn is something else now */
	SL_DETECT_OTHER, /* no TLS: to the Service itself, as it is */
	SL_DETECT_MORE,	 /* nothing came yet */
	SL_DETECT_WAIT,	 /* TLS, not all of the message yet */
};
enum sl_detected sl_detect_tls(struct sl_conn *c);

/* down_h1.c: state HTTP1. */
bool sl_down_h1_step(struct sl_conn *c);

/* handover.c */
/* Give it away if this is a moment for it. True: it is lent. */
bool sl_conn_give(struct sl_conn *c);
/* It is lent and nobody will take it back. */
void sl_conn_forget(struct sl_conn *c);
/* Connections to endpoints that nobody has taken. */
void sl_lent_free(struct sl_proxy *p);
/* Idle and clean: to the process that takes over, or closed. */
void sl_upconn_hand_over(struct sl_upconn *u);
void sl_upconn_on_event(struct sl_watch *w, uint32_t events);

/* tunnel.c */
void sl_tunnel_begin(struct sl_conn *c, struct sl_upconn *up);
/* To an endpoint of the Service that the client dialled. */
void sl_tunnel_open(struct sl_conn *c);
/* To an endpoint of one of the rule's backends. NULL, or a backend that cannot be used: refused. */
void sl_tunnel_route(struct sl_conn *c, const struct sl_rule *rule);
/* Ends before it began, and is counted and logged: with a reset, or the client gets what is queued
 * for it and then the end. */
void sl_tunnel_refuse(struct sl_conn *c, enum sl_end_reason reason);
void sl_tunnel_decline(struct sl_conn *c, enum sl_end_reason reason);
bool sl_tunnel_step(struct sl_conn *c);
/* "tcp", or "tls" when a TLSRoute's name was read. */
struct sl_str sl_tunnel_protocol(const struct sl_conn *c);
/* Log and count; the connections are closed by the caller. */
void sl_tunnel_end(struct sl_conn *c, enum sl_end_reason reason);

/* proxy.c */
/* The configured value of a limit, in the unit of its name; 0: none. */
uint64_t sl_proxy_limit(const struct sl_proxy *p, enum sl_limit limit);
struct sl_config *sl_config_ref(struct sl_config *c);
void sl_config_unref(struct sl_config *c);
struct sl_proxy_source *sl_proxy_source(const struct sl_proxy *p, uint64_t cookie);
