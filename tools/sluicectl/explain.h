/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The question of "explain", from the words of a command line or a line of the access log. */
#include "args.h"
#include "client.h"

/* Each returns 0 with a new reference, -ENOMEM, or -EINVAL with a message for the user. */
int sl_explain_typed(const struct sl_ctl_args *args, json_t **ret, char message[SL_CTL_MESSAGE]);
int sl_explain_logged(const json_t *record, json_t **ret, char message[SL_CTL_MESSAGE]);
