/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_group.h"

#include <errno.h>
#include <jansson.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "resource/syntax.h"

enum { MAX_VERSIONS = 16, REQUEST_TIMEOUT_S = 10 };
#define HOPE_NS	 (60 * SL_NS_PER_S)
#define FRESH_NS (250 * SL_NS_PER_MS) /* kinds that are missing ask one by one */

struct served {
	char *api_version;
	json_t *resources; /* of its APIResourceList; NULL: not read, or none */
};

/* The versions of one reading. */
struct reading {
	struct served items[MAX_VERSIONS];
	size_t n;
};

struct sl_kube_group {
	struct sl_list node;
	struct sl_loop *loop;
	struct sl_kube_client *client;
	struct sl_str name;
	struct sl_list users;
	struct reading known, next;
	size_t n_read; /* of next's */
	struct sl_kube_request *request;
	struct sl_timer again;
	uint64_t read_ns; /* 0: never */
};

static void reading_deinit(struct reading *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->items[i].api_version);
		json_decref(r->items[i].resources);
	}
	*r = (struct reading){0};
}

/* ---- a reading ---- */

static void tell(struct sl_kube_group *g)
{
	bool hopes = false;

	sl_list_foreach (it, &g->users) {
		struct sl_kube_group_user *u = sl_container_of(it, struct sl_kube_group_user, node);

		hopes |= u->on_read(u);
	}
	if (hopes && !g->again.loop)
		sl_timer_arm(g->loop, &g->again, sl_loop_now(g->loop) + HOPE_NS);
}

static void done(struct sl_kube_group *g)
{
	reading_deinit(&g->known);
	g->known = g->next;
	g->next = (struct reading){0};
	g->read_ns = sl_loop_now(g->loop);
	tell(g);
}

static void give_up(struct sl_kube_group *g, const char *why)
{
	reading_deinit(&g->next);
	sl_debug("cannot read what the API server serves group=\"%.*s\": %s", SL_STR_ARG(g->name),
		 why);
	tell(g);
}

static int get(struct sl_kube_group *g, const char *path,
	       void (*on_done)(void *arg, const struct sl_kube_result *result))
{
	const struct sl_kube_call call = {.method = "GET",
					  .path = path,
					  .timeout_s = REQUEST_TIMEOUT_S,
					  .on_done = on_done,
					  .arg = g};

	return path ? sl_kube_call(g->client, &call, &g->request) : -ENOMEM;
}

static void read_next(struct sl_kube_group *g);

/* A version that went meanwhile has nothing. */
static void on_version(void *arg, const struct sl_kube_result *result)
{
	struct sl_kube_group *g = arg;
	json_t *root;

	g->request = NULL;
	if (result->error || (result->status != 200 && result->status != 404)) {
		give_up(g, result->message);
		return;
	}
	root = json_loadb(result->body.ptr, result->body.len, 0, NULL);
	g->next.items[g->n_read++].resources = json_incref(json_object_get(root, "resources"));
	json_decref(root);
	read_next(g);
}

static void read_next(struct sl_kube_group *g)
{
	_cleanup_(sl_freep) char *path = NULL;
	int r;

	if (g->n_read == g->next.n) {
		done(g);
		return;
	}
	path = sl_asprintf("/apis/%s", g->next.items[g->n_read].api_version);
	r = get(g, path, on_version);
	if (r)
		give_up(g, sl_strerror(r));
}

/* It goes into a path. */
static int add_version(struct sl_kube_group *g, const json_t *entry)
{
	struct sl_str version = sl_str_from(json_string_value(json_object_get(entry, "version")));
	struct served *s = &g->next.items[g->next.n];

	if (version.len > sl_text_dns_label.max || !version.len ||
	    !sl_text_dns_label.valid(version))
		return 0;
	s->api_version = sl_asprintf("%.*s/%.*s", SL_STR_ARG(g->name), SL_STR_ARG(version));
	if (!s->api_version)
		return -ENOMEM;
	g->next.n++;
	return 0;
}

static void on_group(void *arg, const struct sl_kube_result *result)
{
	struct sl_kube_group *g = arg;
	json_t *root, *list;
	int r = 0;

	g->request = NULL;
	g->n_read = 0;
	if (result->error || (result->status != 200 && result->status != 404)) {
		give_up(g, result->message);
		return;
	}
	root = result->status == 200 ? json_loadb(result->body.ptr, result->body.len, 0, NULL)
				     : NULL;
	list = json_object_get(root, "versions");
	for (size_t i = 0; i < json_array_size(list) && g->next.n < MAX_VERSIONS && !r; i++)
		r = add_version(g, json_array_get(list, i));
	json_decref(root);
	if (r)
		give_up(g, sl_strerror(r));
	else
		read_next(g);
}

static void begin(struct sl_kube_group *g)
{
	_cleanup_(sl_freep) char *path = sl_asprintf("/apis/%.*s", SL_STR_ARG(g->name));
	int r = get(g, path, on_group);

	if (r)
		give_up(g, sl_strerror(r));
}

static void on_again(struct sl_timer *t)
{
	struct sl_kube_group *g = sl_container_of(t, struct sl_kube_group, again);

	if (!g->request)
		begin(g);
}

void sl_kube_group_ask(struct sl_kube_group *g)
{
	uint64_t now = sl_loop_now(g->loop);

	if (g->request)
		return;
	if (g->read_ns && now < g->read_ns + FRESH_NS)
		sl_timer_arm(g->loop, &g->again, g->read_ns + FRESH_NS);
	else
		begin(g);
}

/* ---- what was read ---- */

static bool has(const struct served *s, const char *plural)
{
	for (size_t i = 0; i < json_array_size(s->resources); i++) {
		const char *name =
			json_string_value(json_object_get(json_array_get(s->resources, i), "name"));

		if (name && strcmp(name, plural) == 0)
			return true;
	}
	return false;
}

const char *sl_kube_group_choose(const struct sl_kube_group *g, const char *const *api_versions,
				 const char *plural)
{
	for (; *api_versions; api_versions++) {
		for (size_t i = 0; i < g->known.n; i++) {
			const struct served *s = &g->known.items[i];

			if (strcmp(s->api_version, *api_versions) == 0 && has(s, plural))
				return *api_versions;
		}
	}
	return NULL;
}

const char *sl_kube_group_any(const struct sl_kube_group *g, const char *plural)
{
	for (size_t i = 0; i < g->known.n; i++) {
		if (has(&g->known.items[i], plural))
			return g->known.items[i].api_version;
	}
	return NULL;
}

/* ---- life ---- */

int sl_kube_group_get(struct sl_list *groups, struct sl_loop *loop, struct sl_kube_client *client,
		      struct sl_str name, struct sl_kube_group **ret)
{
	struct sl_kube_group *g;

	sl_list_foreach (it, groups) {
		g = sl_container_of(it, struct sl_kube_group, node);
		if (sl_str_eq(g->name, name)) {
			*ret = g;
			return 0;
		}
	}
	g = sl_new(struct sl_kube_group);
	if (!g)
		return -ENOMEM;
	g->loop = loop;
	g->client = client;
	g->name = name;
	g->again = SL_TIMER_INIT(on_again);
	sl_list_init(&g->users);
	sl_list_append(groups, &g->node);
	*ret = g;
	return 0;
}

void sl_kube_groups_free(struct sl_list *groups)
{
	sl_list_foreach_safe (it, groups) {
		struct sl_kube_group *g = sl_container_of(it, struct sl_kube_group, node);

		sl_list_remove(&g->node);
		sl_kube_cancel(g->request);
		sl_timer_cancel(&g->again);
		reading_deinit(&g->known);
		reading_deinit(&g->next);
		free(g);
	}
}

void sl_kube_group_join(struct sl_kube_group *g, struct sl_kube_group_user *u)
{
	sl_list_append(&g->users, &u->node);
}

void sl_kube_group_leave(struct sl_kube_group_user *u)
{
	sl_list_remove(&u->node);
}
