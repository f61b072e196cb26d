/* SPDX-License-Identifier: Apache-2.0 */
/* What workers ask about single sockets. No state but map descriptors, hence any thread. */
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <sys/socket.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

int sl_datapath_own(const struct sl_datapath *dp, int fd, uint32_t kind)
{
	return bpf_map_update_elem(dp->map[SL_DP_OWN], &fd, &kind, BPF_ANY);
}

int sl_datapath_netns_cookie(int fd, uint64_t *ret)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return -errno;
	*ret = cookie;
	return 0;
}

static int flow_key(int fd, struct sl_flow_key *ret)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	struct sl_addr client, server;
	uint64_t netns;
	int r;

	if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	r = sl_addr_from_sockaddr(&ss, &client);
	if (r)
		return r;
	len = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	r = sl_addr_from_sockaddr(&ss, &server);
	if (r)
		return r;
	r = sl_datapath_netns_cookie(fd, &netns);
	if (r)
		return r;
	memset(ret, 0, sizeof(*ret));
	ret->netns = netns;
	memcpy(ret->client, client.ip, sizeof(ret->client));
	memcpy(ret->server, server.ip, sizeof(ret->server));
	ret->client_port = client.port;
	ret->server_port = server.port;
	return 0;
}

/* The accepted socket's cgroup is not below ours, so sockops did not see it: do its work here. */
static int claim_flow(const struct sl_datapath *dp, int fd, struct sl_orig *ret)
{
	struct sl_flow_key key;
	int r = flow_key(fd, &key);

	if (r)
		return r == -ENOTCONN ? -ENOENT : r;
	r = bpf_map_lookup_elem(dp->map[SL_DP_FLOW], &key, ret);
	if (r)
		return r;
	/* Both only tidy up: the answer is known. */
	(void)bpf_map_delete_elem(dp->map[SL_DP_FLOW], &key);
	(void)bpf_map_update_elem(dp->map[SL_DP_ORIG], &fd, ret, BPF_ANY);
	return 0;
}

int sl_datapath_original(const struct sl_datapath *dp, int fd, struct sl_original *ret)
{
	struct sl_orig o;
	int r = bpf_map_lookup_elem(dp->map[SL_DP_ORIG], &fd, &o);

	if (r == -ENOENT)
		r = claim_flow(dp, fd, &o);
	if (r)
		return r;
	memcpy(ret->addr.ip, o.addr, sizeof(ret->addr.ip));
	ret->addr.port = o.port;
	ret->cgroup_id = o.cgroup_id;
	ret->netns = o.netns;
	return 0;
}
