/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Test bed of the kernel tests: a scratch cgroup, a bpf file system and network namespaces of its
 * own, sockets made in them, and TAP on stdout. One process plays pod, agent and backend: a socket
 * belongs to the network namespace and to the cgroup that the process was in when it made it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include "datapath/datapath.h"

struct bed {
	char cgroup[256];  /* scratch; hooks attach here */
	char outside[256]; /* where the process came from */
	char bpffs[256];   /* mount point */
	char pins[300];	   /* folder below it */
	uint64_t cgroup_id;
	int home, pod;	 /* network namespaces */
	uint64_t cookie; /* of pod */
};

#define POD4	 "10.50.0.2"
#define POD6	 "fd00:50::2"
#define VIP_HELD "10.96.0.99" /* an address of the pod: whoever serves VIPs without us */

/* TAP. */
void test_begin(const char *name);
void check(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int test_finish(void); /* exit status */

/* Exits with a TAP bail-out on failure: nothing could be tested. */
void bed_init(struct bed *b);
void bed_move(const struct bed *b, bool inside); /* this process, in or out of the scratch cgroup */
void bed_enter(int netns);
/* Another, empty scratch cgroup below the first one. */
void bed_cgroup(const struct bed *b, const char *name, char out[300]);
int bed_netns_new(void); /* a descriptor; with lo up, and nothing else; is entered */
/* Another one that the pod reaches: addresses of both ends of the link. Once. */
int bed_netns_beside(const struct bed *b, const char *here, const char *there);
/* In the network namespace at hand: a veth pair, its other end in @netns (-1: here too). */
void bed_veth(const char *name, const char *other, int netns);
void bed_up(const char *name);
void bed_address(const char *device, const char *text, int prefix);

/* Sockets in the network namespace at hand. Addresses as text with port: "10.0.0.1:80", "[::1]:1".
 */
struct sl_addr addr(const char *text);
int sock(int family, int type);
int sock_bind(int fd, const char *at); /* 0 or -errno */
int sock_connect(int fd, const char *to);
/* From an AF_INET6 socket to ::ffff:a.b.c.d. */
int sock_connect_mapped(int fd, const char *to);
int sock_listen(const char *at);
int sock_accept(int listener);			   /* waits 5 s at most; -1: nobody came */
bool sock_pending(int listener);		   /* is somebody waiting now? */
bool sock_is(int fd, bool peer, const char *want); /* getpeername or getsockname */
bool sock_talk(int a, int b);			   /* bytes both ways */
void sock_close(int *fd);
