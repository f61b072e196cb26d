/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A client's and a server's session joined by two byte queues. The server's streams answer when the
 * test says so; both ends collect what they get. For unit tests and the fuzz target.
 */
#include "http/h2.h"

enum { H2_PAIR_STREAMS = 64 };

struct h2_end_stream {
	struct sl_h2_stream h2; /* first: events find it so */
	struct sl_arena arena;
	struct sl_request req;
	struct sl_headers trailers;
	unsigned n_news;
	bool used;
};

struct h2_end {
	struct sl_h2 *session;
	struct sl_buf out;
	struct h2_end_stream streams[H2_PAIR_STREAMS];
	unsigned n_streams;
	bool refuses, tight;
	int error; /* of sl_h2_recv() or sl_h2_send() */
};

struct h2_pair {
	struct h2_end client, server;
	struct sl_h2_limits limits;
	uint64_t now_ns;
};

/* Returns 0 or -ENOMEM; h2_pair_deinit() in any case. */
int h2_pair_init(struct h2_pair *p);
void h2_pair_deinit(struct h2_pair *p);
/* Bytes both ways until nothing moves. */
void h2_pair_run(struct h2_pair *p);
/* A stream of the client's, not yet asked with. */
struct h2_end_stream *h2_pair_stream(struct h2_pair *p);
/* Bytes for one end, in pieces as seed says; whatever it answers is thrown away. */
void h2_end_feed(struct h2_end *e, uint64_t now_ns, const uint8_t *p, size_t n, unsigned seed);
