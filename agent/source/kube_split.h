/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Cuts what the API server sends into single objects while it arrives, so that a list of any length
 * costs the memory of its largest object. Only brackets, quotes and the names of the outermost
 * object are looked at; whether a piece is JSON is its decoder's to say. Sans-I/O.
 *
 *   list    {"kind":..., "metadata":{...}, "items":[OBJECT, OBJECT, ...]}
 *   watch   EVENT EVENT ...   (any white space between)
 *
 * A piece over the limit is skipped and counted, the others go on. Thread: one at a time.
 */
#include "base/buf.h"

enum sl_kube_piece {
	SL_KUBE_PIECE_ITEM,	/* an element of items, or an event */
	SL_KUBE_PIECE_METADATA, /* of the list itself */
};

/* text is borrowed during the call. 0, or -errno, which ends the splitting. */
typedef int (*sl_kube_piece_fn)(void *arg, enum sl_kube_piece piece, struct sl_str text);

struct sl_kube_split {
	bool is_list;
	sl_kube_piece_fn fn;
	void *arg;
	uint64_t n_too_long;

	/* Private. */
	struct sl_buf piece; /* what there is of the piece that is not whole */
	unsigned depth;	     /* open brackets */
	unsigned base;	     /* depth at which pieces begin: 0 of a watch, 1 or 2 of a list */
	bool in_string, escaped, wants_key, in_piece, skipping, ended;
	enum sl_kube_piece kind;
	char key[16]; /* the last name of the outermost object, cut short */
	size_t key_len;
};

/* limit_bytes: of one piece. */
void sl_kube_split_init(struct sl_kube_split *s, bool is_list, size_t limit_bytes,
			sl_kube_piece_fn fn, void *arg);
void sl_kube_split_deinit(struct sl_kube_split *s);
/* The next bytes. Returns 0, -EBADMSG (no JSON of this form; more is not to be fed), -ENOMEM, or
 * what fn returned. */
int sl_kube_split_feed(struct sl_kube_split *s, struct sl_str bytes);
/* No more bytes come. Returns 0 or -EBADMSG: it ended in the middle of something. */
int sl_kube_split_end(const struct sl_kube_split *s);
