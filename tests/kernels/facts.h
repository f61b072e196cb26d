/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Facts about the kernel that splicing leans on, or has to avoid. Each is a function that runs in a
 * process of its own, in a network namespace of its own, and either comes back, or says what was
 * otherwise. A fact whose truth differs between kernels answers with a word instead.
 */
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "facts_abi.h"

struct fact {
	const char *claim;   /* a sentence; a question when @answers */
	const char *answers; /* NULL: always true; else the words that are known, "yes|no" */
	void (*test)(void);
};

/* Tables; each ends with an empty entry. */
extern const struct fact facts_queue[];	 /* facts_queue.c: which bytes are read when */
extern const struct fact facts_wake[];	 /* facts_wake.c: epoll, poll, blocking calls */
extern const struct fact facts_map[];	 /* facts_map.c: in and out of the map */
extern const struct fact facts_iter[];	 /* facts_iter.c: iterators, what programs see */
extern const struct fact facts_calls[];	 /* facts_calls.c: other system calls */
extern const struct fact facts_ends[];	 /* facts_ends.c: FIN, RST, kill, namespaces */
extern const struct fact facts_lock[];	 /* facts_lock.c: who waits for whom */
extern const struct fact facts_trace[];	 /* facts_trace.c: who calls splice(2) */
extern const struct fact facts_memory[]; /* facts_memory.c: who pays */

#define SOON 5000 /* ms for what will come: a loaded machine is no fault */

/* In a test. The first that fails ends it. */
void expect(bool good, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void answer(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* a TAP comment */
/* Ends the test: the kernel refuses a program of this kind. A failure, but with --old. */
void needs(const char *what) __attribute__((noreturn));
/* Ends the test: the kernel, or this machine, has not got what it is about. */
void lacks(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A connection; both ends are non-blocking. "app" is the application's, "own" the agent's. */
struct pair {
	int app, own;
	int there; /* network namespace of own, of pair_new_veth() */
	uint64_t app_key, own_key;
};

void pair_new(struct pair *p);	    /* over loopback */
void pair_new_veth(struct pair *p); /* own in another namespace; this one stays entered */
void pair_close(struct pair *p);
void pair_put(struct pair *p, enum facts_mode app, enum facts_mode own); /* both into the map */
void pair_spliced(struct pair *p); /* new, put, both redirect */
void end_mode(int fd, uint64_t key, uint64_t peer, enum facts_mode mode);
int end_put(int fd, uint64_t key); /* 0 or -errno */
int end_drop(uint64_t key);
uint64_t cookie_of(int fd);

/* Sends all of @text, or fails the test. */
void say(int fd, const char *text);
/* The next recv gives exactly @text. */
void hear(int fd, const char *text);
/* Within @ms all of @text comes, in pieces of any size. */
void hear_all(int fd, const char *text, int ms);
/* The next recv fails with @error (0: it says end of file). */
void hear_error(int fd, int error);
/* @n bytes of a pattern that depends on their place in the stream, from place @at. */
void say_bytes(int fd, size_t at, size_t n);
void hear_bytes(int fd, size_t at, size_t n, int ms);
bool readable(int fd, int ms);
short events_of(int fd, int ms); /* poll() */
void set_blocking(int fd);
/* Waits until @ready says yes, 5 s at most. */
bool until(bool (*ready)(void *), void *arg);

/* recv() in a thread. */
struct reader {
	int fd, flags;
	char buf[64];
	size_t len;
	ssize_t got;
	int error;
	pid_t tid;
	bool done;
	unsigned long thread;
};

void reader_start(struct reader *r, int fd, size_t len, int flags); /* back when it sleeps */
/* The number of the system call in which this thread of ours sleeps, or -1. */
int thread_sleeps_in(pid_t tid);
bool reader_ended(struct reader *r, int ms);

extern bool alone; /* --alone */

/* Programs. */
extern struct facts_shared *seen;
extern int socks_fd, foreign_fd, bare_fd, ends_fd;
bool iter_run(enum facts_op op, uint64_t key); /* false: this kernel refuses the program */
bool iter_storage(uint64_t key);
bool msg_netns(void);	       /* put the program that reads the namespace's cookie into foreign */
bool foreign_attach(void);     /* a program of somebody else */
int trace_attach(bool fentry); /* 0, or why not: -errno */
void netns_fresh(void);
