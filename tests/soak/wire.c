/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 as far as the two ends need it, and bodies whose bytes are known. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "soak.h"

enum { SCRATCH = 262144, MAX_NAPS = 20 };

void io_nap(struct io *io, unsigned max_us)
{
	if (!max_us || !rng_percent(&io->rng, 20) || io->n_naps++ >= MAX_NAPS)
		return;
	usleep((useconds_t)rng_below(&io->rng, max_us));
	live_progress(io->live);
}

/* Returns bytes in the buffer, 0 at the end, -errno. */
static ssize_t fill(struct wire *w, size_t want)
{
	ssize_t n;

	if (w->pos) {
		memmove(w->buf, w->buf + w->pos, w->len - w->pos);
		w->len -= w->pos;
		w->pos = 0;
	}
	if (w->len == sizeof(w->buf))
		return -EMSGSIZE;
	n = io_recv(&w->io, w->buf + w->len, sizeof(w->buf) - w->len, want);
	if (n > 0)
		w->len += (size_t)n;
	w->eof |= n == 0;
	return n;
}

int wire_line(struct wire *w, char *line, size_t n)
{
	const uint8_t *end;
	size_t len;

	while (!(end = memchr(w->buf + w->pos, '\n', w->len - w->pos))) {
		ssize_t r = fill(w, 1);

		if (r <= 0)
			return r ? (int)r : -ENODATA;
	}
	len = (size_t)(end + 1 - (w->buf + w->pos));
	if (len >= n)
		return -EMSGSIZE;
	memcpy(line, w->buf + w->pos, len);
	line[len] = '\0';
	w->pos += len;
	return 0;
}

int wire_head(struct wire *w, char head[HEAD_BYTES])
{
	size_t at = 0;

	for (;;) {
		int r = wire_line(w, head + at, HEAD_BYTES - at);

		if (r == -ENODATA && (at || w->len > w->pos))
			return -ECONNABORTED; /* in the middle */
		if (r)
			return r;
		if (!strcmp(head + at, "\r\n"))
			return 0;
		at += strlen(head + at);
	}
}

void head_field(const char *head, const char *name, char *ret, size_t n)
{
	size_t len = strlen(name);

	*ret = '\0';
	for (const char *line = strchr(head, '\n'); line && line[1]; line = strchr(line, '\n')) {
		line++;
		if (strncasecmp(line, name, len) != 0 || line[len] != ':')
			continue;
		line += len + 1 + strspn(line + len + 1, " ");
		len = strcspn(line, "\r\n");
		snprintf(ret, n, "%.*s", (int)len, line);
		return;
	}
}

/* ---- bodies ---- */

static bool same(uint64_t shift, uint64_t offset, const uint8_t *p, size_t n)
{
	while (n) {
		size_t at = pattern_at(shift, offset);
		size_t part = PATTERN_BYTES - at < n ? PATTERN_BYTES - at : n;

		if (memcmp(pattern + at, p, part) != 0)
			return false;
		p += part;
		n -= part;
		offset += part;
	}
	return true;
}

uint64_t wire_stream(struct wire *w, uint64_t shift, uint64_t offset, uint64_t n, unsigned pause_us,
		     int *ret_err)
{
	uint8_t *scratch = malloc(SCRATCH);
	uint64_t done = 0;

	*ret_err = scratch ? 0 : -ENOMEM;
	while (done < n && !*ret_err) {
		uint64_t left = n - done;
		ssize_t got = (ssize_t)(w->len - w->pos);
		const uint8_t *p = w->buf + w->pos;

		if (got) {
			got = (uint64_t)got < left ? got : (ssize_t)left;
			w->pos += (size_t)got;
		} else {
			size_t max = 1 + rng_below(&w->io.rng, SCRATCH);

			io_nap(&w->io, pause_us);
			if (max > left)
				max = left;
			p = scratch;
			got = io_recv(&w->io, scratch, max, max);
			w->eof |= got == 0;
		}
		if (got <= 0)
			*ret_err = got ? (int)got : -ENODATA;
		else if (!same(shift, offset + done, p, (size_t)got))
			*ret_err = -EBADMSG;
		else
			done += (uint64_t)got;
	}
	free(scratch);
	return done;
}

static int chunk_size(struct wire *w, uint64_t *ret)
{
	char line[256], *end;
	int r = wire_line(w, line, sizeof(line));

	if (r)
		return r;
	*ret = strtoull(line, &end, 16);
	return end == line || strcmp(end, "\r\n") != 0 ? -EPROTO : 0;
}

static int empty_line(struct wire *w)
{
	char line[256];
	int r = wire_line(w, line, sizeof(line));

	return r ? r : strcmp(line, "\r\n") != 0 ? -EPROTO : 0;
}

static uint64_t chunked_body(struct wire *w, uint64_t bytes, uint64_t shift, uint64_t limit,
			     unsigned pause_us, int *ret_err)
{
	uint64_t done = 0, size;

	for (;;) {
		*ret_err = chunk_size(w, &size);
		if (!*ret_err && size > bytes - done)
			*ret_err = -EMSGSIZE;
		if (*ret_err)
			return done;
		if (!size) {
			*ret_err = done < bytes ? -ECANCELED : empty_line(w);
			return done;
		}
		if (size > limit - done)
			size = limit - done;
		done += wire_stream(w, shift, done, size, pause_us, ret_err);
		if (*ret_err || done == limit)
			return done;
		*ret_err = empty_line(w);
		if (*ret_err)
			return done;
	}
}

uint64_t wire_body(struct wire *w, enum framing f, uint64_t bytes, uint64_t shift, uint64_t limit,
		   unsigned pause_us, int *ret_err)
{
	uint64_t n = limit < bytes ? limit : bytes;

	*ret_err = 0;
	w->io.n_naps = 0;
	switch (f) {
	case NO_BODY:
		return 0;
	case CHUNKED:
		return chunked_body(w, bytes, shift, limit < bytes ? limit : UINT64_MAX, pause_us,
				    ret_err);
	case LENGTH:
	case UNTIL_CLOSE:
		break;
	}
	n = wire_stream(w, shift, 0, n, pause_us, ret_err);
	if (!*ret_err && f == UNTIL_CLOSE && n == bytes)
		*ret_err = wire_end(w);
	return n;
}

int wire_end(struct wire *w)
{
	ssize_t n;

	if (w->len > w->pos)
		return -EBADMSG;
	if (w->eof)
		return 0;
	w->pos = w->len = 0;
	n = fill(w, 1);
	return n > 0 ? -EBADMSG : (int)n;
}

int send_stream(struct io *io, uint64_t shift, uint64_t offset, uint64_t n, unsigned piece,
		unsigned pause_us)
{
	while (n) {
		uint64_t part = 1 + rng_below(&io->rng, piece);
		int r;

		if (part > n)
			part = n;
		r = io_send_pattern(io, shift, offset, part);
		if (r)
			return r;
		io_nap(io, pause_us);
		offset += part;
		n -= part;
	}
	return 0;
}

int send_body(struct io *io, enum framing f, uint64_t shift, uint64_t n, uint64_t cut,
	      unsigned piece, unsigned pause_us)
{
	uint64_t done = 0;
	char line[32];
	int r = 0;

	io->n_naps = 0;
	if (f == NO_BODY)
		return 0;
	if (f != CHUNKED) {
		r = send_stream(io, shift, 0, cut < n ? cut : n, piece, pause_us);
		return r ? r : io_settle(io);
	}
	while (!r && done < n) {
		uint64_t size = 1 + rng_below(&io->rng, piece), part;

		if (size > n - done)
			size = n - done;
		part = cut - done < size ? cut - done : size;
		snprintf(line, sizeof(line), "%llx\r\n", (unsigned long long)size);
		r = io_send(io, line, strlen(line), true);
		if (!r)
			r = io_send_pattern(io, shift, done, part);
		done += part;
		if (!r && (part < size || done == cut) && cut < n)
			return io_settle(io);
		if (!r)
			r = io_send(io, "\r\n", 2, false);
		io_nap(io, pause_us);
	}
	if (!r)
		r = io_send(io, "0\r\n\r\n", 5, false);
	return r ? r : io_settle(io);
}
