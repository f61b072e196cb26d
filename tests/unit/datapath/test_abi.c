/* SPDX-License-Identifier: Apache-2.0 */
/* Do both compilers lay out the ABI alike, and are the maps made of it? Asks the built object. */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <criterion/criterion.h>
#include <stddef.h>
#include "datapath/datapath.h"
#include "sluice.skel.h"
#include "splice.skel.h"
#include "sluice/abi.h"

/* The second is splicing's, with a stand-in for the sl_orig of the first. */
enum { STEERING, SPLICING, OBJECTS };
static struct bpf_object *objects[OBJECTS];
#define object objects[STEERING]

static void open_objects(void)
{
	size_t len[OBJECTS];
	const void *const elf[OBJECTS] = {sluice_bpf__elf_bytes(&len[STEERING]),
					  splice_bpf__elf_bytes(&len[SPLICING])};

	for (int i = 0; i < OBJECTS; i++) {
		objects[i] = bpf_object__open_mem(elf[i], len[i], NULL);
		cr_assert(objects[i], "the skeleton holds an object");
	}
}

static void close_objects(void)
{
	for (int i = 0; i < OBJECTS; i++)
		bpf_object__close(objects[i]);
}

TestSuite(abi, .init = open_objects, .fini = close_objects);

struct field {
	const char *type, *name;
	size_t type_bytes, offset, bytes;
};

#define FIELD(type, member)                                                         \
	{                                                                           \
#type, #member, sizeof(struct type), offsetof(struct type, member), \
			sizeof(((struct type *)0)->member)                          \
	}

static const struct field fields[] = {
	FIELD(sl_conf, abi_version),
	FIELD(sl_conf, policy),
	FIELD(sl_conf, heartbeat_ns),
	FIELD(sl_conf, heartbeat_limit_ns),
	FIELD(sl_svc_key, addr),
	FIELD(sl_svc_key, port),
	FIELD(sl_svc_key, pad),
	FIELD(sl_svc_val, id),
	FIELD(sl_svc_val, n_endpoints),
	FIELD(sl_svc_val, policy),
	FIELD(sl_svc_val, provider),
	FIELD(sl_svc_val, name),
	FIELD(sl_ep_key, id),
	FIELD(sl_ep_key, index),
	FIELD(sl_ep_val, addr),
	FIELD(sl_ep_val, port),
	FIELD(sl_ep_val, pad),
	FIELD(sl_netns_val, port4),
	FIELD(sl_netns_val, port6),
	FIELD(sl_netns_val, n_addr4),
	FIELD(sl_netns_val, pad),
	FIELD(sl_netns_val, source4),
	FIELD(sl_netns_val, source6),
	FIELD(sl_addr_key, netns),
	FIELD(sl_addr_key, addr),
	FIELD(sl_orig, addr),
	FIELD(sl_orig, via),
	FIELD(sl_orig, port),
	FIELD(sl_orig, via_port),
	FIELD(sl_orig, steered),
	FIELD(sl_orig, direct),
	FIELD(sl_orig, accepted),
	FIELD(sl_orig, bound_loopback),
	FIELD(sl_orig, cgroup_id),
	FIELD(sl_orig, netns),
	FIELD(sl_orig, exe_inode),
	FIELD(sl_orig, exe_dev),
	FIELD(sl_orig, pad),
	FIELD(sl_flow_key, netns),
	FIELD(sl_flow_key, client),
	FIELD(sl_flow_key, server),
	FIELD(sl_flow_key, client_port),
	FIELD(sl_flow_key, server_port),
	FIELD(sl_flow_key, pad),
	FIELD(sl_split_key, addr),
	FIELD(sl_split_key, port),
	FIELD(sl_split_key, protocol),
	FIELD(sl_split_val, id),
	FIELD(sl_split_val, n_shares),
	FIELD(sl_split_val, shares),
	FIELD(sl_split_val, name),
	FIELD(sl_split_share, upto),
	FIELD(sl_split_share, first),
	FIELD(sl_split_share, n_endpoints),
	FIELD(sl_split_share, flows),
	FIELD(sl_member_key, id),
	FIELD(sl_member_key, addr),
	FIELD(sl_member_key, port),
	FIELD(sl_member_key, pad),
	FIELD(sl_udp_flow, addr),
	FIELD(sl_udp_flow, via),
	FIELD(sl_udp_flow, port),
	FIELD(sl_udp_flow, via_port),
	FIELD(sl_udp_flow, used),
	FIELD(sl_udp, clock),
	FIELD(sl_udp, slot),
	FIELD(sl_udp, flows),
	FIELD(sl_hop, app_sent),
	FIELD(sl_hop, app_seen),
	FIELD(sl_hop, app_redirected),
	FIELD(sl_hop, app_tcp_at),
	FIELD(sl_hop, app_cookie),
	FIELD(sl_hop, app_unfit),
	FIELD(sl_hop, verdict),
	FIELD(sl_hop, app_over),
	FIELD(sl_hop, app_gone),
	FIELD(sl_hop, app_msgs),
	FIELD(sl_hop, taken),
	FIELD(sl_hop, done),
	FIELD(sl_hop, own_cookie),
	FIELD(sl_hop, own_redirected),
	FIELD(sl_hop, gen),
	FIELD(sl_hop, state),
	FIELD(sl_hop, budget),
	FIELD(sl_hop, is_active),
	FIELD(sl_hop, own_known),
	FIELD(sl_hop, own_sent_at),
	FIELD(sl_hop, own_rcvd_at),
	FIELD(sl_hop, own_msgs),
	FIELD(sl_hop, own_waits),
	FIELD(sl_peer, slot),
	FIELD(sl_peer, gen),
	FIELD(sl_peer, is_own),
	FIELD(sl_want_key, netns),
	FIELD(sl_want_key, local),
	FIELD(sl_want_key, remote),
	FIELD(sl_want_key, local_port),
	FIELD(sl_want_key, remote_port),
	FIELD(sl_want_key, pad),
	FIELD(sl_want, slot),
	FIELD(sl_want, gen),
	FIELD(sl_unfit_key, id),
	FIELD(sl_unfit_key, dev),
	FIELD(sl_unfit_key, kind),
};

static const struct btf_member *find_member(const struct btf *btf, const struct btf_type *t,
					    const char *name)
{
	const struct btf_member *m = btf_members(t);

	for (int i = 0; i < btf_vlen(t); i++)
		if (!strcmp(btf__name_by_offset(btf, m[i].name_off), name))
			return &m[i];
	return NULL;
}

static const struct btf *btf_with(const char *type)
{
	for (int i = 0; i < OBJECTS; i++)
		if (btf__find_by_name_kind(bpf_object__btf(objects[i]), type, BTF_KIND_STRUCT) > 0)
			return bpf_object__btf(objects[i]);
	return bpf_object__btf(object);
}

Test(abi, fields_lie_where_the_programs_expect_them)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		const struct field *f = &fields[i];
		const struct btf *btf = btf_with(f->type);
		int id = btf__find_by_name_kind(btf, f->type, BTF_KIND_STRUCT);
		const struct btf_type *t = id > 0 ? btf__type_by_id(btf, id) : NULL;
		const struct btf_member *m = t ? find_member(btf, t, f->name) : NULL;

		cr_expect(m, "%s.%s is in the object's BTF", f->type, f->name);
		if (!m)
			continue;
		cr_expect(t->size == f->type_bytes, "size of %s", f->type);
		cr_expect(m->offset == f->offset * 8, "offset of %s.%s", f->type, f->name);
		cr_expect((size_t)btf__resolve_size(btf, m->type) == f->bytes, "size of %s.%s",
			  f->type, f->name);
	}
}

Test(abi, every_byte_of_a_key_is_a_field)
{
	static const char *const keys[] = {"sl_svc_key",   "sl_ep_key",	   "sl_addr_key",
					   "sl_flow_key",  "sl_want_key",  "sl_unfit_key",
					   "sl_split_key", "sl_member_key"};

	for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
		size_t sum = 0, size = 0;

		for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
			if (strcmp(fields[i].type, keys[k]) != 0)
				continue;
			sum += fields[i].bytes;
			size = fields[i].type_bytes;
		}
		cr_expect(sum == size && size, "%s has no hidden padding", keys[k]);
	}
}

struct map {
	const char *name;
	enum bpf_map_type type;
	size_t key_bytes, value_bytes;
	unsigned flags;
};

static const struct map maps[] = {
	{"sl_conf", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sl_conf), BPF_F_MMAPABLE},
	{"sl_svc", BPF_MAP_TYPE_HASH, sizeof(struct sl_svc_key), sizeof(struct sl_svc_val),
	 BPF_F_NO_PREALLOC},
	{"sl_ep", BPF_MAP_TYPE_HASH, sizeof(struct sl_ep_key), sizeof(struct sl_ep_val),
	 BPF_F_NO_PREALLOC},
	{"sl_netns", BPF_MAP_TYPE_HASH, 8, sizeof(struct sl_netns_val), BPF_F_NO_PREALLOC},
	{"sl_addr", BPF_MAP_TYPE_HASH, sizeof(struct sl_addr_key), 4, BPF_F_NO_PREALLOC},
	{"sl_orig", BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(struct sl_orig), BPF_F_NO_PREALLOC},
	{"sl_own", BPF_MAP_TYPE_SK_STORAGE, 4, 4, BPF_F_NO_PREALLOC | BPF_F_CLONE},
	{"sl_flow", BPF_MAP_TYPE_LRU_HASH, sizeof(struct sl_flow_key), sizeof(struct sl_orig), 0},
	{"sl_stat", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct sl_stat), 0},
	{"sl_events", BPF_MAP_TYPE_RINGBUF, 0, 0, 0},
	{"sl_seen", BPF_MAP_TYPE_LRU_HASH, 8, 8, 0},
	{"sl_split", BPF_MAP_TYPE_HASH, sizeof(struct sl_split_key), sizeof(struct sl_split_val),
	 BPF_F_NO_PREALLOC},
	{"sl_split_ep", BPF_MAP_TYPE_HASH, sizeof(struct sl_ep_key), sizeof(struct sl_ep_val),
	 BPF_F_NO_PREALLOC},
	{"sl_member", BPF_MAP_TYPE_HASH, sizeof(struct sl_member_key), 4, BPF_F_NO_PREALLOC},
	{"sl_udp", BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(struct sl_udp), BPF_F_NO_PREALLOC},
	{"sl_sock", BPF_MAP_TYPE_SOCKHASH, 8, 8, 0},
	{"sl_hop", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sl_hop), BPF_F_MMAPABLE},
	{"sl_app", BPF_MAP_TYPE_ARRAY, 4, 8, 0},
	{"sl_peer", BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(struct sl_peer), BPF_F_NO_PREALLOC},
	{"sl_want", BPF_MAP_TYPE_HASH, sizeof(struct sl_want_key), sizeof(struct sl_want),
	 BPF_F_NO_PREALLOC},
	{"sl_unfit", BPF_MAP_TYPE_LRU_HASH, sizeof(struct sl_unfit_key), 8, 0},
	{"sl_splice_ev", BPF_MAP_TYPE_RINGBUF, 0, 0, 0},
};

static struct bpf_map *find_map(const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	return map ? map : bpf_object__find_map_by_name(objects[SPLICING], name);
}

Test(abi, maps_are_made_of_it)
{
	size_t n = 0;
	struct bpf_map *map;

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
		const struct map *want = &maps[i];

		map = find_map(want->name);
		cr_expect(map, "%s exists", want->name);
		if (!map)
			continue;
		cr_expect(bpf_map__type(map) == want->type, "type of %s", want->name);
		cr_expect(bpf_map__key_size(map) == want->key_bytes, "key of %s", want->name);
		cr_expect(bpf_map__value_size(map) == want->value_bytes, "value of %s", want->name);
		cr_expect(bpf_map__map_flags(map) == want->flags, "flags of %s", want->name);
	}
	for (int i = 0; i < OBJECTS; i++)
		bpf_object__for_each_map(map, objects[i]) n += !bpf_map__is_internal(map);
	cr_expect(n == sizeof(maps) / sizeof(*maps) + 1, "and there are no others but a stand-in");
	map = bpf_object__find_map_by_name(objects[SPLICING], "sl_orig");
	cr_expect(map && bpf_map__value_size(map) == sizeof(struct sl_orig), "which is alike");
}

Test(abi, counters_are_named_in_the_order_of_the_reasons)
{
	const struct btf *btf = bpf_object__btf(object);
	int id = btf__find_by_name_kind(btf, "sl_stat", BTF_KIND_STRUCT);
	const struct btf_type *t = id > 0 ? btf__type_by_id(btf, id) : NULL;

	cr_assert(t && btf_vlen(t) == SL_REASON_MAX);
	for (unsigned i = 0; i < SL_REASON_MAX; i++) {
		const struct btf_member *m = &btf_members(t)[i];

		cr_expect(m->offset == i * 64, "reason %u", i);
		cr_expect_str_eq(btf__name_by_offset(btf, m->name_off), sl_reason_name(i));
	}
	/* One that everybody knows, so that the order is not only compared with itself. */
	cr_expect(offsetof(struct sl_stat, forged) == 9 * sizeof(__u64));
	cr_expect(offsetof(struct sl_stat, flow_stale) == 18 * sizeof(__u64));
}

/* bpftool prints an array as text only when its elements are called char. */
Test(abi, what_people_read_has_types_that_bpftool_prints)
{
	const struct btf *btf = bpf_object__btf(object);
	int id = btf__find_by_name_kind(btf, "sl_svc_val", BTF_KIND_STRUCT);
	const struct btf_type *t = btf__type_by_id(btf, id), *name, *element;

	name = btf__type_by_id(btf, find_member(btf, t, "name")->type);
	cr_assert(btf_is_array(name));
	element = btf__type_by_id(btf, btf_array(name)->type);
	cr_expect_str_eq(btf__name_by_offset(btf, element->name_off), "char");
	cr_expect(btf_is_enum(btf__type_by_id(btf, find_member(btf, t, "policy")->type)));
	cr_expect(btf_is_enum(btf__type_by_id(btf, find_member(btf, t, "provider")->type)));
}

Test(abi, names_fit_the_kernel)
{
	struct bpf_program *prog;
	struct bpf_map *map;

	for (int i = 0; i < OBJECTS; i++) {
		bpf_object__for_each_map(map, objects[i]) cr_expect(
			bpf_map__is_internal(map) || strlen(bpf_map__name(map)) < BPF_OBJ_NAME_LEN,
			"%s", bpf_map__name(map));
		bpf_object__for_each_program(prog, objects[i])
			cr_expect(strlen(bpf_program__name(prog)) < BPF_OBJ_NAME_LEN, "%s",
				  bpf_program__name(prog));
	}
}
