/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of core share: the control thread's state. Everything is its own but the parts
 * that host.c reads from workers (marked).
 */
#include <jansson.h>
#include "admin/metrics_http.h"
#include "admin/server.h"
#include "base/map.h"
#include "compile/compile.h"
#include "core/options.h"
#include "core/splicer.h"
#include "core/worker.h"
#include "datapath/datapath.h"
#include "netns/netns.h"
#include "source/folder.h"
#include "source/kube.h"
#include "source/resolver.h"
#include "status/events.h"
#include "status/lease.h"
#include "status/mesh.h"
#include "status/status.h"
#include "status/writer.h"

#define SL_LEASE_NAME "sluice-status"

enum { SL_MAX_ADDRESSES = 15, SL_MAX_LISTENERS = SL_MAX_ADDRESSES + 1 };

/* One network namespace that is served. */
struct sl_served {
	struct sl_control *control;
	struct sl_source *source;
	int fds[SL_MAX_LISTENERS]; /* listening sockets, shared with the workers */
	uint32_t n_fds;
	uint16_t port4, port6;
	uint16_t n_addr4;   /* 127.0.0.1 to 127.0.0.n_addr4 are listened on */
	uint32_t n_ports;   /* ephemeral ones: connections that fit one listener */
	int n_conns;	    /* of all workers, about */
	uint32_t n_offered; /* of fds, to the process that takes over */
	bool published;	    /* in the kernel's map: connections are steered here */
};

struct sl_control {
	const struct sl_options *opts;
	struct sl_loop *loop;
	struct sl_mailbox *mailbox;
	struct sl_datapath *datapath; /* workers use its thread-safe part */
	struct sl_cgroups *cgroups;   /* workers too; NULL: not to be had */
	struct sl_splicer *splicer;   /* NULL: splicing is off */
	char splice_off[256];	      /* why */
	struct sl_metrics *metrics;
	struct sl_worker **workers; /* set before any is started, then constant */
	uint32_t n_workers;
	struct sl_netns_watch *netns;
	struct sl_handover *handover; /* to the next process; NULL: not offered */
	struct sl_takeover *takeover; /* from the process before; NULL: there is none */
	struct sl_map served;	      /* cookie -> struct sl_served */
	struct sl_folder *folder;     /* or */
	struct sl_kube *kube;
	struct sl_kube_access access; /* of kube */
	struct sl_resolver *resolver; /* of hosts that the configuration names */
	struct sl_status *status;
	struct sl_status_writer *status_writer; /* of kube, and */
	struct sl_events *event_writer;
	struct sl_lease *lease;
	struct sl_mesh *mesh; /* NULL: none is wanted */
	struct sl_admin *admin;
	struct sl_metrics_http *metrics_http;
	bool host_metrics;	    /* added to metrics */
	struct sl_conn_dump *dumps; /* under way: views_conns.c */

	const struct sl_model *model;		 /* the source's, as it is now */
	struct sl_snapshot *snap;		 /* in force: workers and kernel have it */
	struct sl_snapshot *publishing, *queued; /* on its way to the workers; next in line */
	struct sl_compile_report *publishing_report, *queued_report;
	struct sl_compiler *compiler; /* NULL before the first load */
	struct sl_timer status_due;   /* the status file is to be written */
	struct sl_timer compile_due;  /* the sources are to tell again: the last one failed, or
					 something in it ends */
	uint64_t status_written_ns;
	struct sl_ack publish_ack;
	uint64_t generation;
	json_t *problems; /* {"errors":[..],"warnings":[..]} of the newest load */
	size_t n_errors, n_documents;
	uint64_t *logged; /* hashes of the problems that the log has, sorted */
	size_t n_logged;
	char loaded_at[25];
	uint64_t started_ns;

	struct sl_watch events; /* of the datapath */
	struct sl_watch signals;
	struct sl_timer beat;
	struct sl_timer drain;
	struct sl_ack drain_ack;
	bool drain_asks;	  /* workers have yet to carry out its latest order */
	bool deaf;		  /* they were told to accept no more */
	uint64_t drain_listen_ns; /* until then they accept in any case */
	struct sl_ack ping;
	bool pinging;
	uint64_t last_beat_ns;
	bool draining;
	bool stopping; /* the loop has ended */
	/* Another process has the kernel's maps and the listeners: be ready, and change nothing. */
	bool passive;
	/* It has the maps, and the process before still accepts. */
	bool waiting;
	bool giving;		  /* the next process serves; what is under way ends here */
	int admin_fd, metrics_fd; /* listening sockets of another process, for views.c; -1 */
	int error;		  /* -errno that ends the agent: said already */
	uint64_t drain_until_ns;
};

/* control.c: have the kernel's maps and hooks as this process wants them; lock as for
 * sl_datapath_claim(). Returns 0 or -errno after saying why. */
int sl_control_act(struct sl_control *c, int lock);
/* What is done all the time by the process that acts. Returns 0 or -errno. */
int sl_control_attend(struct sl_control *c);
/* As SIGTERM does. */
void sl_control_end(struct sl_control *c);
/* Connections of all workers. */
size_t sl_control_n_conns(const struct sl_control *c);
/* control.c: tell the kernel that all workers are alive, when they have all just shown it. */
void sl_control_beat(struct sl_control *c);

/* config.c: the source of configuration. Cheap mistakes are found before the kernel is touched.
 * Return 0 or -errno, after saying why. */
int sl_config_check(struct sl_control *c);
/* A folder is loaded when this returns; a cluster's first state comes from the loop. */
int sl_config_open(struct sl_control *c);
void sl_config_reload(struct sl_control *c);
/* The same configuration is to be compiled again, as something else that counts has changed. */
void sl_config_tell(struct sl_control *c);
/* A problem that was not there before: others in the cluster may hear of it. */
void sl_config_problem(struct sl_control *c, const struct sl_diag *d);
/* What was told is in force: others in the cluster may hear of it. */
void sl_config_in_force(struct sl_control *c);
/* Hand over what others in the cluster wait for, while the loop still runs; until when. */
void sl_config_begin_close(struct sl_control *c);
bool sl_config_may_close(const struct sl_control *c);
/* After all. */
void sl_config_go_on(struct sl_control *c);
void sl_config_close(struct sl_control *c);
/* For people: the folder, or the API server's URL. */
const char *sl_config_name(const struct sl_control *c);

/* control.c: begin to serve network namespaces, once, as soon as there is a configuration. Returns
 * 0 or -errno, after saying why. */
int sl_control_watch_netns(struct sl_control *c);

/* publish.c: model to snapshot to workers to kernel, and the conditions that follow. */
void sl_publish_model(void *control, const struct sl_model *model,
		      const struct sl_config_report *report);
/* Takes both. */
void sl_publish_snapshot(struct sl_control *c, struct sl_snapshot *snap,
			 struct sl_compile_report *report);

/* Of compile_due. */
void sl_publish_again(struct sl_timer *t);
/* Have the kernel's maps hold what is in force, all of it. Returns 0 or -errno. */
int sl_publish_apply(struct sl_control *c);
/* Of status_due. */
void sl_publish_write_status(struct sl_timer *t);
/* Writes a status that waits. Call it while the loop is there. */
void sl_publish_close(struct sl_control *c);

/* served.c: network namespaces. */
void sl_served_event(void *control, enum sl_netns_event event, struct sl_source *source);
/* The kernel says that a namespace without a listener called a routed Service. */
void sl_served_wanted(void *control, const struct sl_event *ev);
/* host.c counts a namespace's connections here. */
void sl_served_crowd(struct sl_control *c, uint64_t cookie, int change);
/* New connections are not steered any more; open ones go on. */
void sl_served_unpublish_all(struct sl_control *c);
/* Tell the kernel of all, and give the workers their listeners. */
void sl_served_publish_all(struct sl_control *c);
void sl_served_give_all(struct sl_control *c);
struct sl_wire_source;
/* Further listeners of a namespace that is served already: takes what it can use of fds, which it
 * sets to -1. */
void sl_served_merge(struct sl_control *c, const struct sl_wire_source *m, int *fds,
		     unsigned n_fds);
void sl_served_free_all(struct sl_control *c);

/* host.c: what workers ask for, in their threads. */
struct sl_proxy_host sl_host_for(struct sl_control *c, uint32_t worker);

/* views_conns.c: workers must be gone. */
void sl_conn_dumps_free(struct sl_control *c);

/* views.c: what sluicectl and Prometheus show. */
int sl_views_open(struct sl_control *c); /* 0, or -errno after saying why */
/* Answer no more, but keep the sockets for sl_views_open() to go on with. */
void sl_views_suspend(struct sl_control *c);
void sl_views_close(struct sl_control *c);
