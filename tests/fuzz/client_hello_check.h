/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What holds for every first flight of bytes; returns what does not, or NULL. */
#include <stddef.h>

const char *client_hello_check(const char *p, size_t n);
