/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Entering network namespaces by descriptor. Private to netns/. Thread: any. */

/* As sl_source_socket(); fd -1 is the caller's own namespace. */
int sl_netns_socket_at(int fd, int family, int type, int protocol);
