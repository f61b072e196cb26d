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

	/* Of clusters. */
	bool kubernetes;
	const char *node;		  /* whose agent to ask; NULL: not said */
	const char *kubeconfig, *context; /* kubectl's; NULL: its own choice */
	const char *namespace;		  /* of the agents; NULL: the default */
	bool pre, dry_run, delete_crds;
	const char *image; /* to install; NULL: the default */
	uint64_t timeout_s;

	uint64_t count; /* samples; 0: not said */
	uint64_t interval_ms;
	char *const *words; /* behind the command */
	int n_words;
};

/* Of which agents of a cluster a command can ask. */
enum sl_ctl_where {
	SL_CTL_NOWHERE,	 /* it asks none */
	SL_CTL_ANY_NODE, /* all know the same */
	SL_CTL_ONE_NODE, /* it has to be said which */
	SL_CTL_ALL_NODES,
	SL_CTL_CLUSTER, /* the command is about the cluster itself */
};

struct sl_ctl_command {
	const char *name, *words, *summary, *help;
	const char *options; /* letters of those that not every command has */
	enum sl_ctl_where where;
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
/* For a command of SL_CTL_ALL_NODES, the views of what all say. */
int sl_ctl_query_nodes(const struct sl_ctl_args *args);
/* Ask. Returns 0, or says why not on stderr. */
int sl_ctl_ask(const struct sl_ctl_args *args, const json_t *question, json_t **ret);
/* Print as args says. Returns the exit status. */
int sl_ctl_show(const struct sl_ctl_args *args, const json_t *answer);
/* Write to standard output. Returns the exit status. r: of what made the text, 0 or -ENOMEM. */
int sl_ctl_write(const struct sl_buf *out, int r);
/* Say what is wrong with the command line. Returns SL_CTL_USAGE. */
int sl_ctl_usage(const char *what, const char *which);

int sl_ctl_serving(const struct sl_ctl_args *args);
int sl_ctl_routes(const struct sl_ctl_args *args);
int sl_ctl_explain(const struct sl_ctl_args *args);
int sl_ctl_validate(const struct sl_ctl_args *args);
int sl_ctl_conns(const struct sl_ctl_args *args);
int sl_ctl_top(const struct sl_ctl_args *args);
int sl_ctl_check(const struct sl_ctl_args *args);
/* A question of sluice/admin.h from standard input, the answer as it comes. */
int sl_ctl_passon(const struct sl_ctl_args *args);
