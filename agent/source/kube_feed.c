/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_feed.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/log.h"
#include "resource/decode.h"
#include "source/kube_group.h"
#include "source/kube_needs.h"

static const char *const plurals[SL_N_KINDS] = {
	[SL_KIND_NAMESPACE] = "namespaces",
	[SL_KIND_SERVICE] = "services",
	[SL_KIND_ENDPOINTSLICE] = "endpointslices",
	[SL_KIND_POD] = "pods",
	[SL_KIND_NODE] = "nodes",
	[SL_KIND_HTTPROUTE] = "httproutes",
	[SL_KIND_GRPCROUTE] = "grpcroutes",
	[SL_KIND_TLSROUTE] = "tlsroutes",
	[SL_KIND_TCPROUTE] = "tcproutes",
	[SL_KIND_UDPROUTE] = "udproutes",
	[SL_KIND_TRAFFICPOLICY] = "trafficpolicies",
	[SL_KIND_BACKENDTRAFFICPOLICY] = "xbackendtrafficpolicies",
	[SL_KIND_FAULTINJECTION] = "faultinjections",
	[SL_KIND_XBACKEND] = "xbackends",
	[SL_KIND_BACKENDTLSPOLICY] = "backendtlspolicies",
	[SL_KIND_CONFIGMAP] = "configmaps",
	[SL_KIND_SECRET] = "secrets",
};

/* What the server has, valid or not. */
struct known {
	uint64_t list; /* the last list of its kind that named it, or was going on when it came */
	uint64_t version_hash; /* of uid, resourceVersion and the API's version */
	uint64_t content_hash; /* of what a decoder looks at; 0: not known */
	struct sl_list troubled;
	struct sl_diags diags;	       /* of its decoding */
	struct sl_str namespace, name; /* inside text */
	size_t key_len;
	char text[]; /* "namespace/name" */
};

struct sl_kube_feed {
	struct sl_kube_pool *pool;
	struct sl_list node; /* of the pool's */
	enum sl_kind kind;
	struct sl_kube_collection what;
	struct sl_kube_watch *watch;
	struct sl_map known; /* by key */
	uint64_t list;	     /* number of the list that is going on, or was the last */
	bool synced;
	bool absent;   /* unless the group says otherwise */
	char *trouble; /* NULL: none */
	struct sl_kube_group *group;
	struct sl_kube_group_user user;
	char *unread; /* the server has the kind in no version that is decoded; NULL: not so */
};

/* ---- objects ---- */

struct ident {
	const char *namespace, *name, *uid, *version;
};

static bool read_ident(json_t *object, struct ident *ret)
{
	json_t *meta = json_object_get(object, "metadata");
	const char *namespace = json_string_value(json_object_get(meta, "namespace"));
	const char *uid = json_string_value(json_object_get(meta, "uid"));
	const char *version = json_string_value(json_object_get(meta, "resourceVersion"));

	ret->namespace = namespace ? namespace : "";
	ret->name = json_string_value(json_object_get(meta, "name"));
	ret->uid = uid ? uid : "";
	ret->version = version ? version : "";
	return ret->name && *ret->name;
}

static uint64_t version_hash(const struct sl_kube_feed *f, const struct ident *id)
{
	uint64_t parts[] = {sl_str_hash(sl_str_from(id->uid)),
			    sl_str_hash(sl_str_from(id->version)),
			    sl_str_hash(sl_str_from(f->what.api_version))};

	return sl_hash_bytes(parts, sizeof(parts));
}

static uint64_t hash_of(const json_t *part)
{
	_cleanup_(sl_freep) char *text =
		part ? json_dumps(part, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	return sl_str_hash(sl_str_from(text));
}

/*
 * A route changes with each writing of its status, by us and by every other controller: that is no
 * reason to compile. The server counts changes of spec in generation. 0: not known, for kinds that
 * have none.
 */
static uint64_t content_hash(const struct sl_kube_feed *f, const json_t *object,
			     const struct ident *id)
{
	json_t *meta = json_object_get(object, "metadata");
	json_t *generation = json_object_get(meta, "generation");
	uint64_t parts[5];

	/* A Node reports its health there, and only its labels are looked at. */
	if (f->kind != SL_KIND_NODE && (!sl_kind_has_status(f->kind) || !generation))
		return 0;
	parts[0] = sl_str_hash(sl_str_from(id->uid));
	parts[1] = (uint64_t)json_integer_value(generation); /* 0 without */
	parts[2] = hash_of(json_object_get(meta, "labels"));
	parts[3] = hash_of(json_object_get(meta, "annotations"));
	parts[4] = sl_str_hash(sl_str_from(f->what.api_version));
	return sl_hash_bytes(parts, sizeof(parts));
}

static struct sl_str key_of(const struct known *o)
{
	return (struct sl_str){o->text, o->key_len};
}

static struct known *find_known(const struct sl_kube_feed *f, const struct ident *id)
{
	_cleanup_(sl_freep) char *key = sl_asprintf("%s/%s", id->namespace, id->name);

	return key ? sl_map_get(&f->known, sl_str_from(key)) : NULL;
}

static int add_known(struct sl_kube_feed *f, const struct ident *id, struct known **ret)
{
	size_t n_ns = strlen(id->namespace), n_name = strlen(id->name);
	struct known *o = sl_calloc(1, sizeof(*o) + n_ns + n_name + 1);

	if (!o)
		return -ENOMEM;
	memcpy(o->text, id->namespace, n_ns);
	o->text[n_ns] = '/';
	memcpy(o->text + n_ns + 1, id->name, n_name);
	o->key_len = n_ns + 1 + n_name;
	o->namespace = (struct sl_str){o->text, n_ns};
	o->name = (struct sl_str){o->text + n_ns + 1, n_name};
	sl_list_init(&o->troubled);
	if (sl_map_put(&f->known, key_of(o), o, NULL)) {
		free(o);
		return -ENOMEM;
	}
	f->pool->n_known++;
	*ret = o;
	return 0;
}

static void show(struct sl_kube_feed *f, const struct known *o, const json_t *json)
{
	const struct sl_kube_opts *opts = f->pool->opts;

	if (opts->on_route && sl_kind_has_status(f->kind))
		opts->on_route(opts->arg, f->kind, &f->what, o->namespace, o->name, json);
}

/* A Pod may be one of this node and one that an XBackend selects. */
static bool known_elsewhere(const struct sl_kube_feed *f, const struct known *o)
{
	sl_list_foreach (it, &f->pool->feeds) {
		const struct sl_kube_feed *other = sl_container_of(it, struct sl_kube_feed, node);

		if (other != f && other->kind == f->kind && sl_map_get(&other->known, key_of(o)))
			return true;
	}
	return false;
}

static void take_out(struct sl_kube_feed *f, const struct known *o)
{
	struct sl_object *old = sl_model_get(f->pool->model, f->kind, o->namespace, o->name);

	if (!old || known_elsewhere(f, o))
		return; /* or never was valid */
	sl_kube_needs_drop(f->pool->needs, old);
	(void)sl_model_remove(f->pool->model, f->kind, o->namespace, o->name); /* it is there */
}

/* What it names is needed before what its last version named is dropped: no watch is broken off. */
static int put_in(struct sl_kube_feed *f, struct sl_object *object)
{
	struct sl_kube_pool *pool = f->pool;
	struct sl_object *old =
		sl_model_get(pool->model, f->kind, object->meta.namespace, object->meta.name);
	int r = sl_kube_needs_add(pool->needs, object);

	if (r)
		return r;
	if (old)
		sl_object_ref(old);
	r = sl_model_put(pool->model, object);
	if (r)
		sl_kube_needs_drop(pool->needs, object);
	else if (old)
		sl_kube_needs_drop(pool->needs, old);
	sl_object_unref(old);
	return r;
}

static void forget(struct sl_kube_feed *f, struct known *o)
{
	struct sl_kube_pool *pool = f->pool;

	show(f, o, NULL);
	take_out(f, o);
	sl_map_del(&f->known, key_of(o));
	sl_list_remove(&o->troubled);
	sl_diags_deinit(&o->diags);
	free(o);
	pool->n_known--;
	pool->changed(pool->arg);
}

static int decode(struct sl_kube_feed *f, struct known *o, json_t *json)
{
	_cleanup_(sl_object_unrefp) struct sl_object *object = NULL;
	_cleanup_(sl_diags_deinit) struct sl_diags diags = SL_DIAGS_INIT;
	struct sl_decode_opts opts = {0};
	struct sl_str key;
	int r = sl_decode_object(json, &opts, &diags, &object, &key);

	if (r < 0)
		return r;
	if (!r)
		r = put_in(f, object);
	if (r < 0)
		return r;
	/* Else it is invalid, and the last valid version stays. */
	sl_diags_deinit(&o->diags);
	o->diags = diags;
	diags = SL_DIAGS_INIT;
	sl_list_remove(&o->troubled);
	sl_list_init(&o->troubled);
	if (o->diags.n || o->diags.n_dropped)
		sl_list_append(&f->pool->troubled, &o->troubled);
	return 0;
}

/* ---- a watch's events ---- */

static void on_list(void *arg)
{
	((struct sl_kube_feed *)arg)->list++;
}

static int on_object(void *arg, json_t *json)
{
	struct sl_kube_feed *f = arg;
	struct known *o;
	struct ident id;
	uint64_t hash, content;
	int r = 0;

	if (!read_ident(json, &id))
		return 0; /* nothing that the API would store */
	hash = version_hash(f, &id);
	o = find_known(f, &id);
	if (!o)
		r = add_known(f, &id, &o);
	if (r)
		return r;
	o->list = f->list;
	if (o->version_hash == hash)
		return 0; /* a list repeats it */
	show(f, o, json);
	content = content_hash(f, json, &id);
	if (content && o->content_hash == content) {
		o->version_hash = hash;
		return 0;
	}
	r = decode(f, o, json);
	if (r)
		return r;
	o->version_hash = hash;
	o->content_hash = content;
	f->pool->changed(f->pool->arg);
	return 0;
}

static void on_gone(void *arg, json_t *json)
{
	struct sl_kube_feed *f = arg;
	struct ident id;
	struct known *o = read_ident(json, &id) ? find_known(f, &id) : NULL;

	if (o)
		forget(f, o);
}

static void settle(struct sl_kube_feed *f)
{
	struct known *o;
	size_t pos = 0;

	while ((o = sl_map_next(&f->known, &pos, NULL))) {
		if (o->list != f->list)
			forget(f, o);
	}
	if (!f->synced)
		f->pool->changed(f->pool->arg);
	f->synced = true;
}

static void set_unread(struct sl_kube_feed *f, const char *api_version)
{
	bool had = f->unread;

	free(f->unread);
	f->unread = api_version ? sl_asprintf("the server has it as %s, which is not supported",
					      api_version)
				: NULL; /* out of memory: not told */
	if (f->unread && !had)
		sl_warn("cannot read from the API server kind=%s: %s", f->what.kind, f->unread);
	if (had != (f->unread != NULL))
		f->pool->changed(f->pool->arg);
}

static void on_listed(void *arg)
{
	struct sl_kube_feed *f = arg;

	set_unread(f, NULL);
	settle(f);
}

static void settle_absent(struct sl_kube_feed *f)
{
	f->absent = false;
	on_list(f);
	settle(f);
}

static void on_missing(void *arg)
{
	struct sl_kube_feed *f = arg;

	if (f->group)
		sl_kube_group_ask(f->group);
}

/* It may be there in another version, which is about to be known. */
static void on_absent(void *arg)
{
	struct sl_kube_feed *f = arg;

	f->absent = true;
	if (!f->group)
		settle_absent(f);
}

static void on_trouble(void *arg, const char *message)
{
	struct sl_kube_feed *f = arg;

	if (message)
		sl_warn("cannot read from the API server kind=%s: %s", f->what.kind, message);
	else
		sl_info("reading from the API server again kind=%s", f->what.kind);
	free(f->trouble);
	f->trouble = message ? sl_strdup(message) : NULL; /* the log has it */
	f->pool->changed(f->pool->arg);
}

/* ---- versions ---- */

static bool on_group_read(struct sl_kube_group_user *u)
{
	struct sl_kube_feed *f = sl_container_of(u, struct sl_kube_feed, user);
	const char *const *versions = sl_kind_api_versions(f->kind);
	const char *best = sl_kube_group_choose(f->group, versions, f->what.plural);

	set_unread(f, best ? NULL : sl_kube_group_any(f->group, f->what.plural));
	if (best && best != f->what.api_version) {
		sl_info("reading another version from the API server kind=%s from=%s to=%s",
			f->what.kind, f->what.api_version, best);
		f->what.api_version = best;
		f->absent = false;
		sl_kube_watch_again(f->watch);
	} else if (f->absent) {
		settle_absent(f);
	}
	/* When it is missing, its watch asks. */
	return best && best != versions[0];
}

/* ---- life ---- */

/* The core group (versions without a slash) is never missing. */
static int join_group(struct sl_kube_feed *f)
{
	const char *slash = strchr(f->what.api_version, '/');
	struct sl_str name = {f->what.api_version, 0};
	int r;

	if (!slash)
		return 0;
	name.len = (size_t)(slash - name.ptr);
	r = sl_kube_group_get(&f->pool->groups, f->pool->loop, f->pool->client, name, &f->group);
	if (!r)
		sl_kube_group_join(f->group, &f->user);
	return r;
}

int sl_kube_feed_open(struct sl_kube_pool *pool, enum sl_kind kind, const char *namespace,
		      const char *selector, struct sl_kube_feed **ret)
{
	struct sl_kube_feed *f = sl_new(struct sl_kube_feed);
	struct sl_kube_sink sink = {
		.arg = f,
		.on_list = on_list,
		.on_object = on_object,
		.on_gone = on_gone,
		.on_listed = on_listed,
		.on_missing = on_missing,
		.on_absent = on_absent,
		.on_trouble = on_trouble,
	};
	int r;

	if (!f)
		return -ENOMEM;
	f->pool = pool;
	sl_list_append(&pool->feeds, &f->node);
	f->kind = kind;
	f->what = (struct sl_kube_collection){.api_version = sl_kind_api_versions(kind)[0],
					      .kind = sl_kind_name(kind),
					      .plural = plurals[kind],
					      .namespace = namespace,
					      .selector = selector};
	f->user.on_read = on_group_read;
	sl_list_init(&f->user.node);
	r = join_group(f);
	if (!r)
		r = sl_kube_watch_open(pool->loop, pool->client, &f->what, &sink, &f->watch);
	if (r)
		sl_kube_feed_close(f);
	else
		*ret = f;
	return r;
}

bool sl_kube_feed_is_synced(const struct sl_kube_feed *f)
{
	return f->synced;
}

const char *sl_kube_feed_trouble(const struct sl_kube_feed *f)
{
	return f->trouble ? f->trouble : f->unread;
}

void sl_kube_feed_again(struct sl_kube_feed *f)
{
	on_missing(f); /* or there is a better version */
	sl_kube_watch_again(f->watch);
}

void sl_kube_feed_empty(struct sl_kube_feed *f)
{
	struct known *o;
	size_t pos = 0;

	while ((o = sl_map_next(&f->known, &pos, NULL)))
		forget(f, o);
}

struct sl_kube_feed *sl_kube_feed_close(struct sl_kube_feed *f)
{
	struct known *o;
	size_t pos = 0;

	if (!f)
		return NULL;
	f->watch = sl_kube_watch_close(f->watch);
	sl_list_remove(&f->node);
	sl_kube_group_leave(&f->user);
	while ((o = sl_map_next(&f->known, &pos, NULL))) {
		sl_list_remove(&o->troubled);
		sl_diags_deinit(&o->diags);
		free(o);
	}
	sl_map_deinit(&f->known);
	free(f->trouble);
	free(f->unread);
	free(f);
	return NULL;
}

void sl_kube_pool_report(const struct sl_kube_pool *pool, struct sl_diags *to)
{
	sl_list_foreach (it, &pool->troubled) {
		const struct known *o = sl_container_of(it, struct known, troubled);

		for (size_t i = 0; i < o->diags.n; i++)
			sl_diags_add(to, &o->diags.items[i], "%.*s",
				     SL_STR_ARG(o->diags.items[i].message));
	}
}
