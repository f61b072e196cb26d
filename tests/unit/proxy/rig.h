/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A real proxy between clients and backends that the test plays itself, byte by byte: everything
 * over loopback TCP and in the test's own thread, which turns the proxy's loop until what it waits
 * for is there. Every wait has a deadline; nothing sleeps. A failed expectation ends the test.
 *
 * The client dials Service shop/cart:80. Backends stand behind shop/cart or behind shop/v1, to
 * which the default route leads.
 */
#include <criterion/criterion.h>
#include "../../lib/config.h"
#include "../../lib/leak.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "proxy/proxy.h"
#include "proxy/state.h"

enum { RIG_MAX_BACKENDS = 4 };

/* One end of a connection that the test plays. */
struct rig_peer {
	int fd;
	char *got; /* read and not yet expected */
	size_t n_got, cap;
	bool eof;
	int error;
	bool paused;	  /* nothing is read */
	size_t limit;	  /* read ahead at most that much; 0: all that is there */
	uint64_t n_taken; /* expected so far */
};
#define RIG_PEER_INIT ((struct rig_peer){.fd = -1})

struct rig_backend {
	const char *service; /* "v1" or "cart" */
	int fd;		     /* listening; -1: refuses */
	uint16_t port;
	int fillers[4]; /* of rig_fill(); 0: none */
};

struct rig {
	/* Set before rig_start(). */
	struct sl_proxy_opts opts;
	bool is_host;		  /* the client's namespace is shared: Pods by cgroup */
	const char *app_protocol; /* of port 80 of shop/cart; NULL: not declared */
	const char *v1_protocol;  /* likewise of shop/v1 */
	const char *annotations;  /* of shop/cart, "a: b, c: d"; NULL: none */
	struct sl_splice_host splice;
	bool logging;
	bool unconfigured; /* rig_start() gives no snapshot */

	struct rig_backend backends[RIG_MAX_BACKENDS];
	unsigned n_backends;
	const char *more; /* further YAML documents, each with "---" before */

	struct sl_loop *loop;
	struct sl_proxy *proxy;
	struct sl_metrics *metrics;
	struct sl_metrics_shard *shard;
	struct sl_access_log *log;
	int log_fd;
	struct sl_source *source;
	struct sl_addr source_addr;
	int listener;
	struct sockaddr_storage address; /* of it */
	socklen_t address_len;
	uint64_t generation;

	/* What the fake host says. */
	struct sl_addr original;
	uint64_t cgroup_id;
	int original_error, own_error;
	const char *pod_uid; /* of cgroup_id; NULL: no Pod */
	bool (*hand_over)(void *arg, const struct sl_proxy_accepted *accepted, size_t n_own);
	int (*give)(void *arg, const struct sl_handed *h);
	bool (*ask_before)(void *arg, const struct sl_proxy_accepted *accepted);
	size_t n_owned;
};

/* A backend of shop/v1 that listens, and one worker's defaults. */
void rig_init(struct rig *r);
/* With the default route to shop/v1. */
void rig_start(struct rig *r);
/* Everything the test opened with rig_connect() and rig_accept() must be closed; checks leaks too.
 */
void rig_stop(struct rig *r);
/* As rig_stop() without looking for leaks. */
void rig_free(struct rig *r);

/* Another backend; refusing ones have a port that nobody listens on. */
struct rig_backend *rig_add_backend(struct rig *r, const char *service, bool refuses);
/* Dials of it neither succeed nor fail from now on. */
void rig_fill(struct rig *r, struct rig_backend *b);
enum { RIG_FAULTS_BYTES = 1024 };
#define RIG_ROUTE "{group: gateway.networking.k8s.io, kind: HTTPRoute, name: route}"
#define RIG_V1	  "{kind: Service, name: v1}"
/* A document for r->more: a FaultInjection for that target (RIG_ROUTE, RIG_V1) with these further
 * fields, in force between those numbers of seconds from now. Returns out. */
const char *rig_faults(char out[RIG_FAULTS_BYTES], const char *target, const char *fields,
		       int from_s, int to_s);
/* New snapshot with rules (YAML flow or block at column 2, NULL: to shop/v1; "": no route). */
void rig_configure(struct rig *r, const char *rules);
/* NULL when it cannot be made (allocations fail). */
struct sl_snapshot *rig_snapshot(struct rig *r, const char *rules);

/* One turn of the loop, and everything that peers and test can see is up to date. */
void rig_round(struct rig *r);
/* Turns until nothing moves any more. */
void rig_settle(struct rig *r);
/* True while a wait may go on; begin with *deadline_ns = 0. One round a call. */
bool rig_waiting(struct rig *r, uint64_t *deadline_ns);
/* Turns for that long: for what must not happen later. */
void rig_pass(struct rig *r, uint64_t ns);

void rig_connect(struct rig *r, struct rig_peer *client);
/* Another source object for the same namespace, with this address. */
void rig_move_source(struct rig *r, const char *ip);
/* Takes what is there into p->got. */
void rig_peek(struct rig_peer *p);
/* Waits for the proxy's connection. */
void rig_accept(struct rig *r, struct rig_backend *b, struct rig_peer *server);
/* False when there is none. */
bool rig_try_accept(struct rig_backend *b, struct rig_peer *server);
/* Whether the proxy has dialled it. */
bool rig_pending(struct rig *r, struct rig_backend *b);

/* All of it, with rounds while the socket takes no more. */
void rig_send(struct rig *r, struct rig_peer *p, const char *text);
void rig_send_bytes(struct rig *r, struct rig_peer *p, const void *bytes, size_t n);
/* Sends of an endless source until nobody takes more; returns how much went. */
size_t rig_flood(struct rig *r, struct rig_peer *p, size_t limit);
/* Next bytes that come are exactly these. what: for the message. */
void rig_expect_for(struct rig *r, struct rig_peer *p, const char *text, const char *what);
#define rig_expect(r, p, text) rig_expect_for(r, p, text, #p)
void rig_expect_bytes(struct rig *r, struct rig_peer *p, const void *bytes, size_t n);
/* A chunked body with this content and these trailer lines, however it was cut into chunks. */
void rig_expect_chunked(struct rig *r, struct rig_peer *p, const char *body, const char *trailers);
/* An answer of the proxy's own: "404 Not Found" and its sentence, with Connection: close or not. */
void rig_expect_own(struct rig *r, struct rig_peer *p, const char *status, const char *sentence,
		    bool closes);
/* Waits for n bytes and throws them away. */
void rig_skip(struct rig *r, struct rig_peer *p, size_t n);
/* Bytes up to and with the text; returns their number. */
size_t rig_skip_to(struct rig *r, struct rig_peer *p, const char *text);
void rig_expect_eof(struct rig *r, struct rig_peer *p);
void rig_expect_reset(struct rig *r, struct rig_peer *p);
/* The end of the connection, whatever comes before. */
void rig_drain(struct rig *r, struct rig_peer *p);
/* After settling: open, and nothing came. */
void rig_expect_silence(struct rig *r, struct rig_peer *p);
/* Client connections in the proxy come down to n. */
void rig_expect_conns(struct rig *r, size_t n);
/* The same for idle connections to backends. */
void rig_expect_idle(struct rig *r, size_t n);

void rig_shut(struct rig_peer *p); /* FIN, still reading */
void rig_reset(struct rig_peer *p);
void rig_close(struct rig_peer *p);

uint64_t rig_counter(const struct rig *r, enum sl_counter c);
uint64_t rig_gauge(const struct rig *r, enum sl_gauge g);
uint64_t rig_ended(const struct rig *r, enum sl_end_reason reason);
/* Bytes in the queues of all connections of the proxy. */
size_t rig_queued_bytes(const struct rig *r);
/* Last line of the access log. */
const char *rig_log(struct rig *r);
