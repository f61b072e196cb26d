/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "lib/svc.h"

struct policy_row {
	const char *name;
	__u8 policy, provider;
	__u32 fallback;
	enum sl_verdict want;
};

static const struct policy_row policies[] = {
	{"open, kube-proxy", SL_POLICY_OPEN, SL_PROVIDER_OTHER, SL_POLICY_OPEN, SL_VERDICT_PASS},
	{"open, nobody", SL_POLICY_OPEN, SL_PROVIDER_SELF, SL_POLICY_OPEN, SL_VERDICT_BALANCE},
	{"closed, kube-proxy", SL_POLICY_CLOSED, SL_PROVIDER_OTHER, SL_POLICY_OPEN,
	 SL_VERDICT_REFUSE},
	{"closed, nobody", SL_POLICY_CLOSED, SL_PROVIDER_SELF, SL_POLICY_OPEN, SL_VERDICT_REFUSE},
	{"open beats a closed default", SL_POLICY_OPEN, SL_PROVIDER_OTHER, SL_POLICY_CLOSED,
	 SL_VERDICT_PASS},
	{"default is open", SL_POLICY_DEFAULT, SL_PROVIDER_OTHER, SL_POLICY_OPEN, SL_VERDICT_PASS},
	{"default is open, nobody", SL_POLICY_DEFAULT, SL_PROVIDER_SELF, SL_POLICY_OPEN,
	 SL_VERDICT_BALANCE},
	{"default is closed", SL_POLICY_DEFAULT, SL_PROVIDER_SELF, SL_POLICY_CLOSED,
	 SL_VERDICT_REFUSE},
};

Test(svc, failure_policy_decides)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		const struct policy_row *p = &policies[i];
		struct sl_svc_val svc = {.id = 1, .policy = p->policy, .provider = p->provider};

		cr_expect(sl_verdict(&svc, p->fallback) == p->want, "%s", p->name);
	}
}

struct beat_row {
	const char *name;
	__u64 beat, limit, now;
	int want;
};

static const struct beat_row beats[] = {
	{"never", 0, 1000, 500, 0},
	{"just now", 5000, 1000, 5000, 1},
	{"at the limit", 5000, 1000, 6000, 1},
	{"past the limit", 5000, 1000, 6001, 0},
	{"long past", 1, 1000, ~0ULL, 0},
	{"from another CPU's future", 5001, 1000, 5000, 1},
	{"no limit in sight", 5000, ~0ULL, ~0ULL, 1},
};

Test(svc, heartbeat_ages)
{
	for (size_t i = 0; i < sizeof(beats) / sizeof(*beats); i++) {
		struct sl_conf conf = {.heartbeat_ns = beats[i].beat,
				       .heartbeat_limit_ns = beats[i].limit};

		cr_expect(sl_heartbeat_fresh(&conf, beats[i].now) == beats[i].want, "%s",
			  beats[i].name);
	}
}

Test(svc, listener_addresses_are_all_used_and_no_other)
{
	unsigned used[8] = {0};

	for (__u32 random = 0; random < 1000; random++) {
		__u32 host = bpf_ntohl(sl_listener_ip(1, 5, random).w[3]);

		cr_assert(host >= 0x7f000001 && host <= 0x7f000005);
		used[host - 0x7f000001]++;
	}
	for (int i = 0; i < 5; i++)
		cr_expect(used[i] == 200, "127.0.0.%d: %u", i + 1, used[i]);
	for (__u16 n = 0; n < 2; n++)
		cr_expect(sl_ip_eq(sl_listener_ip(1, n, 0xffffffff), sl_ip_from4(SL_LOOPBACK)),
			  "n = %u means 127.0.0.1", n);
	cr_expect(sl_ip_is_loopback(sl_listener_ip(0, 5, 3)) &&
			  !sl_ip_is_v4(sl_listener_ip(0, 5, 3)),
		  "IPv6 has one");
}

Test(svc, endpoints_are_chosen_evenly)
{
	unsigned used[3] = {0};

	for (__u32 random = 0; random < 300; random++)
		used[sl_endpoint_index(3, random)]++;
	cr_expect(used[0] == 100 && used[1] == 100 && used[2] == 100);
	cr_expect(sl_endpoint_index(0, 7) == 0, "none to choose from");
}

Test(svc, client_side_of_a_connection_to_the_listener)
{
	struct sl_ip pod = sl_ip_from4(bpf_htonl(0x0a320002)), any6 = {{0}};

	cr_expect(sl_ip_eq(sl_client_ip(pod, 1), pod), "bound stays bound");
	cr_expect(sl_ip_eq(sl_client_ip(sl_ip_from4(0), 1), sl_ip_from4(SL_LOOPBACK)));
	cr_expect(sl_ip_eq(sl_client_ip(any6, 1), sl_ip_from4(SL_LOOPBACK)),
		  "an IPv6 socket that calls a mapped address");
	cr_expect(sl_ip_eq(sl_client_ip(any6, 0), (struct sl_ip){{0, 0, 0, bpf_htonl(1)}}));
}

Test(svc, only_a_listener_leaves_the_tuple_free)
{
	for (__u32 state = 1; state <= 12; state++)
		cr_expect(sl_tuple_taken(state) == (state != SL_TCP_LISTEN), "state %u", state);
}

struct name_row {
	const char *name;
	struct sl_orig record; /* what it says of itself */
	__u32 peer4;	       /* host order */
	__u16 peer_port;
	int holds;  /* peer is translated */
	int hidden; /* a loopback local address is, too */
};

static const struct name_row names[] = {
	{"steered", {.steered = 1}, 0x7f000001, 15001, 1, 1},
	{"steered, bound to loopback",
	 {.steered = 1, .bound_loopback = 1},
	 0x7f000001,
	 15001,
	 1,
	 0},
	{"direct", {.direct = 1}, 0x7f000001, 15001, 1, 0},
	{"the agent's accepted socket", {.steered = 1, .accepted = 1}, 0x7f000001, 15001, 0, 0},
	{"now connected to another port", {.steered = 1}, 0x7f000001, 15002, 0, 0},
	{"now connected elsewhere", {.steered = 1}, 0x0a000001, 443, 0, 0},
	{"dissolved", {.steered = 1}, 0, 0, 0, 0},
};

Test(svc, names_are_translated_while_the_record_holds)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct name_row *n = &names[i];
		struct sl_orig o = n->record;
		__u16 port = n->peer_port;

		o.via_port = 15001;
		sl_ip_store(o.via, sl_ip_from4(SL_LOOPBACK));
		cr_expect(sl_orig_holds(&o, sl_ip_from4(bpf_htonl(n->peer4)), port) == n->holds,
			  "%s", n->name);
		cr_expect(sl_local_hidden(&o, sl_ip_from4(SL_LOOPBACK), port) == n->hidden,
			  "%s, local", n->name);
		cr_expect(!sl_local_hidden(&o, sl_ip_from4(bpf_htonl(0x0a320002)), port),
			  "%s: a real local address is shown as it is", n->name);
	}
}

Test(svc, one_event_per_gap)
{
	cr_expect(!sl_event_due(1000, 1000));
	cr_expect(!sl_event_due(1000, 1000 + SL_EVENT_GAP_NS - 1));
	cr_expect(sl_event_due(1000, 1000 + SL_EVENT_GAP_NS));
}
