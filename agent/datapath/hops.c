/* SPDX-License-Identifier: Apache-2.0 */
/* Splicing's programs and maps: load, attach, pin, detector, names. */
#include "datapath/hops.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "datapath/hops_internal.h"
#include "splice.skel.h"

#define BUDGET (64u << 10)

#define NAME(upper, name, text) #name,
#define HELP(upper, name, text) text,
static const char *const verdict_names[] = {SL_HOP_VERDICTS(NAME)};
static const char *const verdict_helps[] = {SL_HOP_VERDICTS(HELP)};
static const char *const unfit_names[] = {SL_UNFITS(NAME)};
static const char *const unfit_helps[] = {SL_UNFITS(HELP)};
#undef NAME
#undef HELP

const char *sl_hop_verdict_name(unsigned verdict)
{
	return verdict < SL_HOP_VERDICT_MAX ? verdict_names[verdict] : NULL;
}

const char *sl_hop_verdict_help(unsigned verdict)
{
	return verdict < SL_HOP_VERDICT_MAX ? verdict_helps[verdict] : NULL;
}

const char *sl_unfit_name(unsigned bit)
{
	return bit < SL_UNFIT_MAX ? unfit_names[bit] : NULL;
}

const char *sl_unfit_help(unsigned bit)
{
	return bit < SL_UNFIT_MAX ? unfit_helps[bit] : NULL;
}

static const char *const detector_names[SL_DETECTORS] = {
	[SL_DETECTOR_NONE] = "none",
	[SL_DETECTOR_FENTRY] = "fentry",
	[SL_DETECTOR_KPROBE] = "kprobe",
	[SL_DETECTOR_TRACEPOINT] = "tracepoint",
};

const char *sl_detector_name(enum sl_detector d)
{
	return (unsigned)d < SL_DETECTORS ? detector_names[d] : "none";
}

enum sl_detector sl_hops_detector(const struct sl_hops *h)
{
	return h->detector;
}

/* Who was seen to use splice(2) outlives the agent; all else is about connections that are gone. */
static int reuse_unfit(struct sl_hops *h, const char *dir)
{
	struct bpf_map *map = h->skel->maps.sl_unfit;
	_cleanup_(sl_freep) char *path = sl_dp_pin_path(dir, "", bpf_map__name(map));
	_cleanup_(sl_closep) int fd = -1;
	struct bpf_map_info have = {0};
	uint32_t len = sizeof(have);
	int r;

	if (!path)
		return -ENOMEM;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = bpf_obj_get_info_by_fd(fd, &have, &len);
	if (r)
		return r;
	if (have.key_size != bpf_map__key_size(map) ||
	    have.value_size != bpf_map__value_size(map) ||
	    have.max_entries != bpf_map__max_entries(map))
		return 0; /* another agent's: the pin is replaced */
	return bpf_map__reuse_fd(map, fd);
}

static int cookie_of(int fd, uint64_t *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret, &len) < 0 ? -errno : 0;
}

/* dp is NULL for a trial: a map of its own stands in for sl_orig. */
static int open_object(struct sl_hops *h, const struct sl_datapath *dp, enum sl_detector detector)
{
	uint32_t n = h->n_slots;
	uint64_t sink;
	int r = cookie_of(h->sink[0], &sink);

	if (r)
		return r;
	h->skel = splice_bpf__open();
	if (!h->skel)
		return -errno;
	h->skel->rodata->sl_sink = sink;
	(void)bpf_program__set_autoload(
		h->skel->progs.sl_spl_fentry,
		detector == SL_DETECTOR_FENTRY); /* these fail only after load */
	(void)bpf_program__set_autoload(h->skel->progs.sl_spl_kprobe,
					detector == SL_DETECTOR_KPROBE);
	(void)bpf_program__set_autoload(h->skel->progs.sl_spl_trace,
					detector == SL_DETECTOR_TRACEPOINT);
	(void)bpf_map__set_max_entries(h->skel->maps.sl_sock, 2 * n + 1);
	(void)bpf_map__set_max_entries(h->skel->maps.sl_hop, n);
	(void)bpf_map__set_max_entries(h->skel->maps.sl_app, n);
	(void)bpf_map__set_max_entries(h->skel->maps.sl_want, n);
	if (!dp)
		return 0;
	r = bpf_map__reuse_fd(h->skel->maps.sl_orig, dp->map[SL_DP_ORIG]);
	return r ? r : reuse_unfit(h, dp->dir);
}

static int attach_detector(struct sl_hops *h)
{
	struct bpf_program *const programs[SL_DETECTORS] = {
		[SL_DETECTOR_FENTRY] = h->skel->progs.sl_spl_fentry,
		[SL_DETECTOR_KPROBE] = h->skel->progs.sl_spl_kprobe,
		[SL_DETECTOR_TRACEPOINT] = h->skel->progs.sl_spl_trace,
	};

	if (h->detector == SL_DETECTOR_NONE)
		return 0;
	h->detector_link = bpf_program__attach(programs[h->detector]);
	return h->detector_link ? 0 : -errno;
}

static void unload(struct sl_hops *h)
{
	if (h->detector_link)
		(void)bpf_link__destroy(h->detector_link); /* nothing can be done about it */
	h->detector_link = NULL;
	if (h->skel)
		splice_bpf__destroy(h->skel);
	h->skel = NULL;
}

static int load_with(struct sl_hops *h, const struct sl_datapath *dp, enum sl_detector detector)
{
	int r = open_object(h, dp, detector);

	h->detector = detector;
	if (!r)
		r = splice_bpf__load(h->skel);
	if (!r)
		r = attach_detector(h);
	if (r)
		unload(h);
	return r;
}

static int failed(struct sl_hops_report *report, const char *missing, int error, const char *text)
{
	report->missing = missing;
	return sl_dp_error(report->message, sizeof(report->message), error, "%s: %s (%s)", missing,
			   text, sl_strerror(error));
}

/* With the best detector that there is. */
static int load(struct sl_hops *h, const struct sl_datapath *dp, bool without_detector,
		struct sl_hops_report *report)
{
	int r;

	for (enum sl_detector d = SL_DETECTOR_FENTRY; d < SL_DETECTORS; d++) {
		r = load_with(h, dp, d);
		if (!r)
			return 0;
		if (r == -ENOMEM)
			return failed(report, "load", r, "cannot load the programs");
	}
	r = load_with(h, dp, SL_DETECTOR_NONE);
	if (r)
		return failed(report, "load", r,
			      "the kernel refused the programs: --log-level=debug shows why");
	if (without_detector)
		return 0;
	unload(h);
	return failed(report, "detector", -ENOTSUP,
		      "neither fentry nor a kprobe on tcp_splice_read nor the tracepoint "
		      "tcp_rcv_space_adjust can be had");
}

/* Sockets that are put into the map get the program then: it needs no pin to outlive us in them. */
static int attach(struct sl_hops *h)
{
	int msg = bpf_program__fd(h->skel->progs.sl_msg), r;

	h->msg_link = bpf_link_create(msg, h->sock, BPF_SK_MSG_VERDICT, NULL); /* Linux 6.10 */
	if (h->msg_link < 0) {
		r = bpf_prog_attach(msg, h->sock, BPF_SK_MSG_VERDICT, 0);
		if (r)
			return r;
	}
	h->iter_link =
		bpf_link_create(bpf_program__fd(h->skel->progs.sl_look), 0, BPF_TRACE_ITER, NULL);
	return h->iter_link < 0 ? h->iter_link : 0;
}

/* Where a send goes that is to fail: into a connection that takes nothing more. */
static int sink_insert(struct sl_hops *h)
{
	uint64_t fd = h->sink[0], cookie;
	int r = cookie_of(h->sink[0], &cookie);

	if (!r)
		r = bpf_map_update_elem(h->sock, &cookie, &fd, BPF_NOEXIST);
	/* Afterwards: only what is established is let into the map. */
	if (!r && shutdown(h->sink[0], SHUT_WR) < 0)
		r = -errno;
	return r;
}

/* For people, and for who comes after us to remember unfit programs. */
static int pin(struct sl_hops *h, const char *dir)
{
	const struct bpf_map *const maps[] = {h->skel->maps.sl_sock, h->skel->maps.sl_hop,
					      h->skel->maps.sl_peer, h->skel->maps.sl_want,
					      h->skel->maps.sl_unfit};

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
		_cleanup_(sl_freep) char *path = sl_dp_pin_path(dir, "", bpf_map__name(maps[i]));
		int r;

		if (!path)
			return -ENOMEM;
		if (unlink(path) < 0 && errno != ENOENT)
			return -errno;
		r = bpf_obj_pin(bpf_map__fd(maps[i]), path);
		if (r)
			return r;
	}
	return 0;
}

static int unpin(const char *dir)
{
	static const char *const names[] = {"sl_sock", "sl_hop", "sl_peer", "sl_want", "sl_unfit"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		_cleanup_(sl_freep) char *path = sl_dp_pin_path(dir, "", names[i]);

		if (!path)
			return -ENOMEM;
		if (unlink(path) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

/* Called by libbpf for each record. The detector sees the whole node: the socket may be in the map
 * of somebody else, also of another agent that tries its kernel, or have left ours. */
static int take_event(void *arg, void *record, size_t len)
{
	const struct sl_splice_event *ev = record;
	struct sl_hops *h = arg;
	uint64_t found;

	if (len >= sizeof(*ev) && !bpf_map_lookup_elem(h->sock, &ev->cookie, &found))
		h->event_fn(h->event_arg, ev);
	return 0;
}

int sl_hops_events_fd(const struct sl_hops *h)
{
	return ring_buffer__epoll_fd(h->ring);
}

int sl_hops_events_consume(struct sl_hops *h, sl_hops_event_fn fn, void *arg)
{
	h->event_fn = fn;
	h->event_arg = arg;
	return ring_buffer__consume(h->ring);
}

static int map_table(struct sl_hops *h)
{
	void *p = mmap(NULL, h->n_slots * sizeof(struct sl_hop), PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(h->skel->maps.sl_hop), 0);

	if (p == MAP_FAILED)
		return -errno;
	h->table = p;
	return 0;
}

static int start(struct sl_hops *h, uint32_t n_workers)
{
	int r;

	h->sock = bpf_map__fd(h->skel->maps.sl_sock);
	h->peer = bpf_map__fd(h->skel->maps.sl_peer);
	h->want = bpf_map__fd(h->skel->maps.sl_want);
	h->unfit = bpf_map__fd(h->skel->maps.sl_unfit);
	r = map_table(h);
	if (!r)
		r = sl_hops_shares_new(h, n_workers);
	if (r)
		return r;
	h->ring = ring_buffer__new(bpf_map__fd(h->skel->maps.sl_splice_ev), take_event, h, NULL);
	if (!h->ring)
		return -errno;
	r = attach(h);
	return r ? r : sink_insert(h);
}

static int open_with(const struct sl_datapath *dp, const struct sl_hops_opts *opts,
		     struct sl_hops **ret, struct sl_hops_report *report)
{
	uint32_t n_workers = opts->n_workers ? opts->n_workers : 1;
	struct sl_hops *h = sl_new(struct sl_hops);
	int r;

	*report = (struct sl_hops_report){.missing = "setup"};
	if (!h)
		return failed(report, "setup", -ENOMEM, "cannot begin");
	h->n_slots = opts->max_hops ? opts->max_hops : SL_MAX_HOPS;
	if (h->n_slots < n_workers)
		h->n_slots = n_workers;
	h->budget = opts->budget ? opts->budget : BUDGET;
	h->msg_link = h->iter_link = h->sink[0] = h->sink[1] = -1;
	r = sl_hops_pair(&h->sink[0], &h->sink[1]);
	if (r)
		(void)failed(report, "setup", r, "no connection over 127.0.0.1");
	else
		r = load(h, dp, opts->without_detector, report);
	if (!r) {
		r = start(h, n_workers);
		r = r ? failed(report, "setup", r, "cannot attach the programs")
		      : sl_hops_selftest(h, report);
	}
	if (!r && dp) {
		r = pin(h, dp->dir);
		if (r)
			(void)failed(report, "setup", r, "cannot pin the maps");
	}
	if (r) {
		(void)sl_hops_close(h);
		return r;
	}
	report->missing = "";
	report->detector = h->detector;
	(void)snprintf(report->message, sizeof(report->message), "self-test passed, detector: %s",
		       sl_detector_name(h->detector));
	*ret = h;
	return 0;
}

int sl_hops_open(struct sl_datapath *dp, const struct sl_hops_opts *opts, struct sl_hops **ret,
		 struct sl_hops_report *report)
{
	return open_with(dp, opts, ret, report);
}

int sl_hops_remove(const struct sl_datapath *dp)
{
	return unpin(dp->dir);
}

int sl_hops_try(struct sl_hops_report *report)
{
	const struct sl_hops_opts opts = {.max_hops = 64};
	struct sl_hops *h;
	int r = open_with(NULL, &opts, &h, report);

	if (!r)
		(void)sl_hops_close(h);
	return r;
}

struct sl_hops *sl_hops_close(struct sl_hops *h)
{
	if (!h)
		return NULL;
	sl_closep(&h->sink[0]);
	sl_closep(&h->sink[1]);
	sl_closep(&h->msg_link);
	sl_closep(&h->iter_link);
	ring_buffer__free(h->ring);
	if (h->table) /* a mapping of ours: cannot fail */
		(void)munmap(h->table, h->n_slots * sizeof(struct sl_hop));
	sl_hops_shares_free(h);
	unload(h);
	free(h);
	return NULL;
}
