/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What facts.bpf.c and the facts share. Both compile it: <linux/types.h> alone. */
#include <linux/types.h>

/* What becomes of a socket's sends. */
enum facts_mode {
	FACTS_PASS,	/* plain TCP */
	FACTS_REDIRECT, /* to the peer; plain TCP when it is not in the map */
	FACTS_STRICT,	/* to the peer; what the helper says is the verdict */
};

/* Storage on both ends of a pair. Keys are socket cookies. */
struct facts_end {
	__u64 self;
	__u64 peer;
	__u64 peer_sock; /* address of the peer's struct sock, 0: not known */
	__u32 mode;
	__u32 pad;
};

/* A socket as a program sees it. */
struct facts_view {
	__u64 sock; /* address */
	__u64 cookie;
	__u64 netns;
	__u64 bytes_acked;
	__u32 runs;
	__u32 has_storage;
	__u32 file_flags;
	__u32 zerocopy;
	__u32 rcvlowat;
	__u32 has_ulp;
	__u32 urg_data;
	__s32 peek_off;
	__u32 rcv_nxt, copied_seq;
	__u32 snd_una, snd_nxt, write_seq;
	__u32 has_psock;
	__u32 psock_queued;    /* the list is not empty */
	__u32 psock_len_known; /* the kernel counts its bytes */
	__u32 psock_len;
	__u32 pad;
};

enum facts_op {
	FACTS_LOOK,
	FACTS_INSERT,
	FACTS_DELETE,
};

/* One element, mapped by the test. */
struct facts_shared {
	__u64 target; /* cookie that iterators look for */
	__u32 from_iter_found;
	__s32 from_iter_error;
	__u64 n_msg, n_redirected, n_passed, n_no_peer;
	__u64 bytes_redirected;
	__u64 n_peer_locked;
	__u64 n_splice_read;
	struct facts_view msg, iter;
};
