/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "resource/decode.h"

/* Told when nothing came for QUIET, at the latest MAX_WAIT after the first change. */
#define QUIET_NS    (5 * SL_NS_PER_MS)
#define MAX_WAIT_NS (50 * SL_NS_PER_MS)

#define GATEWAY_API "gateway.networking.k8s.io/v1"

static const struct sl_kube_collection collections[SL_N_KINDS] = {
	[SL_KIND_NAMESPACE] = {"v1", "Namespace", "namespaces", NULL},
	[SL_KIND_SERVICE] = {"v1", "Service", "services", NULL},
	[SL_KIND_ENDPOINTSLICE] = {"discovery.k8s.io/v1", "EndpointSlice", "endpointslices", NULL},
	[SL_KIND_POD] = {"v1", "Pod", "pods", NULL},
	[SL_KIND_HTTPROUTE] = {GATEWAY_API, "HTTPRoute", "httproutes", NULL},
	[SL_KIND_GRPCROUTE] = {GATEWAY_API, "GRPCRoute", "grpcroutes", NULL},
	[SL_KIND_TLSROUTE] = {GATEWAY_API, "TLSRoute", "tlsroutes", NULL},
	[SL_KIND_TCPROUTE] = {GATEWAY_API, "TCPRoute", "tcproutes", NULL},
};

/* What the server has, valid or not. */
struct known {
	uint64_t list; /* the last list of its kind that named it, or was going on when it came */
	uint64_t version_hash; /* of uid and resourceVersion */
	uint64_t content_hash; /* of what a decoder looks at; 0: not known */
	struct sl_list troubled;
	struct sl_diags diags;	       /* of its decoding */
	struct sl_str namespace, name; /* inside text */
	size_t key_len;
	char text[]; /* "namespace/name" */
};

struct kind {
	struct sl_kube *kube;
	enum sl_kind kind;
	struct sl_kube_collection what;
	struct sl_kube_watch *watch;
	struct sl_map known; /* by key */
	uint64_t list;	     /* number of the list that is going on, or was the last */
	bool synced;
	char *trouble; /* NULL: none */
};

struct sl_kube {
	struct sl_loop *loop;
	struct sl_kube_client *client;
	struct sl_kube_opts opts;
	sl_config_fn fn;
	void *arg;
	char *pods_of_node;
	struct kind kinds[SL_N_KINDS];
	struct sl_model *model;
	struct sl_list troubled;
	struct sl_diags diags;
	size_t n_known;
	struct sl_timer tell;
	uint64_t first_ns; /* of the changes that wait for the timer; 0: none do */
};

/* ---- telling ---- */

bool sl_kube_is_synced(const struct sl_kube *k)
{
	for (size_t i = 0; i < SL_N_KINDS; i++) {
		if (!k->kinds[i].synced)
			return false;
	}
	return true;
}

static void add_diag(struct sl_diags *to, const struct sl_diag *d)
{
	sl_diags_add(to, d, "%.*s", SL_STR_ARG(d->message));
}

static void collect_diags(struct sl_kube *k)
{
	sl_diags_deinit(&k->diags);
	k->diags = SL_DIAGS_INIT;
	for (size_t i = 0; i < SL_N_KINDS; i++) {
		const struct kind *kd = &k->kinds[i];

		if (kd->trouble)
			sl_diags_add(&k->diags,
				     &(struct sl_diag){.severity = SL_SEVERITY_ERROR,
						       .object = sl_str_from(kd->what.kind)},
				     "cannot be read from the API server: %s", kd->trouble);
	}
	sl_list_foreach (it, &k->troubled) {
		const struct known *o = sl_container_of(it, struct known, troubled);

		for (size_t i = 0; i < o->diags.n; i++)
			add_diag(&k->diags, &o->diags.items[i]);
	}
}

static void tell(struct sl_kube *k)
{
	struct sl_config_report report = {.diags = &k->diags, .n_documents = k->n_known};

	k->first_ns = 0;
	if (!sl_kube_is_synced(k))
		return;
	collect_diags(k);
	k->fn(k->arg, k->model, &report);
}

static void on_tell(struct sl_timer *t)
{
	tell(sl_container_of(t, struct sl_kube, tell));
}

static void changed(struct sl_kube *k)
{
	uint64_t now = sl_loop_now(k->loop), at = now + QUIET_NS;

	if (!k->first_ns)
		k->first_ns = now;
	if (at > k->first_ns + MAX_WAIT_NS)
		at = k->first_ns + MAX_WAIT_NS;
	sl_timer_arm(k->loop, &k->tell, at);
}

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

static uint64_t version_hash(const struct ident *id)
{
	uint64_t parts[] = {sl_str_hash(sl_str_from(id->uid)),
			    sl_str_hash(sl_str_from(id->version))};

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
static uint64_t content_hash(enum sl_kind kind, const json_t *object, const struct ident *id)
{
	json_t *meta = json_object_get(object, "metadata");
	json_t *generation = json_object_get(meta, "generation");
	uint64_t parts[4];

	if (!sl_kind_is_route(kind) || !generation)
		return 0;
	parts[0] = sl_str_hash(sl_str_from(id->uid));
	parts[1] = (uint64_t)json_integer_value(generation);
	parts[2] = hash_of(json_object_get(meta, "labels"));
	parts[3] = hash_of(json_object_get(meta, "annotations"));
	return sl_hash_bytes(parts, sizeof(parts));
}

static struct sl_str key_of(const struct known *o)
{
	return (struct sl_str){o->text, o->key_len};
}

static struct known *find_known(const struct kind *kd, const struct ident *id)
{
	_cleanup_(sl_freep) char *key = sl_asprintf("%s/%s", id->namespace, id->name);

	return key ? sl_map_get(&kd->known, sl_str_from(key)) : NULL;
}

static int add_known(struct kind *kd, const struct ident *id, struct known **ret)
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
	if (sl_map_put(&kd->known, key_of(o), o, NULL)) {
		free(o);
		return -ENOMEM;
	}
	kd->kube->n_known++;
	*ret = o;
	return 0;
}

static void show(struct kind *kd, const struct known *o, const json_t *json)
{
	const struct sl_kube_opts *opts = &kd->kube->opts;

	if (opts->on_route && sl_kind_is_route(kd->kind))
		opts->on_route(opts->arg, kd->kind, &kd->what, o->namespace, o->name, json);
}

static void forget(struct kind *kd, struct known *o)
{
	struct sl_kube *k = kd->kube;

	show(kd, o, NULL);
	(void)sl_model_remove(k->model, kd->kind, o->namespace, o->name); /* or never was valid */
	sl_map_del(&kd->known, key_of(o));
	sl_list_remove(&o->troubled);
	sl_diags_deinit(&o->diags);
	free(o);
	k->n_known--;
	changed(k);
}

static int decode(struct kind *kd, struct known *o, json_t *json)
{
	_cleanup_(sl_object_unrefp) struct sl_object *object = NULL;
	_cleanup_(sl_diags_deinit) struct sl_diags diags = SL_DIAGS_INIT;
	struct sl_decode_opts opts = {0};
	struct sl_str key;
	int r = sl_decode_object(json, &opts, &diags, &object, &key);

	if (r < 0)
		return r;
	if (!r)
		r = sl_model_put(kd->kube->model, object);
	if (r < 0)
		return r;
	/* Else it is invalid, and the last valid version stays. */
	sl_diags_deinit(&o->diags);
	o->diags = diags;
	diags = SL_DIAGS_INIT;
	sl_list_remove(&o->troubled);
	sl_list_init(&o->troubled);
	if (o->diags.n || o->diags.n_dropped)
		sl_list_append(&kd->kube->troubled, &o->troubled);
	return 0;
}

/* ---- a watch's events ---- */

static void on_list(void *arg)
{
	((struct kind *)arg)->list++;
}

static int on_object(void *arg, json_t *json)
{
	struct kind *kd = arg;
	struct known *o;
	struct ident id;
	uint64_t hash, content;
	int r = 0;

	if (!read_ident(json, &id))
		return 0; /* nothing that the API would store */
	hash = version_hash(&id);
	o = find_known(kd, &id);
	if (!o)
		r = add_known(kd, &id, &o);
	if (r)
		return r;
	o->list = kd->list;
	if (o->version_hash == hash)
		return 0; /* a list repeats it */
	show(kd, o, json);
	content = content_hash(kd->kind, json, &id);
	if (content && o->content_hash == content) {
		o->version_hash = hash;
		return 0;
	}
	r = decode(kd, o, json);
	if (r)
		return r;
	o->version_hash = hash;
	o->content_hash = content;
	changed(kd->kube);
	return 0;
}

static void on_gone(void *arg, json_t *json)
{
	struct kind *kd = arg;
	struct ident id;
	struct known *o = read_ident(json, &id) ? find_known(kd, &id) : NULL;

	if (o)
		forget(kd, o);
}

static void on_listed(void *arg)
{
	struct kind *kd = arg;
	struct known *o;
	size_t pos = 0;

	while ((o = sl_map_next(&kd->known, &pos, NULL))) {
		if (o->list != kd->list)
			forget(kd, o);
	}
	if (!kd->synced)
		changed(kd->kube);
	kd->synced = true;
}

static void on_absent(void *arg)
{
	on_list(arg);
	on_listed(arg);
}

static void on_trouble(void *arg, const char *message)
{
	struct kind *kd = arg;

	if (message)
		sl_warn("cannot read from the API server kind=%s: %s", kd->what.kind, message);
	else
		sl_info("reading from the API server again kind=%s", kd->what.kind);
	free(kd->trouble);
	kd->trouble = message ? sl_strdup(message) : NULL; /* the log has it */
	changed(kd->kube);
}

/* ---- life ---- */

static int open_kind(struct sl_kube *k, enum sl_kind kind)
{
	struct kind *kd = &k->kinds[kind];
	struct sl_kube_sink sink = {
		.arg = kd,
		.on_list = on_list,
		.on_object = on_object,
		.on_gone = on_gone,
		.on_listed = on_listed,
		.on_absent = on_absent,
		.on_trouble = on_trouble,
	};

	kd->kube = k;
	kd->kind = kind;
	kd->what = collections[kind];
	if (kind == SL_KIND_POD)
		kd->what.selector = k->pods_of_node;
	return sl_kube_watch_open(k->loop, k->client, &kd->what, &sink, &kd->watch);
}

static int start(struct sl_kube *k, const struct sl_kube_access *access,
		 const struct sl_kube_opts *opts)
{
	int r = sl_model_new(&k->model);

	if (!r)
		r = sl_kube_client_new(k->loop, access, &k->client);
	if (!r && opts->node) {
		k->pods_of_node = sl_asprintf("fieldSelector=spec.nodeName%%3D%s", opts->node);
		r = k->pods_of_node ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < SL_N_KINDS && !r; i++)
		r = open_kind(k, (enum sl_kind)i);
	return r;
}

int sl_kube_open(struct sl_loop *loop, const struct sl_kube_access *access,
		 const struct sl_kube_opts *opts, sl_config_fn fn, void *arg, struct sl_kube **ret)
{
	struct sl_kube *k = sl_new(struct sl_kube);
	int r;

	if (!k)
		return -ENOMEM;
	k->loop = loop;
	k->opts = *opts;
	k->fn = fn;
	k->arg = arg;
	k->tell = SL_TIMER_INIT(on_tell);
	sl_list_init(&k->troubled);
	r = start(k, access, opts);
	if (r)
		sl_kube_close(k);
	else
		*ret = k;
	return r;
}

struct sl_kube_client *sl_kube_get_client(struct sl_kube *k)
{
	return k->client;
}

void sl_kube_reload(struct sl_kube *k)
{
	for (size_t i = 0; i < SL_N_KINDS; i++)
		sl_kube_watch_again(k->kinds[i].watch);
	changed(k);
}

static void close_kind(struct kind *kd)
{
	struct known *o;
	size_t pos = 0;

	kd->watch = sl_kube_watch_close(kd->watch);
	while ((o = sl_map_next(&kd->known, &pos, NULL))) {
		sl_diags_deinit(&o->diags);
		free(o);
	}
	sl_map_deinit(&kd->known);
	free(kd->trouble);
}

struct sl_kube *sl_kube_close(struct sl_kube *k)
{
	if (!k)
		return NULL;
	sl_timer_cancel(&k->tell);
	for (size_t i = 0; i < SL_N_KINDS; i++)
		close_kind(&k->kinds[i]);
	k->client = sl_kube_client_free(k->client);
	sl_model_free(k->model);
	sl_diags_deinit(&k->diags);
	free(k->pods_of_node);
	free(k);
	return NULL;
}
