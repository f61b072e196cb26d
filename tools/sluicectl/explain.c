/* SPDX-License-Identifier: Apache-2.0 */
#include "explain.h"

#include <errno.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "view.h"

enum { MAX_LINE_BYTES = 65536 };

__attribute__((format(printf, 2, 3))) static int wrong(char message[SL_CTL_MESSAGE],
						       const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(message, SL_CTL_MESSAGE, fmt, ap); /* cut when too long */
	va_end(ap);
	return -EINVAL;
}

static int set(json_t *j, const char *key, struct sl_str s)
{
	return json_object_set_new(j, key, json_stringn(s.ptr ? s.ptr : "", s.len)) ? -ENOMEM : 0;
}

/* ---- typed in ---- */

struct url {
	struct sl_str scheme;
	struct sl_str service;
	struct sl_str name, namespace; /* of the form ns/name:port */
	struct sl_str authority;       /* of the other forms */
	struct sl_str target;	       /* may be empty */
};

static size_t find_any(struct sl_str s, const char *set_of)
{
	size_t n = 0;

	while (n < s.len && !strchr(set_of, s.ptr[n]))
		n++;
	return n;
}

/* "ns/name:port/path": two names, then the path. */
static int parse_pair(struct sl_str text, struct url *u, char message[SL_CTL_MESSAGE])
{
	size_t ns = find_any(text, "/?");
	struct sl_str rest = sl_str_skip(text, ns);
	size_t len;

	if (!sl_str_starts(rest, SL_STR("/")))
		return wrong(
			message,
			"'%.*s' names no Service: http://name.ns:port/path or ns/name:port/path",
			SL_STR_ARG(text));
	rest = sl_str_skip(rest, 1);
	len = find_any(rest, "/?");
	u->service = (struct sl_str){text.ptr, ns + 1 + len};
	u->namespace = (struct sl_str){text.ptr, ns};
	u->name = (struct sl_str){rest.ptr, len};
	u->target = sl_str_skip(rest, len);
	return 0;
}

/* Empty when none is said. */
static struct sl_str find_scheme(struct sl_str text)
{
	static const char *const schemes[] = {"http://", "https://", "tcp://", "udp://"};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		if (sl_str_starts(text, sl_str_from(schemes[i])))
			return (struct sl_str){text.ptr, strlen(schemes[i]) - 3};
	}
	return SL_STR("");
}

/* https means port 443, as in any URL. */
static int set_service(json_t *j, const struct url *u)
{
	size_t bracket = find_any(u->service, "]");
	struct sl_str rest = sl_str_skip(u->service, bracket < u->service.len ? bracket : 0);
	bool has_port = find_any(rest, ":") < rest.len;

	if (!sl_str_eqc(u->scheme, "https") || has_port)
		return set(j, "service", u->service);
	return json_object_set_new(j, "service", json_sprintf("%.*s:443", SL_STR_ARG(u->service)))
		       ? -ENOMEM
		       : 0;
}

static int parse_url(const char *word, struct url *u, char message[SL_CTL_MESSAGE])
{
	struct sl_str text = sl_str_from(word);
	size_t host;

	*u = (struct url){0};
	text.len = find_any(text, "#");
	u->scheme = find_scheme(text);
	if (!u->scheme.len && memmem(text.ptr, text.len, "://", 3))
		return wrong(message, "a URL begins with http://, https://, tcp:// or udp://");
	if (u->scheme.len)
		text = sl_str_skip(text, u->scheme.len + 3);
	else if (find_any((struct sl_str){text.ptr, find_any(text, "/")}, ".:[") ==
		 find_any(text, "/"))
		return parse_pair(text, u, message);
	if (!u->scheme.len)
		u->scheme = SL_STR("http");
	host = find_any(text, "/?");
	u->service = u->authority = (struct sl_str){text.ptr, host};
	u->target = sl_str_skip(text, host);
	return host ? 0 : wrong(message, "'%s' names no Service", word);
}

static int set_target(json_t *j, struct sl_str target)
{
	json_t *text =
		sl_str_starts(target, SL_STR("?"))
			? json_sprintf("/%.*s", SL_STR_ARG(target))
			: json_stringn(target.len ? target.ptr : "/", target.len ? target.len : 1);

	return json_object_set_new(j, "target", text) ? -ENOMEM : 0;
}

/* As a client in another namespace would call it; without the port that http:// means. */
static int set_authority(json_t *j, const struct url *u)
{
	struct sl_str name = u->name, port = SL_STR("");
	size_t colon = find_any(name, ":");

	if (!u->name.len)
		return set(j, "authority", u->authority);
	if (colon < name.len && !sl_str_eqc(sl_str_skip(name, colon), ":80"))
		port = sl_str_skip(name, colon);
	name.len = colon;
	return json_object_set_new(j, "authority",
				   json_sprintf("%.*s.%.*s%.*s", SL_STR_ARG(name),
						SL_STR_ARG(u->namespace), SL_STR_ARG(port)))
		       ? -ENOMEM
		       : 0;
}

static int add_header(json_t *headers, const char *line, char message[SL_CTL_MESSAGE])
{
	struct sl_str text = sl_str_from(line), value;
	size_t n = find_any(text, ":");

	if (!n || n == text.len)
		return wrong(message, "'%s' is no header: 'Name: value'", line);
	value = sl_str_trim(sl_str_skip(text, n + 1));
	return json_array_append_new(headers, json_pack("[s%, s%]", line, n,
							value.len ? value.ptr : "", value.len))
		       ? -ENOMEM
		       : 0;
}

static int add_headers(json_t *j, const struct sl_ctl_args *args, char message[SL_CTL_MESSAGE])
{
	json_t *headers = json_array();
	int r = json_object_set_new(j, "headers", headers) ? -ENOMEM : 0;

	for (uint32_t i = 0; i < args->n_headers && !r; i++)
		r = add_header(headers, args->headers[i], message);
	return r;
}

int sl_explain_typed(const struct sl_ctl_args *args, json_t **ret, char message[SL_CTL_MESSAGE])
{
	json_auto_t *j = json_pack("{s:s}", "command", "explain");
	struct url u;
	int r;

	if (!args->n_words)
		return wrong(message, "a URL is missing, or a line of the access log (--log-line)");
	r = parse_url(args->words[args->n_words - 1], &u, message);
	if (!r && !j)
		r = -ENOMEM;
	if (!r && args->from)
		r = set(j, "source", sl_str_from(args->from));
	if (!r)
		r = set_service(j, &u);
	if (!r && u.scheme.len && !sl_str_eqc(u.scheme, "http"))
		r = set(j, "scheme", u.scheme);
	if (!r)
		r = set(j, "method", sl_str_from(args->n_words > 1 ? args->words[0] : "GET"));
	if (!r)
		r = set_target(j, u.target);
	if (!r)
		r = set_authority(j, &u);
	if (!r)
		r = add_headers(j, args, message);
	if (r)
		return r;
	*ret = sl_take(j);
	return 0;
}

/* ---- from the access log ---- */

static int copy(json_t *to, const char *key, const json_t *from, const char *from_key)
{
	const char *text = sl_json_text(from, from_key);

	return *text ? set(to, key, sl_str_from(text)) : 0;
}

static int set_source(json_t *j, const json_t *record)
{
	const char *namespace = sl_json_text(record, "source_namespace");
	const char *pod = sl_json_text(record, "source_pod");

	if (!*namespace)
		return 0;
	return json_object_set_new(j, "source",
				   json_sprintf("%s%s%s", namespace, *pod ? "/" : "", pod))
		       ? -ENOMEM
		       : 0;
}

int sl_explain_logged(const json_t *record, json_t **ret, char message[SL_CTL_MESSAGE])
{
	json_auto_t *j = json_pack("{s:s}", "command", "explain");
	const char *agent = sl_json_text(record, "user_agent");
	int r = j ? 0 : -ENOMEM;

	if (!json_is_object(record))
		return wrong(message, "not a line of the access log: one JSON object is expected");
	if (strncmp(sl_json_text(record, "protocol"), "HTTP/", 5) != 0)
		return wrong(message, "the line is about a tunnel: no rule saw a request of it");
	if (!*sl_json_text(record, "service"))
		return wrong(message, "the line names no service");
	if (!r)
		r = set_source(j, record);
	if (!r)
		r = copy(j, "service", record, "service");
	if (!r)
		r = copy(j, "method", record, "method");
	if (!r)
		r = copy(j, "target", record, "path");
	if (!r)
		r = copy(j, "authority", record, "authority");
	if (!r && *agent &&
	    json_object_set_new(j, "headers", json_pack("[[s, s]]", "User-Agent", agent)))
		r = -ENOMEM;
	if (r)
		return r;
	*ret = sl_take(j);
	return 0;
}

static int read_line(struct sl_buf *line)
{
	int r = sl_buf_reserve(line, MAX_LINE_BYTES);

	if (r)
		return r;
	if (!fgets(sl_buf_tail(line), MAX_LINE_BYTES, stdin))
		return ferror(stdin) ? -errno : -ENODATA;
	sl_buf_commit(line, strlen(sl_buf_tail(line)));
	return 0;
}

static int load_record(const char *text, json_t **ret, char message[SL_CTL_MESSAGE])
{
	_cleanup_(sl_buf_deinit) struct sl_buf line = SL_BUF_INIT(0);
	int r = 0;

	if (strcmp(text, "-") == 0)
		r = read_line(&line);
	else
		r = sl_buf_append(&line, text, strlen(text));
	if (r)
		return wrong(message, "cannot read the line: %s", sl_strerror(r));
	*ret = json_loadb(sl_buf_len(&line) ? sl_buf_ptr(&line) : "", sl_buf_len(&line), 0, NULL);
	return 0; /* NULL is no object, and refused as such */
}

int sl_ctl_explain(const struct sl_ctl_args *args)
{
	json_auto_t *question = NULL, *answer = NULL, *record = NULL;
	char message[SL_CTL_MESSAGE] = "out of memory";
	int r = 0;

	if (args->log_line && (args->n_words || args->n_headers || args->from))
		return sl_ctl_usage("--log-line says the whole request, nothing can be added to it",
				    NULL);
	if (!args->log_line)
		r = sl_explain_typed(args, &question, message);
	else
		r = load_record(args->log_line, &record, message);
	if (!r && args->log_line)
		r = sl_explain_logged(record, &question, message);
	if (r)
		return sl_ctl_usage(message, NULL);
	if (sl_ctl_ask(args, question, &answer))
		return EXIT_FAILURE;
	if (record && json_object_set(answer, "logged", record))
		return sl_ctl_write(NULL, -ENOMEM);
	return sl_ctl_show(args, answer);
}
