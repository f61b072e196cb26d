/* SPDX-License-Identifier: Apache-2.0 */
/* The admin socket: bytes of a client to the server, with commands that answer, refuse, fail and
 * take their time. The first byte says in pieces of what size the rest is sent; 0: in one. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "admin/server.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "fuzz.h"
#include "sluice/admin.h"

static char dir[] = "/tmp/sl-fuzz-XXXXXX", path[80];
static struct sl_loop *loop;
static struct sl_admin *admin;
static struct sl_admin_later *later;

static int echo(void *arg, const json_t *request, json_t **ret)
{
	*ret = json_pack("{s:O?}", "echo", json_object_get(request, "value"));
	return *ret ? 0 : -ENOMEM;
}

static int refuse(void *arg, const json_t *request, json_t **ret)
{
	*ret = json_string("no");
	return SL_ADMIN_REFUSED;
}

static int fail(void *arg, const json_t *request, json_t **ret)
{
	return -EIO;
}

static int take_time(void *arg, const json_t *request, json_t **ret)
{
	int r = sl_admin_defer(admin, &later, ret);

	return r ? r : SL_ADMIN_LATER;
}

static void clean_up(void)
{
	sl_admin_close(admin);
	sl_loop_free(loop);
	(void)rmdir(dir); /* a test's folder */
}

static int start(void)
{
	struct sl_admin_opts opts = {.path = path};
	int r;

	if (admin)
		return 0;
	if (!mkdtemp(dir))
		return -errno;
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	r = sl_loop_new(&loop);
	if (!r)
		r = sl_admin_open(loop, &opts, &admin);
	if (!r)
		r = sl_admin_register(admin, "echo", echo, NULL);
	if (!r)
		r = sl_admin_register(admin, "refuse", refuse, NULL);
	if (!r)
		r = sl_admin_register(admin, "fail", fail, NULL);
	if (!r)
		r = sl_admin_register(admin, "later", take_time, NULL);
	return r || atexit(clean_up) ? -ENOMEM : 0;
}

static int connect_client(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memcpy(sun.sun_path, path, sizeof(path));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		sl_closep(&fd);
		return -1;
	}
	return fd;
}

static void answer_later(void)
{
	struct sl_buf text = SL_BUF_INIT(0);

	if (!later)
		return;
	if (sl_buf_append_str(&text, SL_STR("{\"late\":true}")))
		sl_buf_deinit(&text); /* the answer is none then, which is reported */
	sl_admin_answer(sl_take(later), &text);
}

/* One round, then what has come back. Returns false when the server has closed. */
static bool step(int fd, struct sl_buf *got)
{
	ssize_t n;

	if (sl_loop_round(loop, 0))
		abort();
	answer_later();
	do {
		if (sl_buf_reserve(got, 65536))
			abort();
		n = recv(fd, sl_buf_tail(got), 65536, 0);
		if (n > 0)
			sl_buf_commit(got, (size_t)n);
	} while (n > 0);
	return n < 0 && errno == EAGAIN;
}

/* As much as the server takes: it stops to read when it has seen enough. */
static void talk(int fd, const char *p, size_t size, size_t piece, struct sl_buf *got)
{
	bool open = true;

	while (size && open) {
		ssize_t n = send(fd, p, piece && piece < size ? piece : size, MSG_NOSIGNAL);

		if (n > 0) {
			p += n;
			size -= (size_t)n;
		} else if (errno != EAGAIN) {
			break;
		}
		open = step(fd, got);
	}
	(void)shutdown(fd, SHUT_WR); /* it may have closed */
	while (open)
		open = step(fd, got);
}

static const char *check(struct sl_str sent, struct sl_str got)
{
	const char *end = sent.len ? memchr(sent.ptr, '\n', sent.len) : NULL;
	json_t *answer, *error;
	const char *fault = NULL;

	if (!sent.len)
		return got.len ? "an answer to no question" : NULL;
	if (!got.len)
		return "no answer";
	if (got.ptr[got.len - 1] != '\n')
		return "an answer without a line feed";
	answer = json_loadb(got.ptr, got.len, 0, NULL);
	error = json_object_get(answer, "error");
	if (!json_is_object(answer))
		fault = "an answer that is no JSON object";
	else if (error && !json_string_length(json_object_get(error, "message")))
		fault = "an error that says nothing";
	else if (!end && !error)
		fault = "an answer to half a question";
	json_decref(answer);
	return fault;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(sl_buf_deinit) struct sl_buf got = SL_BUF_INIT(0);
	_cleanup_(sl_closep) int fd = -1;
	struct sl_str sent = {(const char *)data + (size ? 1 : 0), size ? size - 1 : 0};

	if (start())
		abort();
	fd = connect_client();
	if (fd < 0)
		abort();
	talk(fd, sent.ptr, sent.len, size ? data[0] : 0, &got);
	fuzz_verdict(check(sent, sl_buf_str(&got)));
	return 0;
}
