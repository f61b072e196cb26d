/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl ask: a question on its way from another sluicectl to the agent beside this one. */
#include <errno.h>
#include <stdio.h>
#include "args.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "client.h"
#include "sluice/admin.h"

static int read_question(struct sl_buf *out)
{
	for (;;) {
		int r = sl_buf_reserve(out, SL_ADMIN_MAX_REQUEST_BYTES);
		size_t n;

		if (r)
			return r;
		n = fread(sl_buf_tail(out), 1, sl_buf_room(out), stdin);
		sl_buf_commit(out, n);
		if (sl_buf_len(out) > SL_ADMIN_MAX_REQUEST_BYTES)
			return -EMSGSIZE;
		if (n == 0)
			return ferror(stdin) ? -EIO : 0;
	}
}

int sl_ctl_passon(const struct sl_ctl_args *args)
{
	_cleanup_(sl_buf_deinit) struct sl_buf question = SL_BUF_INIT(0), answer = SL_BUF_INIT(0);
	char message[SL_CTL_MESSAGE];
	int r = read_question(&question);

	if (!r &&
	    (!sl_buf_len(&question) || sl_buf_ptr(&question)[sl_buf_len(&question) - 1] != '\n'))
		r = sl_buf_append(&question, "\n", 1);
	if (r)
		(void)snprintf(message, sizeof(message), "cannot read the question: %s",
			       sl_strerror(r));
	else
		r = sl_ctl_exchange(args->socket_path, sl_buf_str(&question), &answer, message);
	if (!r)
		return sl_ctl_write(&answer, 0);
	fprintf(stderr, "sluicectl: %s\n", message);
	return EXIT_FAILURE;
}
