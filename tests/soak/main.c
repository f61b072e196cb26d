/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "soak.h"

enum { MAX_CLIENTS = 1024, FAILURES_SHOWN = 20 };

_Atomic uint64_t stats[N_STATS];
_Atomic unsigned n_failures;
static struct live lives[MAX_CLIENTS];
static _Atomic unsigned n_running;
_Atomic bool stopping;
_Atomic uint64_t client_fault_ms;

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct live *live_of(uint64_t id)
{
	struct live *l = &lives[id % opts.clients];

	return atomic_load(&l->id) == id ? l : NULL;
}

static const char *mode_of(enum io_mode m)
{
	return m < IO_N_MODES ? io_mode_names[m] : "none";
}

static void show(const struct live *l)
{
	static const char *const kinds[] = {"http", "upgrade", "raw", "server-first"};
	struct plan *p = malloc(sizeof(*p));
	uint64_t id = atomic_load(&l->id);

	if (!p)
		return;
	plan_make(p, id);
	fprintf(stderr,
		"  seed %s connection %llu (%s, %u steps) step %u: client %s in \"%s\", server %s "
		"in "
		"\"%s\", %.1f s without progress\n  again: --seed %s --clients %u --only %llu\n",
		opts.seed_text, (unsigned long long)id, kinds[p->kind], p->n_steps,
		atomic_load(&l->step), mode_of(l->client_mode), atomic_load(&l->client_phase),
		mode_of(l->server_mode), atomic_load(&l->server_phase),
		(double)(now_ms() - atomic_load(&l->progress_ms)) / 1000, opts.seed_text,
		opts.clients, (unsigned long long)id);
	if (p->kind <= KIND_UPGRADE && atomic_load(&l->step) < p->n_steps) {
		const struct step *s = &p->steps[atomic_load(&l->step)];

		fprintf(stderr, "  %s up %d:%llu down %d:%llu fault %d cut %llu piped %d\n",
			s->method, s->up, (unsigned long long)s->up_bytes, s->down,
			(unsigned long long)s->down_bytes, s->fault, (unsigned long long)s->cut,
			s->piped);
	}
	free(p);
}

void complain(const struct live *l, const char *side, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (atomic_fetch_add(&n_failures, 1) >= FAILURES_SHOWN)
		return;
	flockfile(stderr);
	fprintf(stderr, "FAILED: %s: %s\n", side, text);
	if (l)
		show(l);
	funlockfile(stderr);
}

/* ---- clients ---- */

static void begin(struct live *l, uint64_t id)
{
	atomic_store(&l->step, 0);
	atomic_store(&l->client_fault, false);
	atomic_store(&l->server_fault, false);
	atomic_store(&l->client_phase, "connect");
	atomic_store(&l->server_phase, "none");
	for (unsigned i = 0; i < MAX_STEPS; i++)
		atomic_store(&l->arrived[i], 0);
	l->client_mode = l->server_mode = IO_N_MODES;
	live_progress(l);
	atomic_store(&l->id, id);
}

static void *clients(void *arg)
{
	struct live *l = arg;
	struct plan *p = malloc(sizeof(*p));
	uint64_t id = (uint64_t)(l - lives);

	if (opts.only >= 0)
		id = (uint64_t)opts.only;
	for (; p && !atomic_load(&stopping); id += opts.clients) {
		if (opts.conns && id >= opts.conns)
			break;
		plan_make(p, id);
		begin(l, id);
		client_run(p, l);
		atomic_store(&l->id, UINT64_MAX);
		if (opts.only >= 0)
			break;
	}
	free(p);
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

/* Returns false when one hangs. */
static bool all_go_on(uint64_t limit_ms)
{
	bool good = true;

	for (unsigned i = 0; i < opts.clients; i++) {
		struct live *l = &lives[i];
		uint64_t last = atomic_load(&l->progress_ms); /* in front of the clock */

		if (atomic_load(&l->id) == UINT64_MAX || now_ms() - last < limit_ms)
			continue;
		complain(l, "watchdog", "hangs");
		good = false;
	}
	return good;
}

static int run(void)
{
	uint64_t begun = now_ms();
	pthread_t thread;

	atomic_store(&n_running, opts.only >= 0 ? 1 : opts.clients);
	for (unsigned i = 0; i < opts.clients; i++)
		atomic_store(&lives[i].id, UINT64_MAX);
	for (unsigned i = 0; i < atomic_load(&n_running); i++) {
		struct live *l = &lives[opts.only >= 0 ? (uint64_t)opts.only % opts.clients : i];

		if (pthread_create(&thread, NULL, clients, l))
			return 2;
	}
	while (atomic_load(&n_running)) {
		usleep(20000);
		if (opts.seconds > 0 && (double)(now_ms() - begun) > opts.seconds * 1000)
			atomic_store(&stopping, true);
		if (atomic_load(&n_failures) >= FAILURES_SHOWN || !all_go_on(deadline_ms + 2000))
			break;
		/* What moves, but never ends. */
		if (opts.seconds > 0 &&
		    (double)(now_ms() - begun) > opts.seconds * 1000 + 2 * deadline_ms &&
		    !all_go_on(0))
			break;
	}
	printf("{\"seed\": \"%s\", \"failures\": %u, \"connections\": %llu, \"exchanges\": %llu, "
	       "\"tunnels\": %llu, \"faults\": %llu, \"bytes_up\": %llu, \"bytes_down\": %llu, "
	       "\"seconds\": %.1f}\n",
	       opts.seed_text, atomic_load(&n_failures), (unsigned long long)stats[STAT_CONNS],
	       (unsigned long long)stats[STAT_EXCHANGES], (unsigned long long)stats[STAT_TUNNELS],
	       (unsigned long long)stats[STAT_FAULTS], (unsigned long long)stats[STAT_BYTES_UP],
	       (unsigned long long)stats[STAT_BYTES_DOWN], (double)(now_ms() - begun) / 1000);
	return atomic_load(&n_failures) ? 1 : 0;
}

/* ---- the command line ---- */

static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3;
	return h;
}

static int in_netns(const char *path, int (*fn)(void))
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int other = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	int r = path && (other < 0 || setns(other, CLONE_NEWNET)) ? -errno : fn();

	if (path && setns(own, CLONE_NEWNET))
		r = -errno;
	close(own);
	close(other);
	return r;
}

static void split(char *list, const char **ret, unsigned n)
{
	for (unsigned i = 0; i < n && list; i++)
		ret[i] = strsep(&list, ",");
}

static void numbers(char *list, unsigned ret[3])
{
	const char *text[3] = {"0", "0", "0"};

	split(list, text, 3);
	for (unsigned i = 0; i < 3; i++)
		ret[i] = (unsigned)strtoul(text[i], NULL, 10);
}

static enum io_mode mode_option(const char *name)
{
	enum io_mode m = io_mode_from(name);

	if (m == IO_N_MODES && strcmp(name, "any") != 0) {
		fprintf(stderr, "no mode %s\n", name);
		exit(2);
	}
	return m;
}

static enum sabotage sabotage_option(const char *name)
{
	static const char *const names[] = {"none", "byte", "stall", "reset"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(names[i], name))
			return (enum sabotage)i;
	}
	fprintf(stderr, "no sabotage %s\n", name);
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", 1, NULL, 's'},
		{"seconds", 1, NULL, 't'},
		{"clients", 1, NULL, 'c'},
		{"conns", 1, NULL, 'n'},
		{"only", 1, NULL, 'o'},
		{"max-body", 1, NULL, 'b'},
		{"max-steps", 1, NULL, 'x'},
		{"no-faults", 0, NULL, 'F'},
		{"no-changes", 0, NULL, 'M'},
		{"client-mode", 1, NULL, 'm'},
		{"server-mode", 1, NULL, 'r'},
		{"kind", 1, NULL, 'k'},
		{"server-netns", 1, NULL, 'N'},
		{"backends", 1, NULL, 'B'},
		{"vips", 1, NULL, 'V'},
		{"ports", 1, NULL, 'p'},
		{"backend-ports", 1, NULL, 'P'},
		{"deadline", 1, NULL, 'd'},
		{"sabotage", 1, NULL, 'S'},
		{"without", 1, NULL, 'W'},
		{"urgent", 1, NULL, 'U'},
		{"tame", 0, NULL, 'T'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			opts.seed_text = optarg;
			break;
		case 't':
			opts.seconds = strtod(optarg, NULL);
			break;
		case 'c':
			opts.clients = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'n':
			opts.conns = strtoull(optarg, NULL, 10);
			break;
		case 'o':
			opts.only = strtoll(optarg, NULL, 10);
			break;
		case 'b':
			opts.max_body = strtoull(optarg, NULL, 10);
			break;
		case 'x':
			opts.max_steps = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'F':
			opts.faults = false;
			break;
		case 'M':
			opts.change_modes = false;
			break;
		case 'T':
			opts.tame = true;
			break;
		case 'm':
			opts.client_mode = mode_option(optarg);
			break;
		case 'r':
			opts.server_mode = mode_option(optarg);
			break;
		case 'W':
			opts.without[mode_option(optarg) % IO_N_MODES] = true;
			break;
		case 'U':
			opts.urgent_percent = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'k':
			opts.kind = (int)strtol(optarg, NULL, 10);
			break;
		case 'N':
			opts.server_netns = optarg;
			break;
		case 'B':
			split(optarg, opts.backend, 2);
			break;
		case 'V':
			split(optarg, opts.vip, 2);
			break;
		case 'p':
			numbers(optarg, opts.port);
			break;
		case 'P':
			numbers(optarg, opts.backend_port);
			break;
		case 'S':
			opts.sabotage = sabotage_option(optarg);
			break;
		case 'd':
			deadline_ms = (unsigned)(strtod(optarg, NULL) * 1000);
			break;
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = {65536, 65536};
	int r;

	opts = (struct options){.seed_text = "soak",
				.clients = 32,
				.only = -1,
				.seconds = 10,
				.max_body = 4 << 20,
				.max_steps = MAX_STEPS,
				.urgent_percent = 3,
				.faults = true,
				.change_modes = true,
				.client_mode = IO_N_MODES,
				.server_mode = IO_N_MODES,
				.kind = -1};
	parse(argc, argv);
	opts.seed = hash(opts.seed_text);
	if (!opts.clients || opts.clients > MAX_CLIENTS || !opts.vip[0] || !opts.backend[0])
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	(void)setrlimit(RLIMIT_NOFILE, &files);
	pattern_init();
	r = in_netns(opts.server_netns, server_start);
	if (r) {
		fprintf(stderr, "server: %s\n", strerror(-r));
		return 2;
	}
	r = run();
	fflush(stdout);
	_exit(r); /* the servers' threads are in the middle of things */
}
