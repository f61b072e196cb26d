/* SPDX-License-Identifier: Apache-2.0 */
#include "install.h"

#include <errno.h>
#include "base/alloc.h"
#include "base/cleanup.h"
#include "cluster.h"
#include "precheck.h"
#include "view.h"

#define IMAGE_IN_MANIFESTS "image: sluice\n"

/* ---- what is applied ---- */

/* The next of two needles in text; NULL: none is left. */
static const char *next_of(const char *text, const char *a, const char *b)
{
	const char *x = strstr(text, a), *y = strstr(text, b);

	return !x || (y && y < x) ? y : x;
}

int sl_install_manifests(const char *image, const char *namespace, struct sl_buf *out)
{
	const char *text = sl_base_manifests, *at;
	int r = 0;

	while (!r && (at = next_of(text, IMAGE_IN_MANIFESTS, SL_CLUSTER_NAMESPACE))) {
		bool is_image = strncmp(at, IMAGE_IN_MANIFESTS, strlen(IMAGE_IN_MANIFESTS)) == 0;

		r = sl_buf_append(out, text, (size_t)(at - text));
		if (!r)
			r = is_image ? sl_buf_printf(out, "image: %s\n", image)
				     : sl_buf_printf(out, "%s", namespace);
		text = at + strlen(is_image ? IMAGE_IN_MANIFESTS : SL_CLUSTER_NAMESPACE);
	}
	return r ? r : sl_buf_append(out, text, strlen(text));
}

/* A word that YAML takes as it is. */
static bool is_plain(const char *word)
{
	return *word && !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789-._/:@")];
}

static int make_manifests(const struct sl_ctl_args *args, struct sl_buf *out)
{
	const char *image = args->image ? args->image : SL_INSTALL_IMAGE;

	if (!is_plain(image))
		return sl_ctl_usage("no name of an image", image);
	if (!is_plain(sl_cluster_namespace(args)))
		return sl_ctl_usage("no name of a namespace", args->namespace);
	if (sl_install_manifests(image, sl_cluster_namespace(args), out)) {
		fprintf(stderr, "sluicectl: out of memory\n");
		return EXIT_FAILURE;
	}
	return 0;
}

/* ---- install ---- */

static int check_before(const struct sl_ctl_args *args)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	json_auto_t *answer = NULL;

	if (sl_precheck(args, &answer))
		return EXIT_FAILURE;
	if (sl_check_passed(answer))
		return 0;
	(void)sl_ctl_write(&out, sl_view_check(answer, &out));
	fprintf(stderr,
		"sluicectl: the cluster cannot have Sluice as it is, nothing was changed\n");
	return EXIT_FAILURE;
}

static int wait_until_ready(const struct sl_ctl_args *args)
{
	char timeout[32];
	const char *const words[] = {"rollout",		 "status", "-n", sl_cluster_namespace(args),
				     "daemonset/sluice", timeout,  NULL};
	const struct sl_kubectl k = sl_cluster_kubectl(args);

	(void)snprintf(timeout, sizeof(timeout), "--timeout=%llus",
		       (unsigned long long)args->timeout_s);
	return sl_kubectl_show(&k, words, SL_STR(""));
}

/* What the agents say of their nodes. */
static int check_after(const struct sl_ctl_args *args)
{
	_cleanup_(sl_buf_deinit) struct sl_buf out = SL_BUF_INIT(0);
	json_auto_t *checks = NULL, *status = NULL;
	int r;

	if (sl_cluster_ask_all(args, "check", &checks) ||
	    sl_cluster_ask_all(args, "status", &status))
		return EXIT_FAILURE;
	r = sl_view_nodes_status(status, &out);
	if (!r && !sl_nodes_passed(checks)) {
		r = sl_buf_append(&out, "\n", 1);
		r = r ? r : sl_view_nodes_check(checks, &out);
	}
	r = sl_ctl_write(&out, r);
	return r ? r : sl_nodes_passed(checks) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int sl_ctl_install(const struct sl_ctl_args *args)
{
	_cleanup_(sl_buf_deinit) struct sl_buf manifests = SL_BUF_INIT(0);
	const struct sl_kubectl k = sl_cluster_kubectl(args);
	int r = make_manifests(args, &manifests);

	if (r)
		return r;
	if (args->dry_run)
		return sl_ctl_write(&manifests, 0);
	r = check_before(args);
	if (!r)
		r = sl_kubectl_show(&k, (const char *const[]){"apply", "-f", "-", NULL},
				    sl_buf_str(&manifests));
	if (!r)
		r = wait_until_ready(args);
	return r ? EXIT_FAILURE : check_after(args);
}
