/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What two processes of sluiced say to each other when one takes over from the other
 * (docs/architecture/upgrade.md). Bytes in, structs out: no sockets here.
 *
 * The stream is frames: a length, a type, a number of descriptors, then fields of tag, length and
 * value. All numbers are little-endian. A field that is not known is skipped and one that is
 * missing is zero, so either side may be older: a new field needs no new version. A frame of an
 * unknown type is skipped too. SL_WIRE_VERSION is raised when an old process would do harm by not
 * knowing something; both sides say the oldest version that they can deal with.
 *
 * The peer is another build of this program with the same privileges, but its bytes are checked as
 * anybody's.
 */
#include "base/buf.h"
#include "proxy/handover.h"

#define SL_WIRE_VERSION	      2
#define SL_WIRE_MIN_VERSION   1
#define SL_WIRE_VERSION_YOURS 2 /* the first that says it */

enum {
	SL_WIRE_HEADER_BYTES = 8,
	SL_WIRE_MAX_BYTES = 64 << 20, /* of one frame's fields */
	SL_WIRE_MAX_FDS = 32,	      /* of one frame */
};

/* Types of frames; the numbers are for ever. */
enum sl_wire_type {
	SL_WIRE_HELLO = 1,     /* new, then old: struct sl_wire_hello */
	SL_WIRE_REFUSE = 2,    /* either: struct sl_wire_text says why; all ends */
	SL_WIRE_SOURCE = 3,    /* old: struct sl_wire_source, its listeners */
	SL_WIRE_SOCKET = 4,    /* old: struct sl_wire_socket, a listener of the agent's own */
	SL_WIRE_OFFERED = 5,   /* old: that was all */
	SL_WIRE_PREPARED = 6,  /* new: it could serve at once */
	SL_WIRE_GO = 7,	       /* old: the kernel's maps are yours; the lock of the pins */
	SL_WIRE_ACTIVE = 8,    /* new: the kernel's maps and programs are its */
	SL_WIRE_HANDED = 9,    /* old: struct sl_handed, its sockets */
	SL_WIRE_HAS = 10,      /* new: struct sl_wire_id; from now on the connection is its */
	SL_WIRE_ACCEPTED = 11, /* new: struct sl_wire_accepted, a connection of the old one's */
	SL_WIRE_BYE = 12,      /* old: it has nothing left, and exits */
	SL_WIRE_YOURS = 13,    /* old, from version 2 on: it accepts no more */
};

struct sl_wire_hello {
	uint32_t version, min_version; /* of the protocol */
	uint32_t abi;		       /* SL_ABI_VERSION */
	uint64_t pins_dev, pins_ino;   /* which folder of pins */
	struct sl_str software;	       /* version, for people */
};

struct sl_wire_text {
	struct sl_str text;
};

struct sl_wire_source {
	uint64_t cookie;
	uint16_t port4, port6, n_addr4; /* as struct sl_netns_entry has them */
	struct sl_str name;		/* for people */
};

enum sl_wire_socket_kind {
	SL_WIRE_SOCKET_ADMIN = 1,
	SL_WIRE_SOCKET_METRICS = 2,
	SL_WIRE_SOCKET_HANDOVER = 3,
};

struct sl_wire_socket {
	uint16_t kind;
	struct sl_str path;  /* of ADMIN and HANDOVER */
	struct sl_addr addr; /* of METRICS */
};

struct sl_wire_id {
	uint64_t id;
};

struct sl_wire_accepted {
	uint64_t source; /* cookie */
	struct sl_addr peer;
};

/* ---- writing ---- */

/* A frame under construction. Errors stick: look at the end. */
struct sl_wire_out {
	struct sl_buf buf;
	int error; /* 0 or -ENOMEM */
};

void sl_wire_put_hello(struct sl_wire_out *o, const struct sl_wire_hello *m);
void sl_wire_put_text(struct sl_wire_out *o, enum sl_wire_type type, const char *text);
void sl_wire_put_source(struct sl_wire_out *o, const struct sl_wire_source *m, unsigned n_fds);
void sl_wire_put_socket(struct sl_wire_out *o, const struct sl_wire_socket *m);
void sl_wire_put_id(struct sl_wire_out *o, const struct sl_wire_id *m);
void sl_wire_put_accepted(struct sl_wire_out *o, const struct sl_wire_accepted *m);
/* The descriptors travel beside it, in the order of sl_wire_handed_fds(). */
void sl_wire_put_handed(struct sl_wire_out *o, const struct sl_handed *m);
/* A frame without fields. */
void sl_wire_put_bare(struct sl_wire_out *o, enum sl_wire_type type, unsigned n_fds);

/* Returns how many, in the order in which they travel. */
unsigned sl_wire_handed_fds(const struct sl_handed *m, int ret[2]);

/* ---- reading ---- */

struct sl_wire_frame {
	uint16_t type;
	uint16_t n_fds;
	struct sl_str body; /* borrowed from the bytes given */
};

/* The frame at the start of bytes. Returns its length with all of it, 0 when there is not all of it
 * yet, or -EBADMSG. */
ssize_t sl_wire_parse(struct sl_str bytes, struct sl_wire_frame *ret);

/* Each fills *ret from a frame of its type; text is borrowed from the frame. Returns 0 or
 * -EBADMSG. */
int sl_wire_get_hello(const struct sl_wire_frame *f, struct sl_wire_hello *ret);
int sl_wire_get_text(const struct sl_wire_frame *f, struct sl_wire_text *ret);
int sl_wire_get_source(const struct sl_wire_frame *f, struct sl_wire_source *ret);
int sl_wire_get_socket(const struct sl_wire_frame *f, struct sl_wire_socket *ret);
int sl_wire_get_id(const struct sl_wire_frame *f, struct sl_wire_id *ret);
int sl_wire_get_accepted(const struct sl_wire_frame *f, struct sl_wire_accepted *ret);
/* fds: the frame's, n_fds of them; *ret has them where they belong. */
int sl_wire_get_handed(const struct sl_wire_frame *f, const int *fds, struct sl_handed *ret);
