/* SPDX-License-Identifier: Apache-2.0 */
/* The maps as text, read from the kernel and not from the mirror. */
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>

static const char *address(const __u8 ip[16], __u16 port, char out[SL_ADDR_TEXT])
{
	struct sl_addr a = {.port = port};

	memcpy(a.ip, ip, sizeof(a.ip));
	return sl_addr_format(&a, out);
}

static const char *policy_name(enum sl_policy policy)
{
	return policy == SL_POLICY_OPEN	    ? "open"
	       : policy == SL_POLICY_CLOSED ? "closed"
					    : "default";
}

static int dump_service(const struct sl_datapath *dp, const struct sl_svc_key *key,
			struct sl_buf *out)
{
	struct sl_svc_val svc;
	char text[SL_ADDR_TEXT];
	int r = bpf_map_lookup_elem(dp->map[SL_DP_SVC], key, &svc);

	if (r)
		return r == -ENOENT ? 0 : r; /* went meanwhile */
	r = sl_buf_printf(out,
			  "service %s name=\"%.*s\" id=%u policy=%s provider=%s endpoints=%u\n",
			  address(key->addr, key->port, text), SL_SVC_NAME - 1, svc.name, svc.id,
			  policy_name(svc.policy),
			  svc.provider == SL_PROVIDER_SELF ? "self" : "other", svc.n_endpoints);
	for (uint32_t i = 0; !r && i < svc.n_endpoints; i++) {
		struct sl_ep_key ep_key = {.id = svc.id, .index = i};
		struct sl_ep_val ep;

		if (!bpf_map_lookup_elem(dp->map[SL_DP_EP], &ep_key, &ep))
			r = sl_buf_printf(out, "  endpoint %s\n", address(ep.addr, ep.port, text));
	}
	return r;
}

static int dump_services(const struct sl_datapath *dp, struct sl_buf *out)
{
	struct sl_svc_key key;
	void *from = NULL;
	int r;

	while (!(r = bpf_map_get_next_key(dp->map[SL_DP_SVC], from, &key))) {
		r = dump_service(dp, &key, out);
		if (r)
			return r;
		from = &key;
	}
	return r == -ENOENT ? 0 : r;
}

static int dump_share(const struct sl_datapath *dp, const struct sl_split_val *val, uint32_t i,
		      struct sl_buf *out)
{
	const struct sl_split_share *share = &val->shares[i];
	char text[SL_ADDR_TEXT];
	int r = sl_buf_printf(out, "  share weight=%u endpoints=%u flows=%" PRIu64 "\n",
			      share->upto - (i ? val->shares[i - 1].upto : 0), share->n_endpoints,
			      (uint64_t)share->flows);

	for (uint32_t k = 0; !r && k < share->n_endpoints; k++) {
		struct sl_ep_key key = {.id = val->id, .index = share->first + k};
		struct sl_ep_val ep;

		if (!bpf_map_lookup_elem(dp->map[SL_DP_SPLIT_EP], &key, &ep))
			r = sl_buf_printf(out, "    endpoint %s\n",
					  address(ep.addr, ep.port, text));
	}
	return r;
}

static int dump_splits(const struct sl_datapath *dp, struct sl_buf *out)
{
	struct sl_split_key key;
	void *from = NULL;
	int r;

	while (!(r = bpf_map_get_next_key(dp->map[SL_DP_SPLIT], from, &key))) {
		struct sl_split_val val;
		char text[SL_ADDR_TEXT];

		from = &key;
		if (bpf_map_lookup_elem(dp->map[SL_DP_SPLIT], &key, &val))
			continue; /* went meanwhile */
		r = sl_buf_printf(out, "split %s protocol=%u name=\"%.*s\" id=%u shares=%u\n",
				  address(key.addr, key.port, text), key.protocol, SL_SVC_NAME - 1,
				  val.name, val.id, val.n_shares);
		for (uint32_t i = 0; !r && i < val.n_shares && i < SL_SPLIT_SHARES; i++)
			r = dump_share(dp, &val, i, out);
		if (r)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

static int dump_namespaces(const struct sl_datapath *dp, struct sl_buf *out)
{
	uint64_t cookie;
	void *from = NULL;
	int r;

	while (!(r = bpf_map_get_next_key(dp->map[SL_DP_NETNS], from, &cookie))) {
		char s4[SL_ADDR_TEXT], s6[SL_ADDR_TEXT];
		struct sl_netns_val ns;

		from = &cookie;
		if (bpf_map_lookup_elem(dp->map[SL_DP_NETNS], &cookie, &ns))
			continue;
		r = sl_buf_printf(out,
				  "netns %" PRIu64 " port4=%u addresses4=%u port6=%u "
				  "source4=%s source6=%s\n",
				  cookie, ns.port4, ns.n_addr4, ns.port6,
				  address(ns.source4, 0, s4), address(ns.source6, 0, s6));
		if (r)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

static int dump_addresses(const struct sl_datapath *dp, struct sl_buf *out)
{
	struct sl_addr_key key;
	void *from = NULL;
	int r;

	while (!(r = bpf_map_get_next_key(dp->map[SL_DP_ADDR], from, &key))) {
		struct sl_addr a = {0};
		char text[SL_ADDR_TEXT];

		from = &key;
		memcpy(a.ip, key.addr, sizeof(a.ip));
		r = sl_buf_printf(out, "address netns=%" PRIu64 " %s\n", (uint64_t)key.netns,
				  sl_addr_format_ip(&a, text));
		if (r)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

int sl_datapath_dump(const struct sl_datapath *dp, struct sl_buf *out)
{
	uint64_t stats[SL_REASON_MAX];
	int r = sl_datapath_stats(dp, stats);

	if (!r)
		r = sl_buf_printf(
			out, "abi %u policy=%s heartbeat_ns=%" PRIu64 " limit_ns=%" PRIu64 "\n",
			dp->conf->abi_version, policy_name(dp->conf->policy),
			(uint64_t)dp->conf->heartbeat_ns, (uint64_t)dp->conf->heartbeat_limit_ns);
	if (!r)
		r = dump_services(dp, out);
	if (!r)
		r = dump_splits(dp, out);
	if (!r)
		r = dump_namespaces(dp, out);
	if (!r)
		r = dump_addresses(dp, out);
	for (unsigned i = 0; !r && i < SL_REASON_MAX; i++)
		if (stats[i])
			r = sl_buf_printf(out, "count %s %" PRIu64 "\n", sl_reason_name(i),
					  stats[i]);
	return r;
}
