/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The scene of the datapath tests: one pod, the agent's listeners in it, a backend that a failing
 * connection is balanced to, a server that holds a virtual address itself, and a plan.
 */
#include "bed.h"

#define VIP	   "10.96.0.1:80"
#define VIP_B	   "10.96.0.2:80"
#define VIP6	   "[fd00:96::1]:80"
#define VIP_CLOSED "10.96.0.3:80"
#define VIP_EMPTY  "10.96.0.4:80" /* no endpoint */
#define VIP6_EMPTY "[fd00:96::4]:80"
#define HELD	   VIP_HELD ":80" /* routed too; HELD_PLAIN is the same server without rules */
#define HELD_PLAIN VIP_HELD ":81"
#define BACKEND	   POD4 ":8080"
#define BACKEND6   "[" POD6 "]:8080"
#define PORT	   "15001"

struct scene {
	struct bed bed;
	struct sl_datapath *dp;
	struct sl_datapath_opts opts;
	int agent4, agent6, backend, backend6, held, plain; /* listeners */
	uint64_t before[SL_REASON_MAX];
};

extern struct sl_plan scene_plan;

/* Copies of these, in place of what the plan has. */
void plan_set(struct sl_plan *plan, const struct sl_plan_service *services, uint32_t n);

/* A split with two shares of one endpoint each (NULL: of none), in place of what the plan has. */
void split_add_of(struct sl_plan *plan, uint16_t protocol, const char *vip, uint32_t weight_a,
		  const char *a, uint32_t weight_b, const char *b);
/* Of UDP. */
void split_add(struct sl_plan *plan, const char *vip, uint32_t weight_a, const char *a,
	       uint32_t weight_b, const char *b);

void scene_init(struct scene *s);
void scene_open(struct scene *s);   /* sl_datapath_open(), or a bail-out */
void scene_listen(struct scene *s); /* the agent's listeners, marked and published */
void scene_deinit(struct scene *s);

/* Counters: mark, act, then how much one has grown. */
void count_mark(struct scene *s);
uint64_t counted(struct scene *s, enum sl_reason reason);

/* The client's connection must have come to the agent, meant for @vip, and look as if it had gone
 * there; @local is what getsockname must say (port 0: any). Returns the accepted socket or -1. */
int expect_steered(struct scene *s, int client, int listener, const char *vip, const char *local);
/* The client must have reached another listener, and believe that its peer is @peer. */
void expect_reached(struct scene *s, int client, int listener, const char *peer);

/* Can the kernel's programs say ECONNREFUSED? */
bool has_set_retval(struct scene *s);

void test_steering(struct scene *s);   /* dp_steer.c */
void test_left_alone(struct scene *s); /* dp_alone.c */
void test_failure(struct scene *s);    /* dp_failure.c */
void test_short(struct scene *s);      /* dp_short.c */
void test_splice(struct scene *s);     /* dp_splice.c */
void test_udp(struct scene *s);	       /* dp_udp.c */
void test_tcp(struct scene *s);	       /* dp_tcp.c */
void test_flows(struct scene *s);      /* dp_flows.c */
void test_life(struct scene *s);       /* dp_life.c */

/* dp_big.c: @n connections at a time, from several network namespaces, in place of the others. */
void test_big(struct scene *s, int n);
