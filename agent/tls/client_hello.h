/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a TLS client says first, as far as a passer-by needs it: the name of the server that it
 * wants (SNI, RFC 6066 section 3). Reads, keeps and changes nothing; what the message says of keys,
 * versions and ciphers is the business of its two ends. With Encrypted Client Hello the name is
 * that of the outer message. Sans-I/O. Thread: any. Never allocates.
 */
#include <stddef.h>
#include "base/str.h"

enum sl_client_hello_result {
	SL_CLIENT_HELLO_DONE,
	SL_CLIENT_HELLO_MORE,	 /* call again with need bytes at least */
	SL_CLIENT_HELLO_NOT_TLS, /* does not begin with a handshake record */
	SL_CLIENT_HELLO_BAD,	 /* malformed, or over a limit */
};

/* Of the message, and of the bytes that carry it: a record for each byte has five of its own. */
enum { SL_CLIENT_HELLO_MAX_BYTES = 16384, SL_CLIENT_HELLO_MAX_WIRE_BYTES = 32768 };

struct sl_client_hello {
	size_t need;	    /* MORE: more than there are */
	struct sl_str name; /* DONE: into text; empty when the client names no server */
	/* A host name in lower case: letters, digits, "-" and "_" in parts that are not empty. */
	char text[256];
};

/* p: the first n bytes of the connection. */
enum sl_client_hello_result sl_client_hello_parse(const char *p, size_t n,
						  struct sl_client_hello *ret);

/* Descriptions of alerts (RFC 8446 section 6). */
enum { SL_ALERT_DECODE_ERROR = 50, SL_ALERT_UNRECOGNIZED_NAME = 112 };
/* The record that refuses the client, as every version reads it. */
enum { SL_ALERT_BYTES = 7 };
void sl_alert_write(unsigned char description, char out[SL_ALERT_BYTES]);
