/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command line of sluicectl, taken apart: what the commands share. */
#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include "base/buf.h"

enum sl_ctl_output { SL_CTL_TABLE, SL_CTL_JSON, SL_CTL_NAME };

enum { SL_CTL_MAX_HEADERS = 100, SL_CTL_USAGE = 2 /* exit status */ };

struct sl_ctl_command;

struct sl_ctl_args {
	const struct sl_ctl_command *command;
	const char *socket_path;
	enum sl_ctl_output output;
	const char *from;     /* "ns/pod" or "ns"; NULL: not said */
	const char *log_line; /* JSON, or "-" for standard input; NULL: none */
	const char *headers[SL_CTL_MAX_HEADERS];
	uint32_t n_headers;
	bool all, watch;
	uint64_t count; /* samples; 0: not said */
	uint64_t interval_ms;
	char *const *words; /* behind the command */
	int n_words;
};

struct sl_ctl_command {
	const char *name, *words, *summary, *help;
	const char *options; /* letters of those that not every command has */
	int max_words;
	/* Returns the exit status. */
	int (*run)(const struct sl_ctl_args *args);
	/* For sl_ctl_query(): */
	int (*view)(const json_t *answer, struct sl_buf *out);
	bool (*passed)(const json_t *answer);			/* NULL: always */
	int (*names)(const json_t *answer, struct sl_buf *out); /* -o name; NULL: there are none */
};

/* Ask {"command": NAME} and show the answer. Returns the exit status. */
int sl_ctl_query(const struct sl_ctl_args *args);
/* Ask. Returns 0, or says why not on stderr. */
int sl_ctl_ask(const struct sl_ctl_args *args, const json_t *question, json_t **ret);
/* Print as args says. Returns the exit status. */
int sl_ctl_show(const struct sl_ctl_args *args, const json_t *answer);
/* Write to standard output. Returns the exit status. r: of what made the text, 0 or -ENOMEM. */
int sl_ctl_write(const struct sl_buf *out, int r);
/* Say what is wrong with the command line. Returns SL_CTL_USAGE. */
int sl_ctl_usage(const char *what, const char *which);

int sl_ctl_routes(const struct sl_ctl_args *args);
int sl_ctl_explain(const struct sl_ctl_args *args);
int sl_ctl_validate(const struct sl_ctl_args *args);
int sl_ctl_conns(const struct sl_ctl_args *args);
int sl_ctl_top(const struct sl_ctl_args *args);
