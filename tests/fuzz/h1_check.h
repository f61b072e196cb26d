/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Properties that the HTTP/1 codec has for every input, shared by the fuzz targets and the unit
 * tests. Each check returns NULL, or static text about the property that does not hold.
 */
#include <stdbool.h>
#include <stddef.h>
#include "http/message.h"

/* How the input arrives: `first` bytes, then `step` at a time. */
struct h1_split {
	size_t first, step;
};

/*
 * A request and its body, then what comes behind is left alone:
 * - it is the same however the input is split;
 * - the guess agrees with the parser and stands by its answer when more bytes come;
 * - an accepted head, written and parsed again, is the same request with one Host line;
 * - a decoded body, framed and decoded again, is the same body.
 */
const char *h1_check_request(const char *p, size_t len, struct h1_split split);
/* The same for a response to a request of that method. */
const char *h1_check_response(const char *p, size_t len, enum sl_method method,
			      struct h1_split split);
/* Paths, queries, authorities and escapes. */
const char *h1_check_uri(const char *p, size_t len);
