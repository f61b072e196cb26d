/* SPDX-License-Identifier: Apache-2.0 */
/* Where the configuration comes from: a folder or a Kubernetes API server. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/log.h"
#include "core/state.h"

static int check_folder(const char *dir)
{
	struct stat st;
	int r = stat(dir, &st) ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;

	if (r)
		sl_error("cannot load the configuration folder=\"%s\": %s", dir,
			 r == -ENOTDIR ? "not a folder" : sl_strerror(r));
	return r;
}

static int find_access(struct sl_control *c)
{
	char err[400] = "";
	int r;

	if (c->opts->kubeconfig)
		r = sl_kube_access_kubeconfig(c->opts->kubeconfig, c->opts->context, &c->access,
					      err, sizeof(err));
	else
		r = sl_kube_access_in_cluster(
			SL_KUBE_ACCOUNT_DIR, getenv("KUBERNETES_SERVICE_HOST"),
			getenv("KUBERNETES_SERVICE_PORT"), &c->access, err, sizeof(err));
	if (r)
		sl_error("no way to a Kubernetes API server: %s", err);
	return r;
}

int sl_config_check(struct sl_control *c)
{
	return c->opts->kubernetes ? find_access(c) : check_folder(c->opts->config_dir);
}

static int open_folder(struct sl_control *c)
{
	const char *dir = c->opts->config_dir;
	int r = sl_folder_open(c->loop, dir, sl_publish_model, c, &c->folder);

	if (!r && !c->generation)
		r = -ENOMEM; /* the first load did not compile: said already */
	if (r)
		sl_error("cannot load the configuration folder=\"%s\": %s", dir, sl_strerror(r));
	return r;
}

static int open_kube(struct sl_control *c)
{
	struct sl_kube_opts opts = {.node = c->opts->node};
	int r = sl_kube_open(c->loop, &c->access, &opts, sl_publish_model, c, &c->kube);

	if (r)
		sl_error("cannot follow the API server=\"%s\": %s", c->access.server,
			 sl_strerror(r));
	return r;
}

int sl_config_open(struct sl_control *c)
{
	return c->opts->kubernetes ? open_kube(c) : open_folder(c);
}

void sl_config_reload(struct sl_control *c)
{
	int r;

	if (c->kube) {
		sl_kube_reload(c->kube);
		return;
	}
	r = sl_folder_reload(c->folder);
	if (r)
		sl_error("cannot load the configuration again: %s", sl_strerror(r));
}

void sl_config_close(struct sl_control *c)
{
	c->folder = sl_folder_close(c->folder);
	c->kube = sl_kube_close(c->kube);
	sl_kube_access_deinit(&c->access);
}

const char *sl_config_name(const struct sl_control *c)
{
	return c->opts->kubernetes ? c->access.server : c->opts->config_dir;
}
