/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <sys/epoll.h>
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "source/kube_text.h"

enum {
	BODY_LIMIT_BYTES = 8 << 20,
	ERROR_BODY_LIMIT_BYTES = 64 << 10,
	CONNECT_TIMEOUT_S = 10,
	KEEPALIVE_IDLE_S = 15, /* then probed; a peer that is gone is known after twice this */
	KEEPALIVE_INTERVAL_S = 5,
};

/* A socket of libcurl's in the loop. */
struct kube_sock {
	struct sl_list node;
	struct sl_watch watch;
	struct sl_kube_client *client;
};

struct sl_kube_client {
	struct sl_loop *loop;
	const struct sl_kube_access *access;
	CURLM *multi;
	struct sl_timer timer;
	struct sl_task finish; /* looks for requests that ended */
	bool starved;	       /* a socket is not watched: there was no memory */
	struct sl_list socks;
	struct sl_list requests;
};

struct sl_kube_request {
	struct sl_list node;
	struct sl_kube_client *client;
	struct sl_kube_call call; /* path and body are not kept */
	CURL *easy;
	CURLU *url;
	struct curl_slist *headers, *connect_to;
	struct sl_buf body;
	char error[CURL_ERROR_SIZE];
	int callback_error; /* of on_data */
};

/* ---- libcurl and the loop ---- */

static void run(struct sl_kube_client *c, curl_socket_t fd, int mask)
{
	int n_running;

	(void)curl_multi_socket_action(c->multi, fd, mask, &n_running);
	sl_task_queue(c->loop, &c->finish);
}

static void on_socket_event(struct sl_watch *w, uint32_t events)
{
	struct kube_sock *s = sl_container_of(w, struct kube_sock, watch);
	int mask = 0;

	if (events & EPOLLIN)
		mask |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		mask |= CURL_CSELECT_ERR;
	run(s->client, w->fd, mask);
}

static void on_timer(struct sl_timer *t)
{
	run(sl_container_of(t, struct sl_kube_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
	struct sl_kube_client *c = arg;

	if (ms < 0)
		sl_timer_cancel(&c->timer);
	else
		sl_timer_arm(c->loop, &c->timer,
			     sl_loop_now(c->loop) + (uint64_t)ms * SL_NS_PER_MS);
	return 0;
}

static void forget_sock(struct kube_sock *s)
{
	sl_watch_remove(&s->watch);
	sl_list_remove(&s->node);
	free(s);
}

static int watch_new(struct sl_kube_client *c, curl_socket_t fd, uint32_t events)
{
	struct kube_sock *s = sl_new(struct kube_sock);
	int r;

	if (!s)
		return -ENOMEM;
	s->client = c;
	s->watch = SL_WATCH_INIT;
	r = sl_watch_add(c->loop, &s->watch, fd, events, on_socket_event);
	if (r) {
		free(s);
		return r;
	}
	sl_list_append(&c->socks, &s->node);
	(void)curl_multi_assign(c->multi, fd,
				s); /* fails only for a socket that it does not know */
	return 0;
}

/* Told of an error, libcurl (7.88) never watches and never times anything again. So it is not: all
 * requests end instead, and their sockets come anew with the next ones. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
	struct sl_kube_client *c = arg;
	struct kube_sock *s = of_socket;
	uint32_t events = 0;
	int r;

	if (what == CURL_POLL_REMOVE) {
		if (s)
			forget_sock(s);
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	r = s ? sl_watch_modify(&s->watch, events) : watch_new(c, fd, events);
	if (r) {
		c->starved = true;
		sl_task_queue(c->loop, &c->finish);
	}
	return 0;
}

/* ---- requests ---- */

static void free_request(struct sl_kube_request *rq)
{
	sl_list_remove(&rq->node);
	if (rq->easy) {
		(void)curl_multi_remove_handle(rq->client->multi, rq->easy);
		curl_easy_cleanup(rq->easy);
	}
	curl_url_cleanup(rq->url);
	curl_slist_free_all(rq->headers);
	curl_slist_free_all(rq->connect_to);
	sl_buf_deinit(&rq->body);
	free(rq);
}

static unsigned status_of(const struct sl_kube_request *rq)
{
	long status = 0;

	(void)curl_easy_getinfo(rq->easy, CURLINFO_RESPONSE_CODE, &status);
	return (unsigned)status;
}

/* libcurl's header callback, once for each line; the last one is empty. */
static size_t on_head_line(char *bytes, size_t size, size_t n, void *arg)
{
	struct sl_kube_request *rq = arg;

	n *= size;
	if (n == 2 && bytes[0] == '\r' && rq->call.on_open && status_of(rq) / 100 == 2)
		rq->call.on_open(rq->call.arg);
	return n;
}

/* libcurl's write callback: another number than n ends the transfer. */
static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct sl_kube_request *rq = arg;
	bool ok = status_of(rq) / 100 == 2;

	n *= size;
	if (ok && rq->call.on_data) {
		rq->callback_error = rq->call.on_data(rq->call.arg, (struct sl_str){bytes, n});
	} else {
		rq->callback_error = sl_buf_append(&rq->body, bytes, n);
		if (!ok && rq->callback_error == -ENOBUFS)
			rq->callback_error = 0; /* enough to say what was wrong */
	}
	return rq->callback_error ? 0 : n;
}

static int error_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return -EKEYREJECTED;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
		return -ECONNRESET;
	default:
		return -EPROTO;
	}
}

/* A Status object's message. NULL: the body is none. */
static json_t *status_message(struct sl_str body)
{
	json_t *root = json_loadb(body.ptr ? body.ptr : "", body.len, 0, NULL);
	json_t *message = json_incref(json_object_get(root, "message"));

	json_decref(root);
	if (json_is_string(message))
		return message;
	json_decref(message);
	return NULL;
}

static void finish(struct sl_kube_request *rq, CURLcode code)
{
	struct sl_kube_result result = {
		.error = rq->callback_error ? rq->callback_error : error_of(code),
		.status = status_of(rq),
		.message = "",
		.body = sl_buf_str(&rq->body),
	};
	json_t *message = NULL;
	curl_off_t retry_after = 0;

	(void)curl_easy_getinfo(rq->easy, CURLINFO_RETRY_AFTER, &retry_after);
	result.retry_after_s = retry_after > 0 && retry_after < 3600 ? (unsigned)retry_after : 0;
	if (rq->callback_error)
		result.message = sl_strerror(rq->callback_error);
	else if (code != CURLE_OK)
		result.message = rq->error[0] ? rq->error : curl_easy_strerror(code);
	else if (result.status / 100 != 2) {
		message = status_message(result.body);
		result.message =
			message ? json_string_value(message) : "an answer that is no Status object";
	}
	rq->call.on_done(rq->call.arg, &result);
	json_decref(message);
	free_request(rq);
}

/* What on_done asks for is new, and may do better. */
static void finish_all(struct sl_kube_client *c)
{
	struct sl_list all;

	sl_list_init(&all);
	sl_list_foreach_safe (it, &c->requests) {
		sl_list_remove(it);
		sl_list_append(&all, it);
	}
	while (!sl_list_empty(&all))
		finish(sl_container_of(all.next, struct sl_kube_request, node),
		       CURLE_OUT_OF_MEMORY);
}

static void finish_some(struct sl_task *t)
{
	struct sl_kube_client *c = sl_container_of(t, struct sl_kube_client, finish);
	struct CURLMsg *msg;
	int n_left;

	while ((msg = curl_multi_info_read(c->multi, &n_left))) {
		struct sl_kube_request *rq = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &rq);
		finish(rq, msg->data.result);
	}
	if (c->starved) {
		c->starved = false;
		finish_all(c);
	}
}

static int add_header(struct sl_kube_request *rq, const char *text)
{
	struct curl_slist *more = curl_slist_append(rq->headers, text);

	if (!more)
		return -ENOMEM;
	rq->headers = more;
	return 0;
}

static int add_token(struct sl_kube_request *rq)
{
	const struct sl_kube_access *a = rq->client->access;
	_cleanup_(sl_freep) char *token = NULL, *line = NULL;
	int r = 0;

	if (a->token_file)
		r = sl_kube_read_text(a->token_file, &token);
	else if (a->token)
		token = sl_strdup(a->token);
	else
		return 0;
	if (r)
		return r;
	line = token ? sl_asprintf("Authorization: Bearer %s", token) : NULL;
	return line ? add_header(rq, line) : -ENOMEM;
}

#define SET(option, value)                                                 \
	do {                                                               \
		if (curl_easy_setopt(rq->easy, option, value) != CURLE_OK) \
			return -ENOMEM;                                    \
	} while (0)

static int set_pem(struct sl_kube_request *rq, const struct sl_kube_pem *pem, CURLoption file,
		   CURLoption text)
{
	struct curl_blob blob = {.flags = CURL_BLOB_NOCOPY}; /* the access outlives the request */

	if (pem->file)
		SET(file, pem->file);
	if (!pem->text)
		return 0;
	blob.data = pem->text;
	blob.len = strlen(pem->text);
	SET(text, &blob);
	return 0;
}

static int set_tls(struct sl_kube_request *rq)
{
	const struct sl_kube_access *a = rq->client->access;
	int r;

	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	r = set_pem(rq, &a->ca, CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB);
	if (!r)
		r = set_pem(rq, &a->cert, CURLOPT_SSLCERT, CURLOPT_SSLCERT_BLOB);
	if (!r)
		r = set_pem(rq, &a->key, CURLOPT_SSLKEY, CURLOPT_SSLKEY_BLOB);
	return r;
}

static int set_transport(struct sl_kube_request *rq)
{
	const struct sl_kube_access *a = rq->client->access;

	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	SET(CURLOPT_PIPEWAIT, 1L); /* rather a stream of the connection that is being made */
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_PROXY, a->proxy ? a->proxy : "");
	SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	SET(CURLOPT_TIMEOUT, (long)rq->call.timeout_s);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
	SET(CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
	SET(CURLOPT_ACCEPT_ENCODING, ""); /* all that libcurl can undo */
	return set_tls(rq);
}

/* The server under the name that its certificate has: that name in the URL, its own address to
 * connect to. */
static int rename_server(struct sl_kube_request *rq, CURLU *u)
{
	_cleanup_(sl_freep) char *to = NULL;
	char *host = NULL, *port = NULL;
	int r = -ENOMEM;

	if (!curl_url_get(u, CURLUPART_HOST, &host, 0) &&
	    !curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
		to = sl_asprintf("::%s:%s", host, port);
	if (to)
		rq->connect_to = curl_slist_append(NULL, to);
	if (rq->connect_to &&
	    !curl_url_set(u, CURLUPART_HOST, rq->client->access->tls_server_name, 0))
		r = 0;
	curl_free(host);
	curl_free(port);
	return r;
}

static int set_url(struct sl_kube_request *rq, CURLU *u, const char *path)
{
	const struct sl_kube_access *a = rq->client->access;
	_cleanup_(sl_freep) char *url = sl_asprintf("%s%s", a->server, path);

	if (!url)
		return -ENOMEM;
	if (curl_url_set(u, CURLUPART_URL, url, 0))
		return -EINVAL;
	if (a->tls_server_name && rename_server(rq, u))
		return -ENOMEM;
	SET(CURLOPT_CURLU, u);
	if (rq->connect_to)
		SET(CURLOPT_CONNECT_TO, rq->connect_to);
	return 0;
}

static int set_call(struct sl_kube_request *rq, const struct sl_kube_call *call)
{
	_cleanup_(sl_freep) char *type = NULL;
	int r;

	rq->url = curl_url();
	r = rq->url ? set_url(rq, rq->url, call->path) : -ENOMEM;
	if (r)
		return r;
	SET(CURLOPT_CUSTOMREQUEST, call->method);
	if (call->content_type) {
		type = sl_asprintf("Content-Type: %s", call->content_type);
		if (!type || add_header(rq, type))
			return -ENOMEM;
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
		SET(CURLOPT_COPYPOSTFIELDS, call->body.ptr);
	}
	return add_header(rq, "Accept: application/json");
}

static int prepare(struct sl_kube_request *rq, const struct sl_kube_call *call)
{
	int r = set_call(rq, call);

	if (!r)
		r = add_token(rq);
	if (!r)
		r = set_transport(rq);
	if (r)
		return r;
	SET(CURLOPT_HTTPHEADER, rq->headers);
	SET(CURLOPT_USERAGENT, "sluice/" SL_VERSION);
	SET(CURLOPT_ERRORBUFFER, rq->error);
	SET(CURLOPT_HEADERFUNCTION, on_head_line);
	SET(CURLOPT_HEADERDATA, rq);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, rq);
	SET(CURLOPT_PRIVATE, rq);
	return curl_multi_add_handle(rq->client->multi, rq->easy) == CURLM_OK ? 0 : -ENOMEM;
}

int sl_kube_call(struct sl_kube_client *c, const struct sl_kube_call *call,
		 struct sl_kube_request **ret)
{
	struct sl_kube_request *rq = sl_new(struct sl_kube_request);
	int r;

	if (!rq)
		return -ENOMEM;
	rq->client = c;
	rq->call = *call;
	rq->body = SL_BUF_INIT(BODY_LIMIT_BYTES);
	sl_list_append(&c->requests, &rq->node);
	rq->easy = curl_easy_init();
	r = rq->easy ? prepare(rq, call) : -ENOMEM;
	if (r)
		free_request(rq);
	else
		*ret = rq;
	return r;
}

struct sl_kube_request *sl_kube_cancel(struct sl_kube_request *rq)
{
	if (rq)
		free_request(rq);
	return NULL;
}

/* ---- life ---- */

int sl_kube_client_new(struct sl_loop *loop, const struct sl_kube_access *access,
		       struct sl_kube_client **ret)
{
	struct sl_kube_client *c = sl_new(struct sl_kube_client);

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->access = access;
	c->timer = SL_TIMER_INIT(on_timer);
	c->finish = SL_TASK_INIT(finish_some);
	sl_list_init(&c->socks);
	sl_list_init(&c->requests);
	c->multi = curl_multi_init();
	if (!c->multi || curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, set_socket) ||
	    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c) ||
	    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer) ||
	    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c)) {
		sl_kube_client_free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

struct sl_kube_client *sl_kube_client_free(struct sl_kube_client *c)
{
	if (!c)
		return NULL;
	sl_list_foreach_safe (it, &c->requests)
		free_request(sl_container_of(it, struct sl_kube_request, node));
	if (c->multi)
		(void)curl_multi_cleanup(c->multi); /* nothing runs any more */
	sl_list_foreach_safe (it, &c->socks)
		forget_sock(sl_container_of(it, struct kube_sock, node));
	sl_timer_cancel(&c->timer);
	sl_task_cancel(&c->finish);
	free(c);
	return NULL;
}
