/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command line of sluiced. */
#include <stdbool.h>
#include <stdint.h>
#include "base/addr.h"
#include "datapath/datapath.h"
#include "core/splicer.h"
#include "proxy/proxy.h"

enum { SL_MAX_NETNS_DIRS = 16, SL_MAX_WORKERS = 256 };

struct sl_options {
	const char *config_dir;	 /* NULL: a Kubernetes API server is the source */
	bool kubernetes;	 /* as a Pod's service account, if there is no kubeconfig */
	const char *kubeconfig;	 /* NULL: none */
	const char *context;	 /* of the kubeconfig; NULL: its current one */
	const char *node;	 /* whose Pods are told apart; NULL: all */
	const char *dns_servers; /* "10.0.0.10,[fd00::1]:53"; NULL: of resolv.conf */
	const char *mesh_name;	 /* of the XMesh; empty: none */
	const char *cgroup;	 /* NULL: the cgroup2 mount */
	const char *bpffs;	 /* NULL: the default */
	const char *netns_dirs[SL_MAX_NETNS_DIRS];
	uint32_t n_netns_dirs;
	bool host_netns;
	uint32_t n_workers;
	enum sl_vip_provider provider;
	bool has_provider; /* written by the user */
	enum sl_failure_policy policy;
	enum sl_splice_mode splice;
	uint64_t heartbeat_limit_ns;
	uint64_t drain_timeout_ns;
	const char *status_file; /* NULL: none */
	const char *access_log;	 /* NULL: none; "-": stdout */
	const char *admin_socket;
	const char *handover_socket; /* NULL: beside the admin socket */
	bool takeover;
	bool linger;		    /* after another process took over, until SIGTERM */
	struct sl_proxy_opts proxy; /* limits and timeouts; totals are the agent's */
	bool metrics;
	struct sl_addr metrics_address;
	bool detach;
	bool uninstall;
	bool check;
};

enum {
	SL_OPTIONS_EXIT = 1,  /* --help, --version: printed, exit 0 */
	SL_OPTIONS_USAGE = 2, /* wrong: said why on stderr, exit 2 */
};

/* Fills *ret, also with the defaults. Text is borrowed from argv. Returns 0 or SL_OPTIONS_*. */
int sl_options_parse(int argc, char **argv, struct sl_options *ret);
