/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include "base/alloc.h"
#include "source/kube_access.h"

static char dir[] = "/tmp/sluice-access-XXXXXX";

static void make_dir(void)
{
	cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(kube_access, .init = make_dir, .fini = remove_dir);

static const char *put(const char *name, const char *text)
{
	static char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	(void)fputs(text, f);
	cr_assert_eq(fclose(f), 0);
	return path;
}

#define CONFIG(cluster, user)                                             \
	"apiVersion: v1\nkind: Config\ncurrent-context: c\n"              \
	"contexts: [{name: other, context: {cluster: none}},\n"           \
	"  {name: c, context: {cluster: k, user: u, namespace: shop}}]\n" \
	"clusters: [{name: k, cluster: {" cluster "}}]\nusers: [{name: u, user: {" user "}}]\n"

static int read_config(const char *text, const char *context, struct sl_kube_access *a,
		       char err[400])
{
	err[0] = '\0';
	return sl_kube_access_kubeconfig(put("config", text), context, a, err, 400);
}

Test(kube_access, a_kubeconfig_s_fields_are_taken)
{
	struct sl_kube_access a;
	char err[400], expected[200];

	cr_assert_eq(
		read_config(CONFIG("server: 'https://h:6443/', certificate-authority-data: Q0EK, "
				   "tls-server-name: api, proxy-url: 'http://p:1'",
				   "client-certificate: pki/crt, client-key: /abs/key"),
			    NULL, &a, err),
		0, "%s", err);
	cr_assert_str_eq(a.server, "https://h:6443");
	cr_assert_str_eq(a.tls_server_name, "api");
	cr_assert_str_eq(a.proxy, "http://p:1");
	cr_assert_str_eq(a.namespace, "shop");
	cr_assert_str_eq(a.ca.text, "CA\n");
	cr_assert_null(a.ca.file);
	(void)snprintf(expected, sizeof(expected), "%s/pki/crt", dir);
	cr_assert_str_eq(a.cert.file, expected);
	cr_assert_str_eq(a.key.file, "/abs/key");
	cr_assert_null(a.token);
	sl_kube_access_deinit(&a);
}

Test(kube_access, a_token_file_counts_before_a_token)
{
	struct sl_kube_access a;
	char err[400];

	cr_assert_eq(
		read_config(CONFIG("server: https://h", "token: t, tokenFile: /t"), NULL, &a, err),
		0);
	cr_assert_str_eq(a.token_file, "/t");
	cr_assert_null(a.token);
	sl_kube_access_deinit(&a);
	cr_assert_eq(read_config(CONFIG("server: https://h", "token: t"), NULL, &a, err), 0);
	cr_assert_str_eq(a.token, "t");
	sl_kube_access_deinit(&a);
}

Test(kube_access, what_is_wrong_is_named)
{
	static const struct {
		const char *text, *context, *said;
	} cases[] = {
		{"", NULL, "empty"},
		{"a: [", NULL, "config:"},
		{"kind: Config\n", NULL, "current-context: is missing"},
		{CONFIG("server: https://h", ""), "nope", "contexts: no entry \"nope\""},
		{CONFIG("server: https://h", ""), "other", "clusters: no entry \"none\""},
		{CONFIG("", ""), NULL, "server: is missing"},
		{CONFIG("server: 7", ""), NULL, "server: must be a string"},
		{CONFIG("server: 'http://h'", ""), NULL, "server: must begin with https://"},
		{CONFIG("server: https://h, insecure-skip-tls-verify: true", ""), NULL,
		 "insecure-skip-tls-verify: is not supported"},
		{CONFIG("server: https://h, certificate-authority-data: '*'", ""), NULL,
		 "certificate-authority-data: is not base64"},
		{CONFIG("server: https://h", "exec: {command: x}"), NULL, "exec: is not supported"},
		{CONFIG("server: https://h", "username: x, password: y"), NULL,
		 "username: is not supported"},
		{CONFIG("server: https://h", "client-certificate: a"), NULL,
		 "client-certificate: needs a client-key"},
		{CONFIG("server: https://h", "client-key-data: QQ=="), NULL,
		 "client-certificate: needs a client-key"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_kube_access a;
		char err[400];

		cr_expect_eq(read_config(cases[i].text, cases[i].context, &a, err), -EINVAL, "%s",
			     cases[i].text);
		cr_expect_not_null(strstr(err, cases[i].said), "%s: %s", cases[i].text, err);
	}
}

Test(kube_access, a_pod_s_service_account_is_found)
{
	struct sl_kube_access a;
	char err[400];

	cr_assert_eq(sl_kube_access_in_cluster(dir, NULL, "443", &a, err, sizeof(err)), -ENOENT);
	cr_assert_eq(sl_kube_access_in_cluster(dir, "10.96.0.1", "443", &a, err, sizeof(err)),
		     -ENOENT);
	cr_assert_not_null(strstr(err, "no service account"), "%s", err);
	put("ca.crt", "CA");
	put("token", "T\n");
	put("namespace", "sluice-system\n");
	cr_assert_eq(sl_kube_access_in_cluster(dir, "10.96.0.1", "443", &a, err, sizeof(err)), 0,
		     "%s", err);
	cr_assert_str_eq(a.server, "https://10.96.0.1:443");
	cr_assert_str_eq(a.namespace, "sluice-system");
	cr_assert_not_null(a.token_file);
	cr_assert_not_null(a.ca.file);
	sl_kube_access_deinit(&a);
	cr_assert_eq(sl_kube_access_in_cluster(dir, "fd00::1", "443", &a, err, sizeof(err)), 0);
	cr_assert_str_eq(a.server, "https://[fd00::1]:443");
	sl_kube_access_deinit(&a);
}

Test(kube_access, each_allocation_may_fail)
{
	static const char text[] =
		CONFIG("server: https://h, certificate-authority-data: QQ==", "token: t");
	struct sl_kube_access a;
	char err[400];
	long n = 0;
	int r;

	(void)put("config", text);
	do {
		char path[128];

		(void)snprintf(path, sizeof(path), "%s/config", dir);
		sl_alloc_fail_after(n++);
		r = sl_kube_access_kubeconfig(path, NULL, &a, err, sizeof(err));
		sl_alloc_fail_after(-1);
		cr_assert(r == 0 || r == -ENOMEM, "%d %s", r, err);
	} while (r);
	cr_assert_gt(n, 5);
	sl_kube_access_deinit(&a);
}
