/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A hop of the tests: both ends in our hands, kept as the agent has to keep its own. */
#include "datapath/hops.h"
#include "scene.h"

struct hop {
	struct sl_hops *table;
	int app, own;
	struct sl_hop_lease lease;
	bool leased;
	uint64_t taken, done;
};

/* The app connects to VIP and own is what the agent accepts for it. */
bool hop_client(struct hop *h, struct scene *s, struct sl_hops *table);
/* own connects to @backend, a listener in app_netns, whose accepted socket is the app. */
bool hop_endpoint(struct hop *h, struct scene *s, struct sl_hops *table, int listener,
		  const char *address, uint64_t app_netns);
/* One more exchange over TCP, then into the map: IN is what is checked. */
bool hop_take_in(struct hop *h);
/* Sets the state, makes a pass, returns the state after that. */
enum sl_hop_state hop_ask(struct hop *h, enum sl_hop_state question);
void hop_close(struct hop *h);

bool own_send(struct hop *h, const char *text);
bool own_recv(struct hop *h, const char *text); /* exactly this, and then EAGAIN */
bool app_send(struct hop *h, const char *text);
bool app_recv(struct hop *h, const char *text);
/* What recv says next, after waiting for it: bytes, 0 or -errno. */
ssize_t recv_next(int fd, void *buf, size_t n);

/* dp_splice_ends.c: how hops end */
void test_splice_ends(struct scene *s, struct sl_hops *table);
