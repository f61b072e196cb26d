/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One question to the agent over its admin socket. */
#include <jansson.h>
#include <stddef.h>
#include "base/buf.h"

enum { SL_CTL_MESSAGE = 512 };

/* question: an object. Returns 0 with a new reference to the answer, an object; else -errno, or 1
 * when the agent answered with an error, and message says what to tell the user. Waits for at most
 * 30 s for each part. */
int sl_ctl_call(const char *socket_path, const json_t *question, json_t **ret,
		char message[SL_CTL_MESSAGE]);
/* The same, but question and answer are text: what the agent says of an error is an answer too. */
int sl_ctl_exchange(const char *socket_path, struct sl_str question, struct sl_buf *answer,
		    char message[SL_CTL_MESSAGE]);
/* An answer's text: as sl_ctl_call(). */
int sl_ctl_parse(const struct sl_buf *answer, json_t **ret, char message[SL_CTL_MESSAGE]);
