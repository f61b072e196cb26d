/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Sessions to go on with: what servers gave (RFC 8446 section 4.6.1), one for each endpoint,
 * configuration and protocol, so that the next connection there costs no signature. A bounded
 * memory; an old one that a server does not know any more costs nothing but the try.
 * Thread: one worker.
 */
#include "base/addr.h"

struct sl_tls_sessions;

int sl_tls_sessions_new(struct sl_tls_sessions **ret);			 /* 0 or -ENOMEM */
struct sl_tls_sessions *sl_tls_sessions_free(struct sl_tls_sessions *s); /* as usual */
