/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Many clients and servers in one process, in two network namespaces, with the mesh between them.
 * What each connection does follows from the seed and its number alone (plan.c), so both ends know
 * which bytes must arrive; each byte is compared. io.c has the many ways to read and write a
 * socket.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- random numbers ---- */

struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *r);
/* 0..n-1, n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
bool rng_percent(struct rng *r, unsigned percent);
/* From a few bytes to max, each order of magnitude as likely as the next; often 0. */
uint64_t rng_size(struct rng *r, uint64_t max);
/* A generator of its own for each use of a seed. */
struct rng rng_from(uint64_t seed, uint64_t a, uint64_t b);

/* ---- bodies ---- */

enum { PATTERN_PRIME = 65521, PATTERN_BYTES = PATTERN_PRIME * 17 };

/* Bytes that repeat after a prime number, so that a stretch that moved differs; shift tells streams
 * apart. pattern_fd holds the same bytes as pattern. */
extern uint8_t pattern[PATTERN_BYTES];
extern int pattern_fd;
void pattern_init(void);
/* Where byte offset of a stream is in pattern; at least a megabyte follows. */
size_t pattern_at(uint64_t shift, uint64_t offset);

/* ---- ways to use a socket ---- */

#define IO_MODES(X)                                                                             \
	X(EPOLL, "epoll")                                                                       \
	X(EPOLLET, "epollet")                                                                   \
	X(ETSHORT, "etshort")                                                                   \
	X(POLL, "poll")                                                                         \
	X(BLOCK, "block")                                                                       \
	X(URING, "uring") X(SPLICE, "splice") X(SENDFILE, "sendfile") X(ZEROCOPY, "zerocopy")   \
		X(PEEK, "peek") X(WAITALL, "waitall") X(LOWAT, "lowat") X(FIONREAD, "fionread") \
			X(MMSG, "mmsg") X(IOV, "iov") X(DUP, "dup") X(INFO, "info")             \
				X(TINY, "tiny")

enum io_mode {
#define X(name, text) IO_##name,
	IO_MODES(X)
#undef X
		IO_N_MODES,
};

extern const char *const io_mode_names[IO_N_MODES];
/* IO_N_MODES if there is none. */
enum io_mode io_mode_from(const char *name);

/* The socket is not O_NONBLOCK then. */
bool io_blocks(enum io_mode m);

struct uring;
struct live;

struct io {
	int fd, epfd, pipe[2];
	enum io_mode mode;
	struct uring *ring;
	struct rng rng;
	struct live *live;
	bool can_read, can_write, hangup;
	int pending; /* an error that a look at the socket took away */
	unsigned n_naps;
	uint32_t n_zerocopy, n_zerocopy_done;
	uint64_t n_in, n_out;
	const char *broken; /* a call did what it must not do */
};

/* Takes fd. Returns 0 or -errno. */
int io_open(struct io *io, int fd, enum io_mode mode, struct rng *rng, struct live *live);
/* A second handle on the same connection, for another thread. */
int io_twin(const struct io *io, struct io *ret);
/* From now on by other calls. */
int io_change(struct io *io, enum io_mode mode);
/* Waits until there is something; want: how much comes for certain. Returns bytes, 0 at the end,
 * -errno; -ETIMEDOUT beyond the deadline. */
ssize_t io_recv(struct io *io, void *buf, size_t max, size_t want);
/* Everything, or -errno. */
int io_send(struct io *io, const void *buf, size_t n, bool more);
int io_send_pattern(struct io *io, uint64_t shift, uint64_t offset, size_t n);
/* 0 once nothing of ours is in the kernel any more that waits for a completion. */
int io_settle(struct io *io);
void io_shutdown(struct io *io);
void io_close(struct io *io, bool reset);
/* A reset that a twin does not hold up. */
void io_disconnect(struct io *io);
/* Milliseconds until a wait counts as a hang. */
extern unsigned deadline_ms;

/* io_uring without its library. */
struct uring *uring_open(void);
void uring_close(struct uring *u);
/* recv or send, by chance as read or write. Returns as these do, -errno. */
ssize_t uring_recv(struct uring *u, int fd, void *buf, size_t n, bool as_read);
ssize_t uring_send(struct uring *u, int fd, const void *buf, size_t n, bool as_write);

/* ---- the plan ---- */

enum { MAX_STEPS = 64, MAX_ROUNDS = 12 };

enum framing { NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE };

enum fault {
	FAULT_NONE,
	CLIENT_RESETS_IN_REQUEST,
	CLIENT_RESETS_IN_ANSWER,
	CLIENT_CLOSES_IN_ANSWER, /* with bytes unread */
	SERVER_RESETS_AT_REQUEST,
	SERVER_RESETS_IN_ANSWER,
	SERVER_CLOSES_IN_ANSWER,
	SERVER_ANSWERS_EARLY, /* and the client stops to send then */
};

struct step {
	const char *method;
	enum framing up, down;
	uint64_t up_bytes, down_bytes, cut; /* cut: where a fault strikes */
	bool expect, no_content, server_closes, piped, half_close, urgent;
	unsigned n_interim;
	enum fault fault;
	unsigned client_pause_us, server_pause_us;
	unsigned up_piece, down_piece; /* sizes of writes, at most */
};

enum kind { KIND_HTTP, KIND_UPGRADE, KIND_RAW, KIND_SERVER_FIRST, N_KINDS };
enum ending { END_CLOSE, END_HALF_CLOSE, END_SAY_CLOSE, END_RESET, END_LINGER };

struct tunnel {
	unsigned n_rounds;
	uint64_t up[MAX_ROUNDS], down[MAX_ROUNDS]; /* one after the other */
	uint64_t up_last, down_last;		   /* at the same time */
	bool client_resets, server_resets;
	uint64_t cut; /* of what the one that resets reads in the last part */
	unsigned piece, pause_us;
};

struct plan {
	uint64_t id;
	enum kind kind;
	enum ending ending;
	bool v6;
	enum io_mode client_mode;
	unsigned n_steps;
	struct step steps[MAX_STEPS];
	struct tunnel tunnel;
};

void plan_make(struct plan *p, uint64_t id);
/* A way to use a socket, of those that the options leave. */
enum io_mode plan_mode(struct rng *r);
/* Another way for a socket that is in use; false: it stays as it is. */
bool plan_change(struct rng *r, enum io_mode *ret);
/* The stream of a step, up or down. */
uint64_t plan_shift(uint64_t id, unsigned step, bool down);

/* ---- what runs ---- */

/* What the server does once that nobody planned, to see that it is found. */
enum sabotage { SABOTAGE_NONE, SABOTAGE_BYTE, SABOTAGE_STALL, SABOTAGE_RESET };

struct options {
	const char *seed_text;
	uint64_t seed;
	unsigned clients;
	uint64_t conns; /* how many, 0: until the time is over */
	int64_t only;	/* this connection alone, else -1 */
	double seconds;
	uint64_t max_body;
	unsigned max_steps;
	unsigned urgent_percent; /* of requests behind a byte of urgent data */
	bool faults, change_modes;
	bool tame; /* no socket turns to what a redirect cannot carry while it lives */
	enum io_mode client_mode, server_mode; /* IO_N_MODES: any */
	bool without[IO_N_MODES];
	int kind; /* -1: any */
	enum sabotage sabotage;
	const char *server_netns, *backend[2], *vip[2];
	unsigned port[3], backend_port[3]; /* HTTP, unknown protocol, server first */
};
extern struct options opts;

/* A connection's client and its servers, for the watchdog and for each other. */
struct live {
	_Atomic uint64_t id; /* UINT64_MAX: nobody */
	_Atomic unsigned step;
	_Atomic uint64_t progress_ms;
	_Atomic bool client_fault, server_fault;
	_Atomic(const char *) client_phase, server_phase;
	_Atomic uint8_t arrived[MAX_STEPS];
	enum io_mode client_mode, server_mode;
};
/* NULL if that connection is not running. */
struct live *live_of(uint64_t id);
uint64_t now_ms(void);
static inline void live_progress(struct live *l)
{
	if (l)
		atomic_store(&l->progress_ms, now_ms());
}

enum counter {
	STAT_CONNS,
	STAT_EXCHANGES,
	STAT_TUNNELS,
	STAT_FAULTS,
	STAT_BYTES_UP,
	STAT_BYTES_DOWN,
	N_STATS
};
extern _Atomic uint64_t stats[N_STATS];
extern _Atomic unsigned n_failures;
extern _Atomic uint64_t client_fault_ms; /* when a client last went on purpose */
extern _Atomic bool stopping;		 /* the time is over: no further requests */
void complain(const struct live *l, const char *side, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

void client_run(const struct plan *p, struct live *l);
/* Threads of their own, for ever. */
int server_start(void);

/* ---- messages ---- */

struct wire {
	struct io io;
	const char *side;
	uint8_t buf[16384];
	size_t pos, len;
	bool eof;
	int error;
};

enum { HEAD_BYTES = 4096 };

/* A line with its end. Returns 0, -errno, -ENODATA at the end. */
int wire_line(struct wire *w, char *line, size_t n);
/* The next head, ended by NUL. Returns 0, -errno, or -ENODATA at the end with nothing in front. */
int wire_head(struct wire *w, char head[HEAD_BYTES]);
/* Value of a field, or "". */
void head_field(const char *head, const char *name, char *ret, size_t n);
/* Reads and compares a body up to limit bytes. Returns the bytes that were right; *ret_err 0 if
 * whole (or at the limit), else -errno, -ENODATA for an end too early, -EBADMSG for other bytes. */
uint64_t wire_body(struct wire *w, enum framing f, uint64_t bytes, uint64_t shift, uint64_t limit,
		   unsigned pause_us, int *ret_err);
/* Exactly n bytes of a stream, from an offset on. */
uint64_t wire_stream(struct wire *w, uint64_t shift, uint64_t offset, uint64_t n, unsigned pause_us,
		     int *ret_err);
/* n pattern bytes up to a cut, in pieces, framed. Without an end if cut < n. */
int send_body(struct io *io, enum framing f, uint64_t shift, uint64_t n, uint64_t cut,
	      unsigned piece, unsigned pause_us);
int send_stream(struct io *io, uint64_t shift, uint64_t offset, uint64_t n, unsigned piece,
		unsigned pause_us);
/* Nothing follows but the end. Returns 0, -EBADMSG (bytes came), -errno. */
int wire_end(struct wire *w);
/* Now and then a pause, at most a few in each message. */
void io_nap(struct io *io, unsigned max_us);

/* Both sides of a tunnel; l->client_fault and server_fault say what may go wrong. */
void tunnel_run(struct wire *w, const struct plan *p, struct live *l, bool client);
