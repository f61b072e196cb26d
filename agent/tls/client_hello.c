/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/client_hello.h"

enum {
	RECORD_HEADER_BYTES = 5,
	RECORD_MAX_BYTES = 16384, /* of a plaintext (RFC 8446 section 5.1) */
	CONTENT_HANDSHAKE = 22,
	CONTENT_ALERT = 21,
	ALERT_FATAL = 2,
	MESSAGE_CLIENT_HELLO = 1,
	EXTENSION_SERVER_NAME = 0,
	NAME_HOST = 0,
	RANDOM_BYTES = 32,
	SESSION_ID_MAX_BYTES = 32,
};

/* The handshake's bytes, out of one record after another. The first thing that is wrong sticks. */
struct reader {
	const unsigned char *p;
	size_t n, pos;
	size_t record_left;
	size_t message_left; /* of the ClientHello, once its length is known */
	size_t need;
	enum sl_client_hello_result result;
};

static bool fail(struct reader *r, enum sl_client_hello_result why)
{
	if (r->result == SL_CLIENT_HELLO_DONE)
		r->result = why;
	return false;
}

static bool want(struct reader *r, size_t n)
{
	if (n > SL_CLIENT_HELLO_MAX_WIRE_BYTES)
		return fail(r, SL_CLIENT_HELLO_BAD);
	if (n <= r->n)
		return true;
	r->need = n;
	return fail(r, SL_CLIENT_HELLO_MORE);
}

static bool next_record(struct reader *r)
{
	const unsigned char *h = r->p + r->pos;
	enum sl_client_hello_result wrong = r->pos ? SL_CLIENT_HELLO_BAD : SL_CLIENT_HELLO_NOT_TLS;
	size_t len;

	/* What is there tells early enough that it is something else. */
	if ((r->n > r->pos && h[0] != CONTENT_HANDSHAKE) || (r->n > r->pos + 1 && h[1] != 3))
		return fail(r, wrong);
	if (!want(r, r->pos + RECORD_HEADER_BYTES))
		return false;
	len = (size_t)h[3] << 8 | h[4];
	if (!len || len > RECORD_MAX_BYTES)
		return fail(r, wrong);
	r->pos += RECORD_HEADER_BYTES;
	r->record_left = len;
	return true;
}

/* out: NULL to pass over them. */
static bool take(struct reader *r, size_t n, unsigned char *out)
{
	if (r->result != SL_CLIENT_HELLO_DONE)
		return false;
	if (n > r->message_left)
		return fail(r, SL_CLIENT_HELLO_BAD);
	r->message_left -= n;
	while (n) {
		size_t chunk;

		if (!r->record_left && !next_record(r))
			return false;
		chunk = n < r->record_left ? n : r->record_left;
		if (!want(r, r->pos + chunk))
			return false;
		if (out) {
			memcpy(out, r->p + r->pos, chunk);
			out += chunk;
		}
		r->pos += chunk;
		r->record_left -= chunk;
		n -= chunk;
	}
	return true;
}

/* A number of that many bytes; 0 after a failure. */
static size_t number(struct reader *r, size_t bytes)
{
	unsigned char b[3] = {0};
	size_t v = 0;

	if (!take(r, bytes, b))
		return 0;
	for (size_t i = 0; i < bytes; i++)
		v = v << 8 | b[i];
	return v;
}

/* A vector whose length is a number of that many bytes. */
static void skip_vector(struct reader *r, size_t bytes, size_t min, size_t max)
{
	size_t n = number(r, bytes);

	if (n < min || n > max)
		(void)fail(r, SL_CLIENT_HELLO_BAD); /* r->result tells */
	(void)take(r, n, NULL);
}

/* Lower case in place. A name that is none could mean another one to whoever reads it next. */
static bool is_host_name(char *s, size_t n)
{
	char before = '.';

	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c >= 'A' && c <= 'Z')
			c = s[i] = (char)(c + 32);
		if (c == '.' ? before == '.'
			     : !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
				 c == '_'))
			return false;
		before = c;
	}
	return before != '.';
}

/* One list with one host name: other types of names were never defined, and two are not allowed. */
static void read_server_name(struct reader *r, size_t len, struct sl_client_hello *ret)
{
	size_t list, n;

	if (ret->name.len || len < 5) {
		(void)fail(r, SL_CLIENT_HELLO_BAD); /* r->result tells */
		return;
	}
	list = number(r, 2);
	if (number(r, 1) != NAME_HOST || list != len - 2)
		(void)fail(r, SL_CLIENT_HELLO_BAD);
	n = number(r, 2);
	if (n != len - 5 || !n || n >= sizeof(ret->text))
		(void)fail(r, SL_CLIENT_HELLO_BAD);
	if (!take(r, n, (unsigned char *)ret->text))
		return;
	if (!is_host_name(ret->text, n))
		(void)fail(r, SL_CLIENT_HELLO_BAD);
	ret->name = (struct sl_str){ret->text, n};
}

static void read_extensions(struct reader *r, struct sl_client_hello *ret)
{
	if (!r->message_left)
		return; /* before TLS 1.3 there may be none */
	if (number(r, 2) != r->message_left)
		(void)fail(r, SL_CLIENT_HELLO_BAD);
	while (r->result == SL_CLIENT_HELLO_DONE && r->message_left) {
		size_t type = number(r, 2), len = number(r, 2);

		if (len > r->message_left)
			(void)fail(r, SL_CLIENT_HELLO_BAD);
		else if (type == EXTENSION_SERVER_NAME)
			read_server_name(r, len, ret);
		else
			(void)take(r, len, NULL);
	}
}

static void read_message(struct reader *r, struct sl_client_hello *ret)
{
	size_t len;

	r->message_left = 4;
	if (number(r, 1) != MESSAGE_CLIENT_HELLO)
		(void)fail(r, SL_CLIENT_HELLO_BAD);
	len = number(r, 3);
	if (len > SL_CLIENT_HELLO_MAX_BYTES)
		(void)fail(r, SL_CLIENT_HELLO_BAD);
	r->message_left = len;
	(void)take(r, 2 + RANDOM_BYTES, NULL); /* the version of old, and the random */
	skip_vector(r, 1, 0, SESSION_ID_MAX_BYTES);
	skip_vector(r, 2, 2, SL_CLIENT_HELLO_MAX_BYTES); /* ciphers */
	skip_vector(r, 1, 1, 255);			 /* compression */
	read_extensions(r, ret);
}

enum sl_client_hello_result sl_client_hello_parse(const char *p, size_t n,
						  struct sl_client_hello *ret)
{
	struct reader r = {.p = (const unsigned char *)(n ? p : ""), .n = n};

	ret->name = SL_STR("");
	ret->need = 0;
	read_message(&r, ret);
	ret->need = r.need;
	if (r.result != SL_CLIENT_HELLO_DONE)
		ret->name = SL_STR("");
	return r.result;
}

void sl_alert_write(unsigned char description, char out[SL_ALERT_BYTES])
{
	const unsigned char record[SL_ALERT_BYTES] = {CONTENT_ALERT, 3,		 3, 0, 2,
						      ALERT_FATAL,   description};

	memcpy(out, record, sizeof(record));
}
