/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The programs of the facts. Those that a kernel may refuse are loaded one by one, once. */

/* The SOCKHASH, its sk_msg program and the shared element. 0 or -errno. Must come first. */
int facts_load(void);
