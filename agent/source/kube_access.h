/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where the Kubernetes API server is and who we are to it: from the service account that a Pod is
 * given, or from a kubeconfig file (server, CA, client certificate, token; no exec and no auth
 * provider plugins). TLS is always verified: insecure-skip-tls-verify is refused.
 * Thread: control.
 */
#include "base/cleanup.h"
#include "base/str.h"

/* A PEM text, in a file (which may be replaced at any time) or in memory. At most one is set. */
struct sl_kube_pem {
	char *file;
	char *text;
};

struct sl_kube_access {
	char *server;	       /* "https://10.96.0.1:443", without a slash at the end */
	char *tls_server_name; /* what the certificate is to say in place of the host; NULL: host */
	char *proxy;	       /* URL; NULL: none, whatever the environment says */
	struct sl_kube_pem ca; /* neither set: the system's */
	struct sl_kube_pem cert, key; /* of the client; neither set: none */
	char *token_file;	      /* read again as the kubelet rotates it; NULL: none */
	char *token;		      /* NULL: none */
	char *namespace;	      /* where we run, or the context's; never NULL */
};

#define SL_KUBE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount" /* default */

void sl_kube_access_deinit(struct sl_kube_access *a);
/*
 * The service account's: dir as the kubelet mounts it, host and port as KUBERNETES_SERVICE_HOST and
 * _PORT say. Returns 0, -ENOENT (not in a Pod), -ENOMEM or another -errno, with err saying why.
 */
int sl_kube_access_in_cluster(const char *dir, const char *host, const char *port,
			      struct sl_kube_access *ret, char *err, size_t err_size);
/*
 * A kubeconfig file's context (NULL: its current one). Relative names in it are relative to its
 * folder. Returns 0, -EINVAL (err names the field), -ENOMEM or another -errno, with err.
 */
int sl_kube_access_kubeconfig(const char *path, const char *context, struct sl_kube_access *ret,
			      char *err, size_t err_size);
