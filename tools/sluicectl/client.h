/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One question to the agent over its admin socket. */
#include <jansson.h>
#include <stddef.h>

enum { SL_CTL_MESSAGE = 512 };

/* question: an object. Returns 0 with a new reference to the answer, an object; else -errno, or 1
 * when the agent answered with an error, and message says what to tell the user. Waits for at most
 * 30 s for each part. */
int sl_ctl_call(const char *socket_path, const json_t *question, json_t **ret,
		char message[SL_CTL_MESSAGE]);
