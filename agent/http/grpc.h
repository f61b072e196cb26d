/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a proxy needs to know of gRPC over HTTP/2: to tell a call, its deadline, and how to refuse
 * it. */
#include "http/message.h"

/* By its Content-Type: application/grpc, alone or with a suffix. */
bool sl_grpc_is_call(const struct sl_request *r);
/* The value of grpc-timeout: at most eight digits and a unit. Returns 0, or -EINVAL. */
int sl_grpc_timeout(struct sl_str value, uint64_t *ret_ns);
/* The status code that stands for that of an answer of the agent's own. */
unsigned sl_grpc_code(uint16_t status);
/* Make of such an answer one that gRPC understands: 200, the code, and message (printable ASCII) as
 * grpc-message. Returns 0 or -ENOMEM. */
int sl_grpc_answer(struct sl_response *res, struct sl_arena *a, unsigned code,
		   struct sl_str message);
