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
 * feet. In HTTP/1 the conn's task does all the work of the conn, its stream and its upconn. In
 * HTTP/2 the conn's task moves bytes between socket and session, and each stream has a task of its
 * own; so has a mux, the connection to an endpoint that many streams share.
 */
#include "base/cleanup.h"
#include "base/list.h"
#include "http/endpoint_token.h"
#include "http/h1_parse.h"
#include "http/h2.h"
#include "proxy/proxy.h"
#include "proxy/sock.h"
#include "proxy/splice.h"
#include "proxy/filter.h"
#include "snapshot/match.h"
#include "tls/conn.h"
#include "tls/sessions.h"
#include "upstream/upstream.h"

struct sl_auth;
struct sl_auth_edits;
struct sl_authz_verdict;
struct sl_conn;
struct sl_down_h2;
struct sl_exchange;
struct sl_inject;
struct sl_side;
struct sl_stream;
struct sl_upconn;

/* How often a task was queued in a round. Work that goes round between two tasks would else keep
 * the loop in one round for as long as both ends are fast. */
struct sl_turns {
	uint64_t round;
	unsigned n;
};

/* A snapshot with a count that only this worker touches: requests must not share a cache line. */
struct sl_config {
	struct sl_snapshot *snap;
	unsigned refs;
	struct sl_metrics_recent recent; /* labels are the snapshot's strings */
};

/* The Pod that calls, borrowed from the snapshot. */
struct sl_client {
	struct sl_str namespace, name;
	enum sl_splice_policy splice;
};

/* A session of HTTP/2 that opens no window of its connection for what comes while memory is tight.
 */
struct sl_debtor {
	struct sl_list node;  /* in proxy.debtors */
	struct sl_task *task; /* the session's, borrowed */
};
#define SL_DEBTOR_INIT(d, t) ((struct sl_debtor){SL_LIST_INIT((d).node), (t)})

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
	struct sl_list sides;	   /* sl_side.node */
	struct sl_conn *agent;	   /* of their streams; NULL: there were none yet */
	int n_conns, n_told;	   /* open; as host.crowd() knows it */
	uint64_t buffered_bytes;   /* sum of conn.buffered_bytes, its part of the proxy's */
	struct sl_task_owner turn; /* in the loop */
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
	struct sl_tls_sessions *tls_sessions;
	struct sl_wrr wrr;
	struct sl_match_scratch *scratch;
	struct sl_blocks blocks; /* of the queues of all connections */
	uint64_t random;	 /* of WebSocket handshakes; no secrets */
	struct sl_list free_streams;
	struct sl_list dead; /* conns to free at the end of the round */
	struct sl_task reap;
	unsigned n_free_streams;
	uint64_t buffered_bytes; /* sum of conn.buffered_bytes and the like */
	uint64_t shed_next_ns;	 /* see shed.c */
	struct sl_timer shed_timer;
	struct sl_list debtors; /* sl_debtor.node */
	uint32_t n_mirrors;
	struct sl_list splice_asking; /* that ask to get in or out */
	struct sl_list splice_quiet;  /* the others */
	struct sl_map splice_wanted;  /* splice.c: by namespace of the app */
	uint64_t splice_unread;	      /* sent by redirect and not known to be read, of all hops */
	size_t n_conns;		      /* atomic store, relaxed: read by other threads */
	size_t n_leased;	      /* connections to endpoints that serve somebody */
	struct sl_list lent;	      /* sl_lent.node: handover.c */
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
	struct sl_task *wakes;		   /* runs on events, borrowed; NULL in the pool */
	bool reused;			   /* has served an exchange before this one */
	bool counted_connect;		   /* in metrics */
	struct sl_lb_lease held;	   /* it, as a policy counts connections */
	uint32_t n_exchanges;		   /* that began on it */
	uint64_t splice_seen;		   /* config_generation that its policy is of */
	uint64_t base_received, base_sent; /* the sock's counters when it was leased */
	struct sl_lent lent;
	uint64_t counted_received, counted_sent; /* what metrics have of sock's counters */
};

/* What a connection from the pool will do for. */
enum sl_reuse {
	SL_REUSE_NEVER, /* dial */
	SL_REUSE_ONCE,	/* a request that must not be sent twice */
	SL_REUSE_AGAIN, /* one that may: should the connection turn out closed, it is */
	SL_REUSE_PLAIN, /* as ONCE, and none that the kernel carries: for what does not fit there */
};

/* Which connection is wanted. */
struct sl_dial {
	struct sl_addr endpoint;
	enum sl_reuse reuse;
	const struct sl_lb_lease *lease; /* of the request */
	struct sl_tls_context *tls;	 /* borrowed for the call; NULL: none */
	enum sl_tls_protocol protocol;
};

/* A connection to an endpoint from the client's network namespace; connect(2) may still be under
 * way, and the handshake of TLS. Its events queue wakes. Returns 0, -EBUSY when a policy allows no
 * further one, -errno. */
int sl_upconn_open(struct sl_proxy_source *src, const struct sl_dial *dial, struct sl_task *wakes,
		   struct sl_upconn **ret);
/* In metrics: it is there, or it failed with err. Once for each. */
void sl_upconn_count_connect(struct sl_upconn *u, int err);
/* connect(2) did, and TLS did not. */
bool sl_upconn_tls_failed(const struct sl_upconn *u);
/* It has carried all that a policy lets it. */
bool sl_upconn_is_spent(const struct sl_upconn *u);
/* Bytes of this lease. */
static inline uint64_t sl_upconn_n_sent(const struct sl_upconn *u)
{
	return u->sock.n_sent - u->base_sent;
}
static inline uint64_t sl_upconn_n_received(const struct sl_upconn *u)
{
	return u->sock.n_received - u->base_received;
}
/* Idle and clean: into the pool. */
void sl_upconn_give(struct sl_upconn *u);
/* Bring the byte counters up to date. */
void sl_upconn_count(struct sl_upconn *u);
/* Accepts NULL. */
void sl_upconn_close(struct sl_upconn *u, bool reset);
/* Idle in the pool: close it with a reset. */
void sl_upconn_discard(struct sl_upconn *u);
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
	/* s->res switches protocols: its head goes out, and from here on both bodies are bytes that
	 * end on their own. */
	int (*write_switch)(struct sl_stream *s);
};
extern const struct sl_down_ops sl_down_h1, sl_down_h2, sl_down_side;

/* The endpoint's side of a stream, for s->attempt.up. */
struct sl_up_ops {
	/* Lease a connection, or begin to make one. Returns 0 or -errno. */
	int (*open)(struct sl_stream *s, const struct sl_addr *endpoint, enum sl_reuse reuse);
	/* Whether the request can go out. Returns 0, -EINPROGRESS, -EAGAIN when another connection
	 * has to be opened, or the -errno that connecting failed with. */
	int (*ready)(struct sl_stream *s);
	/* Connected: the request's head goes out. Returns 0, -ENOMEM, -EINVAL when the protocol
	 * cannot carry it, -EOPNOTSUPP when the endpoint does not take such a request. */
	int (*write_head)(struct sl_stream *s);
	sl_body_fn write_body;
	int (*write_end)(struct sl_stream *s);
	/* It takes no more of the request now (or never, when it broke). */
	bool (*full)(const struct sl_stream *s);
	/* Send what is queued. Returns true on progress. */
	bool (*flush)(struct sl_stream *s);
	/* Of a tunnel that both sides have ended: nothing is left to send. */
	bool (*sent)(const struct sl_stream *s);
	/* Take what came of the answer, see answer.c. Returns true on progress. */
	bool (*read)(struct sl_stream *s);
	/* From here on both bodies are bytes. Returns false when the answer is no valid switch. */
	bool (*begin_tunnel)(struct sl_stream *s);
	/* Nobody wants the answer whose head has come: take what is here of it. Returns true when
	 * that is all of it. */
	bool (*skip)(struct sl_stream *s);
	/* The exchange is over; reusable: both messages went to their ends. */
	void (*release)(struct sl_stream *s, bool reusable);
};
extern const struct sl_up_ops sl_up_h1, sl_up_h2;

/* ---- stream ---- */

/*
 *  NEW ──► CONNECTING ──► WAITING ──► RESPONDING ──► DONE
 *   │       │  ▲ ▲  retry    │             │            ▲
 *   │       │  │ └───────────┤             └─► (cut)    │
 *   │       ▼  │             │                          │
 *   │      BACKOFF ◄─────────┤                          │
 *   └──────────┴─────────────┴─► LOCAL ─────────────────┘
 *
 *  Between NEW and CONNECTING, or LOCAL, it may be PAUSED.
 *
 * PAUSED      somebody is asked whether the request may go on, or a fault delays it
 * BACKOFF     a try failed, the next one begins after a pause
 * CONNECTING  an endpoint was chosen, its connection is not there yet
 * WAITING     the request goes out, no final response head yet
 * RESPONDING  the response head went to the client, its body follows
 * LOCAL       the answer is the agent's own
 * DONE        everything that the client gets is queued; log, then free
 */
enum sl_stream_state {
	SL_STREAM_NEW,
	SL_STREAM_PAUSED,
	SL_STREAM_BACKOFF,
	SL_STREAM_CONNECTING,
	SL_STREAM_WAITING,
	SL_STREAM_RESPONDING,
	SL_STREAM_LOCAL,
	SL_STREAM_DONE,
};

struct sl_attempt {
	const struct sl_up_ops *ops;
	struct sl_lb_lease lease; /* of the endpoint */
	struct sl_upconn *up;	  /* HTTP/2: the mux's */
	struct sl_exchange *x;	  /* HTTP/2 */
	struct sl_addr endpoint;
	struct sl_tls_context *tls; /* a reference; NULL: in the clear */
	bool tls_failed;	    /* the last try, of TLS */
	unsigned n_tries;
	unsigned n_retries;  /* of them those that count against what the rule allows */
	uint8_t n_elsewhere; /* HTTP/2: connections that took no further stream after all */
	bool head_queued;    /* the request's head is in the endpoint's queue */
	bool over_budget;    /* the backend takes no further retry now */
	bool unreachable;    /* endpoint could not be connected to */
	bool full;	     /* a limit of a policy was reached */
	bool retried_stale;
	/* What went out of the request's body, for another try. */
	struct sl_buf replay;
	bool no_replay; /* that is not all of it, or the client has seen something of an answer */
	uint64_t started_ns, first_byte_ns;
	struct sl_timer timer;	       /* backendRequest */
	struct sl_timer connect_timer; /* BACKOFF: the pause before the next try; PAUSED: a fault's
					  delay */
};

struct sl_stream {
	struct sl_list node; /* in the free list, or of its HTTP/2 connection */
	struct sl_conn *conn;
	struct sl_side *side;	  /* that this is the stream of; NULL: a client waits */
	struct sl_side *mirrors;  /* that the request's body goes to as well */
	struct sl_auth *auth;	  /* PAUSED */
	struct sl_inject *inject; /* the fault that hits it; NULL: none, or it is past */
	const struct sl_down_ops *down;
	struct sl_task *wakes;	 /* runs sl_stream_step(), borrowed */
	struct sl_task task;	 /* HTTP/2, side: its own */
	struct sl_turns turns;	 /* likewise */
	struct sl_h2_stream *h2; /* likewise; arena */
	uint64_t buffered_bytes; /* likewise: queues of its connection to an endpoint, and replay */
	enum sl_stream_state state;
	enum sl_end_reason end;
	struct sl_arena arena;
	struct sl_config *config; /* what is borrowed below and in rule lives there */
	const struct sl_frontend *frontend;
	const struct sl_route_table *table;  /* NULL: this client is not governed */
	const struct sl_trial *trial;	     /* shadow routes that it is shown to; NULL: none */
	struct sl_auth_edits *auth_edits;    /* arena; of the answer; NULL: none */
	const struct sl_shadow_note *shadow; /* arena; NULL: they would change nothing */
	struct sl_client client;
	const struct sl_rule *rule; /* NULL: not governed, or none matched */
	const struct sl_backend *backend;
	struct sl_str upstream_key; /* of the backend, whatever its route's policy says */
	const struct sl_persistence *persistence; /* towards it; NULL: none */
	struct sl_filter_env env;
	struct sl_request req;
	struct sl_response res;
	struct sl_h1_body req_body, res_body;
	struct sl_headers req_trailers, res_trailers;
	struct sl_h1_scan res_scan;
	struct sl_attempt attempt;
	struct sl_endpoint_token token;	       /* of the client, or that it gets */
	struct sl_str token_value, token_part; /* all that it showed, and token in it */
	bool has_token;			       /* token is the client's, and valid */
	struct sl_timer timer;		       /* timeouts.request */
	uint64_t started_ns, req_bytes, res_bytes;
	uint64_t fault_delay_ns;	       /* by a FaultInjection; 0: none */
	struct sl_str log_path, log_authority; /* as received, before filters */
	const char *why;	/* what was wrong with the request, static; NULL: as s->end says */
	enum sl_limit limit;	/* that was reached */
	struct sl_str own_body; /* of an answer of the agent's own */
	enum sl_body_kind down_body; /* framing of the answer towards the client */
	bool req_ended;		     /* the end of the request went into the upstream's queue */
	bool close_after;	     /* this answer is the connection's last */
	bool conn_upgraded;	     /* HTTP/2 that began as HTTP/1.1 */
	bool is_grpc;		     /* HTTP/2, and its Content-Type says so */
	uint8_t grpc_status; /* that an answer of the agent's own has to have; 0: what suits it */
	uint32_t reset_code; /* HTTP/2: that the endpoint ended it with */
	bool tunnel;	     /* the answer switched protocols */
	bool res_ended;	     /* of a tunnel: the endpoint will send no more */
	struct sl_str websocket_key; /* that the agent made; else ptr NULL */
	bool request_expired, attempt_expired, connect_expired;
	uint8_t n_interim, n_mirrors;
};

/* For the log: the shadow rule that would have taken the request (empty: none would), and what
 * would have differed. */
struct sl_shadow_note {
	struct sl_str route, rule;
	char differs[80];
	size_t len;
};

/* shadow.c: show the request, as received, to s->trial, and count what would differ. now: the match
 * that decides in fact; NULL: none. */
void sl_shadow_judge(struct sl_stream *s, const struct sl_match *now);

/* The upstream of this moment: as its route's policy has it, or the backend's own. NULL: gone. */
const struct sl_upstream *sl_stream_upstream(const struct sl_stream *s);

/* A request head was parsed into s->req: route it and begin. */
void sl_stream_begin(struct sl_stream *s);
void sl_stream_wake(struct sl_stream *s);
/* Do what can be done now; sets state DONE at the end. Returns true when it made progress. */
bool sl_stream_step(struct sl_stream *s);
/* Answer it ourselves, unless the head went out already: then cut the connection. */
void sl_stream_reply(struct sl_stream *s, uint16_t status, enum sl_end_reason end);
/* s->res is an answer of a filter's, with s->own_body: modify and send it. */
void sl_stream_answer(struct sl_stream *s, enum sl_end_reason end);
/* PAUSED: go on behind the filter that was waited for. */
void sl_stream_resume(struct sl_stream *s);
/* Its conn is being cut: let go of the endpoint, state DONE. */
void sl_stream_cut(struct sl_stream *s, enum sl_end_reason end);
/* Run the response filters of backendRef and rule, with what authorization services asked for in
 * between: towards the client, what is closest to the backend comes first. Answers of the agent's
 * filters are modified as a backend's. Returns 0 or -ENOMEM. */
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

/* inject.c: faults of FaultInjections. */
/* The first fault that fits the request, if the dice say so: s->inject. path: normalised. */
void sl_inject_choose(struct sl_stream *s, struct sl_faults *faults, struct sl_str path);
/* Nothing else stands before the first attempt: it begins, unless a fault comes first. */
void sl_inject_or_begin(struct sl_stream *s);
/* PAUSED, without auth. */
bool sl_inject_step(struct sl_stream *s);
void sl_inject_drop(struct sl_stream *s);

/* attempt.c: choose an endpoint of s->upstream_key and connect. Answers by itself when it cannot.
 */
void sl_attempt_begin(struct sl_stream *s);
bool sl_attempt_step(struct sl_stream *s);
enum sl_lost {
	SL_LOST_UNTOUCHED, /* the endpoint says that it did nothing, or heard nothing */
	SL_LOST_STALE,	   /* a connection that was kept open had ended: mostly it heard nothing */
	SL_LOST_SENT,	   /* it may have acted */
};
/* The exchange ended before a response head: try again where that is safe, else 502. */
void sl_attempt_lost(struct sl_stream *s, enum sl_lost lost);
/* s->res is a final head. Returns true when the client does not get it: the request is tried again,
 * or was answered. */
bool sl_attempt_refuses(struct sl_stream *s);
/* timeouts.backendRequest ran out: another try, or 504. */
void sl_attempt_expired(struct sl_stream *s);
/* Let the connection go: into the pool if it is clean, else closed. */
void sl_attempt_release(struct sl_stream *s);

/* persistence.c: of a rule that has it. */
/* The ready endpoint that the client's token names; NULL: any will do. */
const struct sl_endpoint *sl_persistence_find(struct sl_stream *s, const struct sl_upstream *up);
/* Give the client a token for the endpoint that answered, if it has none. Returns 0 or -ENOMEM. */
int sl_persistence_tell(struct sl_stream *s);

/* retry.c */
/* The rule says that nothing is to be sent twice. */
bool sl_retry_forbidden(const struct sl_stream *s);
/* Whether a copy of the request's body is made for another try. */
bool sl_retry_keeps_body(const struct sl_stream *s);
/* The first n bytes of from go to the endpoint. */
void sl_retry_remember(struct sl_stream *s, const struct sl_buf *from, size_t n);
/* No further try: the client gets to see this one's answer. */
void sl_retry_give_up(struct sl_stream *s);
/* Take one of the tries that are left; false: none is, or over_budget. */
bool sl_retry_take(struct sl_stream *s);
/* It was the last try: answer so, or 503 where it was the last for want of a budget. */
void sl_retry_give_answer(struct sl_stream *s, uint16_t status, enum sl_end_reason end);
/* The rule asks to try again after s->res, or after this try's timeout, and it can be done. */
bool sl_retry_wants_answer(const struct sl_stream *s);
bool sl_retry_wants_timeout(const struct sl_stream *s);
/* How long to wait before the try that was taken last. */
uint64_t sl_retry_pause_ns(struct sl_stream *s);

/* balance.c: which endpoint, and what is known of it afterwards. */
struct sl_balance_ask {
	const struct sl_upstream *up;
	const struct sl_endpoint *wanted; /* of a session; NULL: any. Not when it is ejected */
	const struct sl_addr *avoid;	  /* NULL: none */
	const struct sl_addr *client;	  /* as endpoints see it */
	const struct sl_request *req;	  /* NULL: of a tunnel */
};
/* *ret NULL: none is usable, or what is returned was reached. Limits are counted. */
enum sl_lb_limit sl_balance_pick(struct sl_proxy *p, const struct sl_balance_ask *ask,
				 struct sl_lb_lease *lease, const struct sl_endpoint **ret);
enum sl_lb_limit sl_balance_wait(struct sl_proxy *p, struct sl_lb_lease *lease);
enum sl_lb_limit sl_balance_connect(struct sl_proxy *p, const struct sl_lb_lease *request,
				    struct sl_lb_lease *ret);
void sl_balance_end(struct sl_proxy *p, struct sl_lb_lease *lease, enum sl_outcome outcome,
		    uint64_t latency_ns);
/* The attempt is the stream's last, or another follows for that reason. */
void sl_balance_release(struct sl_stream *s);
void sl_balance_retry(struct sl_stream *s, enum sl_counter why);

/* answer.c: what came from the endpoint, whatever it was written in. Each may end the stream. */
/* s->res is a head. */
void sl_answer_head(struct sl_stream *s);
/* Its body and trailers went to the client; of a tunnel: the endpoint sends no more. */
void sl_answer_end(struct sl_stream *s);
/* It is not valid. */
void sl_answer_bad(struct sl_stream *s);
void sl_answer_first_byte(struct sl_stream *s);

/* ---- conn ---- */

enum sl_conn_state {
	SL_CONN_DETECT, /* what is spoken is not known yet */
	SL_CONN_HTTP1,
	SL_CONN_HTTP2,
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
	uint64_t seen;		/* config_generation in which the four below were looked up */
	const struct sl_frontend *frontend; /* NULL: the Service is not in the snapshot */
	const struct sl_route_table *table; /* NULL: this client is not governed */
	const struct sl_trial *trial;	    /* shadow routes; NULL: none */
	struct sl_client client;	    /* may be empty */
	struct sl_upconn *up;	     /* DETECT: dialled in case the server speaks first; TUNNEL */
	struct sl_stream *stream;    /* HTTP1: NULL between requests */
	struct sl_down_h2 *h2;	     /* HTTP2 */
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
	bool close_after;	  /* no further request */
	bool parted;		  /* the client has said that it sends nothing more, and has not */
	bool shut_after;	  /* a tunnel's answer ended: FIN behind what is queued */
	uint64_t linger_until_ns; /* CLOSING, behind the FIN: not longer, whatever still comes */
	uint64_t counted_received, counted_sent; /* what metrics have of sock's counters */
	uint64_t buffered_bytes; /* capacity of its queues and its endpoint's, as of its last round
				  */
	uint64_t tunnel_up_bytes, tunnel_down_bytes;
	struct sl_addr dialled;	  /* endpoint of the last dial of a tunnel */
	struct sl_lb_lease lease; /* of it, and of one that was dialled ahead */
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
/* Queue a task, in the next round if it has had its turns in this one. */
void sl_wake_fairly(struct sl_loop *loop, struct sl_task *task, struct sl_turns *turns);
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

/* down_h2.c: state HTTP2. Begin with the client's preface to come; -ENOMEM. */
int sl_down_h2_begin(struct sl_conn *c);
/* The request of s asks to go on in HTTP/2: it becomes the first stream. Returns 0, -EINVAL when it
 * cannot (and nothing happened), -ENOMEM. */
int sl_down_h2_upgrade(struct sl_conn *c, struct sl_stream *s);
bool sl_down_h2_step(struct sl_conn *c);
/* The conn is being cut: streams are DONE, and freed with the second. */
void sl_down_h2_cut(struct sl_conn *c, enum sl_end_reason end);
void sl_down_h2_free(struct sl_conn *c);
uint64_t sl_down_h2_buffered_bytes(const struct sl_conn *c);

/* fault.c: answer a request that the codec found fault with (SL_H1_BAD), or could not read. */
void sl_stream_fault(struct sl_stream *s, int r, const struct sl_h1_error *err);

/* side.c: what is under way on the agent's own account in a namespace that goes. */
void sl_sides_drop(struct sl_proxy_source *src);

/* auth.c */
/* Ask; the stream is PAUSED, or has its answer. */
void sl_auth_begin(struct sl_stream *s, const struct sl_ext_auth *spec);
bool sl_auth_step(struct sl_stream *s);
/* It is not waited for any more. */
void sl_auth_drop(struct sl_stream *s);

/* auth_verdict.c: of a service over gRPC; text of the verdict is the stream's. Each returns 0 or
 * -ENOMEM. */
/* The request becomes what the service makes of it, and its answer will. */
int sl_auth_allow(struct sl_stream *s, const struct sl_authz_verdict *v);
int sl_auth_fill_denial(struct sl_stream *s, const struct sl_authz_verdict *v,
			struct sl_headers *headers);
/* What the services that allowed the request add to s->res. */
int sl_auth_edit_answer(struct sl_stream *s);

/* mirror.c */
/* A copy of the request as it is now, if it is one of those that are mirrored. */
void sl_mirror_begin(struct sl_stream *s, const struct sl_mirror *m);
/* Bytes of the body, as they come from the client. */
void sl_mirrors_feed(struct sl_stream *s, const char *p, size_t n);
/* The request's body and trailers are whole: from here the mirrors go on alone. */
void sl_mirrors_end_body(struct sl_stream *s);
/* They will not be. */
void sl_mirrors_give_up(struct sl_stream *s);

/* up_h2.c */
/* The upstream's port says which protocol, or the client's does. */
const struct sl_up_ops *sl_up_choose(const struct sl_stream *s, const struct sl_upstream *up);

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
/* The stream's two connections are bytes from here on, and its conn does the rest. */
void sl_tunnel_detach(struct sl_stream *s);
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

/* share.c: what a source may still have beside the others. The limit that stands against it, NONE
 * when none does. */
enum sl_limit sl_share_refuses_conn(const struct sl_proxy_source *src);
enum sl_limit sl_share_refuses_request(const struct sl_proxy_source *src);

/* proxy.c */
/* Queues hold so much that nobody is to send ahead. */
bool sl_proxy_is_tight(const struct sl_proxy *p);
/* shed.c: while they do, the connection that holds far more than its share is cut, soon. */
void sl_proxy_shed(struct sl_proxy *p);
void sl_shed_on_timer(struct sl_timer *t);
/* Whether they do, for a session of HTTP/2: then it shall pay when they do no more. */
bool sl_shed_is_tight(struct sl_proxy *p, struct sl_debtor *d);
/* Call it as the session's task runs. */
void sl_shed_pay(const struct sl_proxy *p, struct sl_debtor *d, struct sl_h2 *session);
/* The configured value of a limit, in the unit of its name; 0: none. */
uint64_t sl_proxy_limit(const struct sl_proxy *p, enum sl_limit limit);
struct sl_config *sl_config_ref(struct sl_config *c);
void sl_config_unref(struct sl_config *c);
struct sl_proxy_source *sl_proxy_source(const struct sl_proxy *p, uint64_t cookie);
