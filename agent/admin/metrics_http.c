/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/metrics_http.h"

#include <errno.h>
#include <sys/socket.h>
#include "admin/exchange.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "obs/metrics.h"

enum { BACKLOG = 64, MAX_HEAD_BYTES = 8192 };

struct sl_metrics_http {
	struct sl_exchange *exchange;
	struct sl_metrics_http_opts opts;
};

SL_DEFINE_CLEANUP(struct sl_metrics_http *, sl_metrics_http_close)

struct request {
	struct sl_str method, path;
};

struct response {
	const char *status; /* code and phrase */
	const char *type, *extra;
	struct sl_str body;
};

/* Length of the head, the empty line included; 0: not there yet. A bare LF ends a line too, as RFC
 * 9112 section 2.2 permits: nothing is forwarded from here. */
static size_t head_len(struct sl_str in)
{
	const char *end = in.ptr + in.len;

	for (const char *p = in.ptr; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++) {
		const char *next = p + 1;

		if (next < end && *next == '\r')
			next++;
		if (next < end && *next == '\n')
			return (size_t)(next - in.ptr) + 1;
	}
	return 0;
}

static bool take_word(struct sl_str *line, struct sl_str *ret)
{
	size_t n = 0;

	while (n < line->len && line->ptr[n] > ' ' && line->ptr[n] < 0x7f)
		n++;
	*ret = (struct sl_str){line->ptr, n};
	*line = sl_str_skip(*line, n);
	return n > 0;
}

/* method SP target SP HTTP/1.x (RFC 9112 section 3); the query is cut off. */
static bool parse_request_line(struct sl_str head, struct request *ret)
{
	struct sl_str line = {head.ptr,
			      (size_t)((char *)memchr(head.ptr, '\n', head.len) - head.ptr)};
	struct sl_str target, version;
	const char *query;

	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	if (!take_word(&line, &ret->method) || !sl_str_starts(line, SL_STR(" ")))
		return false;
	line = sl_str_skip(line, 1);
	if (!take_word(&line, &target) || !sl_str_starts(line, SL_STR(" ")))
		return false;
	version = sl_str_skip(line, 1);
	if (!sl_str_eqc(version, "HTTP/1.1") && !sl_str_eqc(version, "HTTP/1.0"))
		return false;
	query = memchr(target.ptr, '?', target.len);
	ret->path = (struct sl_str){target.ptr, query ? (size_t)(query - target.ptr) : target.len};
	return true;
}

static void probe(const struct sl_metrics_http *h, sl_metrics_http_probe fn, struct response *ret)
{
	const char *reason = fn ? fn(h->opts.arg) : NULL;

	if (reason) {
		ret->status = "503 Service Unavailable";
		ret->body = sl_str_from(reason);
	}
}

/* text holds the body where it is made here. */
static struct response respond(struct sl_metrics_http *h, const struct request *rq,
			       struct sl_buf *text)
{
	struct response res = {"200 OK", "text/plain; charset=utf-8", "", SL_STR("ok")};

	if (sl_str_eqc(rq->path, "/healthz")) {
		probe(h, h->opts.not_healthy, &res);
	} else if (sl_str_eqc(rq->path, "/readyz")) {
		probe(h, h->opts.not_ready, &res);
	} else if (!sl_str_eqc(rq->path, "/metrics")) {
		res.status = "404 Not Found";
		res.body = SL_STR("try /metrics, /healthz or /readyz");
		return res;
	}
	if (!sl_str_eqc(rq->method, "GET") && !sl_str_eqc(rq->method, "HEAD")) {
		res.status = "405 Method Not Allowed";
		res.extra = "Allow: GET, HEAD\r\n";
		res.body = SL_STR("GET and HEAD only");
	} else if (sl_str_eqc(rq->path, "/metrics")) {
		if (sl_metrics_render(h->opts.metrics, text)) {
			res.status = "500 Internal Server Error";
			res.body = SL_STR("out of memory");
		} else {
			res.type = SL_METRICS_CONTENT_TYPE;
			res.body = sl_buf_str(text);
		}
	}
	return res;
}

static void write_response(struct sl_buf *out, const struct response *res, bool head_only)
{
	/* Text for people ends with a line feed, the exposition has its own. */
	bool exposition = sl_str_eqc(SL_STR(SL_METRICS_CONTENT_TYPE), res->type);
	struct sl_str end = exposition ? SL_STR("") : SL_STR("\n");
	int r = sl_buf_printf(out,
			      "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
			      "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
			      res->status, res->type, res->body.len + end.len, res->extra);

	if (!r && !head_only)
		r = sl_buf_append_str(out, res->body);
	if (!r && !head_only)
		r = sl_buf_append_str(out, end);
	if (r)
		sl_buf_deinit(out); /* no memory: closed without an answer */
}

static bool asked(void *arg, struct sl_str in, bool last, struct sl_buf *out)
{
	struct response res = {"400 Bad Request", "text/plain; charset=utf-8", "",
			       SL_STR("not an HTTP request")};
	struct sl_buf text = SL_BUF_INIT(0);
	struct request rq = {0};
	size_t n = in.len ? head_len(in) : 0;

	if (!n && !last)
		return false;
	if (!n && in.len < MAX_HEAD_BYTES)
		return false; /* the client went before its request was complete */
	if (!n)
		res = (struct response){"431 Request Header Fields Too Large", res.type, "",
					SL_STR("the head is too long")};
	else if (parse_request_line((struct sl_str){in.ptr, n}, &rq))
		res = respond(arg, &rq, &text);
	write_response(out, &res, sl_str_eqc(rq.method, "HEAD"));
	sl_buf_deinit(&text);
	return true;
}

/* The port may be the kernel's choice: read back. */
static int listen_at(struct sl_addr *address, int *ret_fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sl_addr_to_sockaddr(address, &ss);
	_cleanup_(sl_closep) int fd =
		socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, r;

	/* A restart must not wait for the last scrape's TIME_WAIT. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&ss, len) || listen(fd, BACKLOG))
		return -errno;
	len = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &len))
		return -errno;
	r = sl_addr_from_sockaddr(&ss, address);
	if (!r)
		*ret_fd = sl_take_fd(&fd);
	return r;
}

int sl_metrics_http_open(struct sl_loop *loop, const struct sl_metrics_http_opts *opts,
			 struct sl_metrics_http **ret)
{
	_cleanup_(sl_metrics_http_closep) struct sl_metrics_http *h =
		sl_new(struct sl_metrics_http);
	struct sl_exchange_opts xopts = {
		.fn = asked, .arg = h, .max_request_bytes = MAX_HEAD_BYTES};
	int fd = opts->inherited ? *opts->inherited : -1;
	int r;

	if (!h) {
		if (fd >= 0)
			(void)close(fd); /* taken in any case */
		return -ENOMEM;
	}
	h->opts = *opts;
	h->opts.inherited = NULL;
	r = fd < 0 ? listen_at(&h->opts.address, &fd) : 0;
	if (!r)
		r = sl_exchange_open(loop, fd, &xopts, &h->exchange);
	if (r)
		return r;
	*ret = sl_take(h);
	return 0;
}

struct sl_metrics_http *sl_metrics_http_close(struct sl_metrics_http *h)
{
	if (!h)
		return NULL;
	sl_exchange_close(h->exchange);
	free(h);
	return NULL;
}

int sl_metrics_http_fd(const struct sl_metrics_http *h)
{
	return sl_exchange_fd(h->exchange);
}

const struct sl_addr *sl_metrics_http_address(const struct sl_metrics_http *h)
{
	return &h->opts.address;
}
