/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "view.h"

enum { TIMEOUT_S = 30, READ_BYTES = 65536, MAX_ANSWER_BYTES = 512 << 20 };

static int open_socket(const char *path, int *ret_fd, char message[SL_CTL_MESSAGE])
{
	_cleanup_(sl_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval limit = {.tv_sec = TIMEOUT_S};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	int r;

	if (len >= sizeof(sun.sun_path)) {
		(void)snprintf(message, SL_CTL_MESSAGE, "the path of the socket is too long");
		return -ENAMETOOLONG;
	}
	memcpy(sun.sun_path, path, len + 1);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
	    connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		r = -errno;
		if (r == -ENOENT || r == -ECONNREFUSED)
			(void)snprintf(message, SL_CTL_MESSAGE,
				       "the agent is not running: nobody listens at %s "
				       "(-s chooses another socket)",
				       path);
		else
			(void)snprintf(message, SL_CTL_MESSAGE, "cannot reach the agent at %s: %s",
				       path, sl_strerror(r));
		return r;
	}
	*ret_fd = sl_take_fd(&fd);
	return 0;
}

static int send_all(int fd, struct sl_str s)
{
	while (s.len) {
		ssize_t n = send(fd, s.ptr, s.len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n > 0)
			s = sl_str_skip(s, (size_t)n);
	}
	return 0;
}

static int receive_all(int fd, struct sl_buf *in)
{
	for (;;) {
		ssize_t n;
		int r = sl_buf_reserve(in, READ_BYTES);

		if (r)
			return r;
		n = recv(fd, sl_buf_tail(in), sl_buf_room(in), 0);
		if (n == 0)
			return 0;
		if (n > 0)
			sl_buf_commit(in, (size_t)n);
		else if (errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
}

/* The answer, or what it says about an error. */
int sl_ctl_parse(const struct sl_buf *in, json_t **ret, char message[SL_CTL_MESSAGE])
{
	json_auto_t *answer =
		json_loadb(sl_buf_len(in) ? sl_buf_ptr(in) : "", sl_buf_len(in), 0, NULL);
	const json_t *error = json_object_get(answer, "error");
	const char *text = json_string_value(json_object_get(error, "message"));

	if (!json_is_object(answer)) {
		(void)snprintf(message, SL_CTL_MESSAGE, "%s",
			       sl_buf_len(in) ? "the agent's answer is not JSON"
					      : "the agent closed without an answer");
		return -EPROTO;
	}
	if (error) {
		(void)snprintf(message, SL_CTL_MESSAGE, "the agent says: %s",
			       text ? text : "an error without a message");
		return 1;
	}
	*ret = sl_take(answer);
	return 0;
}

int sl_ctl_exchange(const char *socket_path, struct sl_str question, struct sl_buf *answer,
		    char message[SL_CTL_MESSAGE])
{
	_cleanup_(sl_closep) int fd = -1;
	int r = open_socket(socket_path, &fd, message);

	if (r)
		return r;
	r = send_all(fd, question);
	if (!r)
		r = receive_all(fd, answer);
	if (r)
		(void)snprintf(message, SL_CTL_MESSAGE, "talking to the agent failed: %s",
			       sl_strerror(r));
	return r;
}

int sl_ctl_call(const char *socket_path, const json_t *question, json_t **ret,
		char message[SL_CTL_MESSAGE])
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	_cleanup_(sl_buf_deinit) struct sl_buf in = SL_BUF_INIT(MAX_ANSWER_BYTES);
	int r = sl_json_dump(question, JSON_COMPACT, &out);

	if (r)
		(void)snprintf(message, SL_CTL_MESSAGE, "%s", sl_strerror(r));
	else
		r = sl_ctl_exchange(socket_path, sl_buf_str(&out), &in, message);
	return r ? r : sl_ctl_parse(&in, ret, message);
}
