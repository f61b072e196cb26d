/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_access.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/base64.h"
#include "base/log.h"
#include "source/kube_text.h"
#include "source/yaml.h"

static void deinit_pem(struct sl_kube_pem *p)
{
	free(p->file);
	if (p->text)
		OPENSSL_cleanse(p->text, strlen(p->text));
	free(p->text);
}

void sl_kube_access_deinit(struct sl_kube_access *a)
{
	free(a->server);
	free(a->tls_server_name);
	free(a->proxy);
	deinit_pem(&a->ca);
	deinit_pem(&a->cert);
	deinit_pem(&a->key);
	free(a->token_file);
	if (a->token)
		OPENSSL_cleanse(a->token, strlen(a->token));
	free(a->token);
	free(a->namespace);
	*a = (struct sl_kube_access){0};
}

/* ---- the service account of a Pod ---- */

static int in_cluster(const char *dir, const char *host, const char *port, struct sl_kube_access *a,
		      char *err, size_t err_size)
{
	_cleanup_(sl_freep) char *namespace_file = sl_asprintf("%s/namespace", dir);
	bool is_ip6 = strchr(host, ':') && host[0] != '[';
	int r;

	a->server = sl_asprintf(is_ip6 ? "https://[%s]:%s" : "https://%s:%s", host, port);
	a->ca.file = sl_asprintf("%s/ca.crt", dir);
	a->token_file = sl_asprintf("%s/token", dir);
	if (!namespace_file || !a->server || !a->ca.file || !a->token_file)
		return -ENOMEM;
	if (access(a->ca.file, R_OK) || access(a->token_file, R_OK)) {
		r = -errno;
		snprintf(err, err_size, "no service account in %s: %s", dir, sl_strerror(r));
		return r;
	}
	r = sl_kube_read_text(namespace_file, &a->namespace);
	if (r)
		snprintf(err, err_size, "cannot read %s: %s", namespace_file, sl_strerror(r));
	return r;
}

int sl_kube_access_in_cluster(const char *dir, const char *host, const char *port,
			      struct sl_kube_access *ret, char *err, size_t err_size)
{
	struct sl_kube_access a = {0};
	int r;

	if (!host || !*host || !port || !*port) {
		snprintf(err, err_size,
			 "not in a Pod: KUBERNETES_SERVICE_HOST and "
			 "KUBERNETES_SERVICE_PORT are not set");
		return -ENOENT;
	}
	r = in_cluster(dir, host, port, &a, err, err_size);
	if (r == -ENOMEM)
		snprintf(err, err_size, "out of memory");
	if (r)
		sl_kube_access_deinit(&a);
	else
		*ret = a;
	return r;
}

/* ---- kubeconfig ---- */

struct reader {
	const char *path;
	const char *dir; /* of the file; its bytes are path's */
	int dir_len;
	char *err;
	size_t err_size;
};

static int bad(struct reader *rd, const char *field, const char *what)
{
	snprintf(rd->err, rd->err_size, "%s: %s: %s", rd->path, field, what);
	return -EINVAL;
}

/* The member `what` of the entry of list that has the name; e.g. clusters, "lab", cluster. */
static int find(struct reader *rd, json_t *root, const char *list, const char *name,
		const char *what, json_t **ret)
{
	json_t *entries = json_object_get(root, list), *entry;
	size_t i;

	json_array_foreach (entries, i, entry) {
		const char *has = json_string_value(json_object_get(entry, "name"));

		if (!has || strcmp(has, name) != 0)
			continue;
		*ret = json_object_get(entry, what);
		if (json_is_object(*ret))
			return 0;
	}
	snprintf(rd->err, rd->err_size, "%s: %s: no entry \"%s\" with a %s", rd->path, list, name,
		 what);
	return -EINVAL;
}

/* Absent and empty are the same to kubectl too. */
static int take_string(struct reader *rd, json_t *from, const char *field, char **ret)
{
	json_t *v = json_object_get(from, field);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return bad(rd, field, "must be a string");
	if (!json_string_length(v))
		return 0;
	*ret = sl_strdup(json_string_value(v));
	return *ret ? 0 : -ENOMEM;
}

static int take_path(struct reader *rd, json_t *from, const char *field, char **ret)
{
	_cleanup_(sl_freep) char *path = NULL;
	int r = take_string(rd, from, field, &path);

	if (r || !path)
		return r;
	if (path[0] == '/')
		*ret = sl_take(path);
	else
		*ret = sl_asprintf("%.*s%s", rd->dir_len, rd->dir, path);
	return *ret ? 0 : -ENOMEM;
}

static int take_base64(struct reader *rd, json_t *from, const char *field, char **ret)
{
	_cleanup_(sl_freep) char *code = NULL, *text = NULL;
	size_t len;
	int r = take_string(rd, from, field, &code);

	if (r || !code)
		return r;
	text = sl_malloc(sl_base64_room(strlen(code)) + 1);
	if (!text)
		return -ENOMEM;
	if (sl_base64_decode(sl_str_from(code), text, &len))
		return bad(rd, field, "is not base64");
	text[len] = '\0';
	*ret = sl_take(text);
	return 0;
}

/* As kubectl: the data, where it is there, counts and not the file. */
static int take_pem(struct reader *rd, json_t *from, const char *file, const char *data,
		    struct sl_kube_pem *ret)
{
	int r = take_base64(rd, from, data, &ret->text);

	return r || ret->text ? r : take_path(rd, from, file, &ret->file);
}

static int read_cluster(struct reader *rd, json_t *cluster, struct sl_kube_access *a)
{
	size_t len;
	int r;

	if (json_is_true(json_object_get(cluster, "insecure-skip-tls-verify")))
		return bad(rd, "insecure-skip-tls-verify",
			   "is not supported, give the "
			   "certificate-authority");
	r = take_string(rd, cluster, "server", &a->server);
	if (r)
		return r;
	if (!a->server)
		return bad(rd, "server", "is missing");
	if (strncmp(a->server, "https://", 8) != 0)
		return bad(rd, "server", "must begin with https://");
	len = strlen(a->server);
	while (a->server[len - 1] == '/')
		a->server[--len] = '\0';
	r = take_string(rd, cluster, "tls-server-name", &a->tls_server_name);
	if (!r)
		r = take_string(rd, cluster, "proxy-url", &a->proxy);
	if (!r)
		r = take_pem(rd, cluster, "certificate-authority", "certificate-authority-data",
			     &a->ca);
	return r;
}

static int read_user(struct reader *rd, json_t *user, struct sl_kube_access *a)
{
	static const char *const unsupported[] = {"exec", "auth-provider", "username", "as"};
	int r;

	for (size_t i = 0; i < sizeof(unsupported) / sizeof(*unsupported); i++) {
		if (json_object_get(user, unsupported[i]))
			return bad(rd, unsupported[i],
				   "is not supported, use a client certificate "
				   "or a token");
	}
	r = take_pem(rd, user, "client-certificate", "client-certificate-data", &a->cert);
	if (!r)
		r = take_pem(rd, user, "client-key", "client-key-data", &a->key);
	if (!r)
		r = take_path(rd, user, "tokenFile", &a->token_file);
	if (!r && !a->token_file)
		r = take_string(rd, user, "token", &a->token);
	if (r)
		return r;
	if (!(a->cert.file || a->cert.text) != !(a->key.file || a->key.text))
		return bad(rd, "client-certificate", "needs a client-key, and the other way round");
	return 0;
}

static int read_config(struct reader *rd, json_t *root, const char *context,
		       struct sl_kube_access *a)
{
	json_t *ctx, *cluster, *user;
	const char *name;
	int r;

	if (!context)
		context = json_string_value(json_object_get(root, "current-context"));
	if (!context || !*context)
		return bad(rd, "current-context", "is missing");
	r = find(rd, root, "contexts", context, "context", &ctx);
	if (r)
		return r;
	r = take_string(rd, ctx, "namespace", &a->namespace);
	if (!r && !a->namespace) {
		a->namespace = sl_strdup("default");
		r = a->namespace ? 0 : -ENOMEM;
	}
	if (r)
		return r;
	name = json_string_value(json_object_get(ctx, "cluster"));
	r = name ? find(rd, root, "clusters", name, "cluster", &cluster)
		 : bad(rd, "cluster", "is missing in the context");
	if (!r)
		r = read_cluster(rd, cluster, a);
	if (r)
		return r;
	name = json_string_value(json_object_get(ctx, "user"));
	if (!name)
		return 0;
	r = find(rd, root, "users", name, "user", &user);
	return r ? r : read_user(rd, user, a);
}

static int read_kubeconfig(struct reader *rd, const char *context, struct sl_kube_access *a)
{
	_cleanup_(sl_freep) char *text = NULL;
	_cleanup_(sl_yaml_freep) struct sl_yaml *yaml = NULL;
	_cleanup_(sl_yaml_doc_freep) struct sl_yaml_doc *doc = NULL;
	struct sl_yaml_error error;
	int r = sl_kube_read_text(rd->path, &text);

	if (r) {
		snprintf(rd->err, rd->err_size, "cannot read %s: %s", rd->path, sl_strerror(r));
		return r;
	}
	r = sl_yaml_new(sl_str_from(text), &yaml);
	if (r)
		return r;
	r = sl_yaml_next(yaml, &doc, &error);
	if (r == SL_YAML_BAD) {
		snprintf(rd->err, rd->err_size, "%s:%u: %s", rd->path, error.line, error.message);
		return -EINVAL;
	}
	if (r == SL_YAML_END)
		return bad(rd, "kubeconfig", "the file is empty");
	return r ? r : read_config(rd, sl_yaml_doc_root(doc), context, a);
}

int sl_kube_access_kubeconfig(const char *path, const char *context, struct sl_kube_access *ret,
			      char *err, size_t err_size)
{
	const char *slash = strrchr(path, '/');
	struct reader rd = {
		.path = path,
		.dir = path,
		.dir_len = slash ? (int)(slash + 1 - path) : 0,
		.err = err,
		.err_size = err_size,
	};
	struct sl_kube_access a = {0};
	int r = read_kubeconfig(&rd, context, &a);

	if (r == -ENOMEM)
		snprintf(err, err_size, "out of memory");
	if (r)
		sl_kube_access_deinit(&a);
	else
		*ret = a;
	return r;
}
