/* SPDX-License-Identifier: Apache-2.0 */
#include "bed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <mntent.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int n_checks, n_failed;
static const char *test_name = "";
static char scratch[256], came_from[256], mounted[256];
static pid_t owner;

void test_begin(const char *name)
{
	test_name = name;
}

void check(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - %s: ", good ? "" : "not ", ++n_checks, test_name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	n_failed += !good;
}

int test_finish(void)
{
	printf("1..%d\n", n_checks);
	return n_failed != 0;
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(99);
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

static bool join(const char *cgroup)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	return write_file(path, "0");
}

void bed_move(const struct bed *b, bool inside)
{
	must(join(inside ? b->cgroup : b->outside), "join a cgroup");
}

void bed_cgroup(const struct bed *b, const char *name, char out[300])
{
	snprintf(out, 300, "%.200s/%.60s", b->cgroup, name);
	must(mkdir(out, 0755) == 0, out);
}

/* Child cgroups first; their names are ours, one level deep. */
static void clean_up(void)
{
	static const char *const children[] = {"full", "mismatch", "reasons", "gone", "errors"};
	char path[400];

	if (getpid() != owner || !join(came_from))
		return;
	for (size_t i = 0; i < sizeof(children) / sizeof(*children); i++) {
		snprintf(path, sizeof(path), "%s/%s", scratch, children[i]);
		rmdir(path);
	}
	if (rmdir(scratch) < 0)
		fprintf(stderr, "# cannot remove %s: %s\n", scratch, strerror(errno));
	if (mounted[0] && (umount2(mounted, MNT_DETACH) < 0 || rmdir(mounted) < 0))
		fprintf(stderr, "# cannot remove %s: %s\n", mounted, strerror(errno));
}

static void find_cgroup2(char out[200])
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;

	must(f != NULL, "/proc/self/mounts");
	while ((m = getmntent(f)))
		if (!strcmp(m->mnt_type, "cgroup2"))
			break;
	must(m != NULL, "no cgroup2 mount");
	snprintf(out, 200, "%s", m->mnt_dir);
	endmntent(f);
}

static void cgroup_init(struct bed *b)
{
	char mount_point[200], line[256];
	struct stat st;
	FILE *f;

	find_cgroup2(mount_point);
	snprintf(b->outside, sizeof(b->outside), "%s", mount_point);
	f = fopen("/proc/self/cgroup", "re");
	must(f != NULL, "/proc/self/cgroup");
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "0::/", 4) && strlen(mount_point) + strlen(line) < 250 &&
		    line[4])
			snprintf(b->outside, sizeof(b->outside), "%s%.50s", mount_point, line + 3);
	}
	fclose(f);
	snprintf(b->cgroup, sizeof(b->cgroup), "%s/sluice-test-%d", mount_point, (int)getpid());
	must(mkdir(b->cgroup, 0755) == 0, b->cgroup);
	must(stat(b->cgroup, &st) == 0, b->cgroup);
	b->cgroup_id = st.st_ino;
	memcpy(scratch, b->cgroup, sizeof(scratch));
	memcpy(came_from, b->outside, sizeof(came_from));
	owner = getpid();
	atexit(clean_up);
	bed_move(b, true);
}

static void bpffs_init(struct bed *b)
{
	must(unshare(CLONE_NEWNS) == 0, "unshare the mount namespace");
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 || errno == EINVAL,
	     "make mounts private");
	snprintf(b->bpffs, sizeof(b->bpffs), "/tmp/sluice-test-%d", (int)getpid());
	must(mkdir(b->bpffs, 0700) == 0, b->bpffs);
	must(mount("bpf", b->bpffs, "bpf", 0, NULL) == 0, "mount bpffs");
	memcpy(mounted, b->bpffs, sizeof(mounted));
	snprintf(b->pins, sizeof(b->pins), "%s/sluice", b->bpffs);
}

void bed_enter(int netns)
{
	must(setns(netns, CLONE_NEWNET) == 0, "setns");
}

void bed_up(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_flags = IFF_UP | IFF_RUNNING};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	must(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) == 0, name);
	close(fd);
}

int bed_netns_new(void)
{
	int fd;

	must(unshare(CLONE_NEWNET) == 0, "unshare the network namespace");
	bed_up("lo");
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	must(fd >= 0, "/proc/self/ns/net");
	return fd;
}

struct message {
	struct nlmsghdr head;
	char body[512];
};

static struct rtattr *put(struct message *m, int type, const void *p, size_t n)
{
	struct rtattr *a = (struct rtattr *)((char *)m + NLMSG_ALIGN(m->head.nlmsg_len));

	a->rta_type = type;
	a->rta_len = RTA_LENGTH(n);
	if (n)
		memcpy(RTA_DATA(a), p, n);
	m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

static void put_end(struct message *m, struct rtattr *a)
{
	a->rta_len = (char *)m + m->head.nlmsg_len - (char *)a;
}

static void talk_netlink(struct message *m, const char *what)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[1024];
	} answer = {0};

	m->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	must(fd >= 0 && send(fd, m, m->head.nlmsg_len, 0) == (ssize_t)m->head.nlmsg_len, what);
	must(recv(fd, &answer, sizeof(answer), 0) > 0, what);
	errno = -answer.error.error;
	must(answer.head.nlmsg_type == NLMSG_ERROR && !answer.error.error, what);
	close(fd);
}

void bed_veth(const char *name, const char *other, int netns)
{
	struct message m = {.head = {.nlmsg_type = RTM_NEWLINK,
				     .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg))}};
	struct rtattr *info, *data, *peer;

	put(&m, IFLA_IFNAME, name, strlen(name) + 1);
	info = put(&m, IFLA_LINKINFO, NULL, 0);
	put(&m, IFLA_INFO_KIND, "veth", 4);
	data = put(&m, IFLA_INFO_DATA, NULL, 0);
	peer = put(&m, VETH_INFO_PEER, NULL, 0);
	m.head.nlmsg_len += sizeof(struct ifinfomsg);
	put(&m, IFLA_IFNAME, other, strlen(other) + 1);
	if (netns >= 0)
		put(&m, IFLA_NET_NS_FD, &netns, sizeof(netns));
	put_end(&m, peer);
	put_end(&m, data);
	put_end(&m, info);
	talk_netlink(&m, "make a veth pair (is the module there?)");
}

void bed_address(const char *device, const char *text, int prefix)
{
	struct message m = {.head = {.nlmsg_type = RTM_NEWADDR,
				     .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg))}};
	struct ifaddrmsg *ifa = NLMSG_DATA(&m.head);
	bool v6 = strchr(text, ':');
	char ip[16];

	must(inet_pton(v6 ? AF_INET6 : AF_INET, text, ip) == 1, text);
	ifa->ifa_family = v6 ? AF_INET6 : AF_INET;
	ifa->ifa_prefixlen = prefix;
	ifa->ifa_flags = IFA_F_NODAD; /* usable at once */
	ifa->ifa_index = if_nametoindex(device);
	put(&m, IFA_LOCAL, ip, v6 ? 16 : 4);
	put(&m, IFA_ADDRESS, ip, v6 ? 16 : 4);
	talk_netlink(&m, text);
}

void bed_init(struct bed *b)
{
	int fd;

	memset(b, 0, sizeof(*b));
	cgroup_init(b);
	bpffs_init(b);
	b->home = bed_netns_new();
	b->pod = bed_netns_new();
	bed_veth("eth0", "peer0", -1);
	bed_up("eth0");
	bed_up("peer0");
	bed_address("eth0", POD4, 24);
	bed_address("eth0", VIP_HELD, 32);
	bed_address("eth0", POD6, 64);
	fd = sock(AF_INET, SOCK_STREAM);
	must(sl_datapath_netns_cookie(fd, &b->cookie) == 0, "SO_NETNS_COOKIE");
	close(fd);
}

int bed_netns_beside(const struct bed *b, const char *here, const char *there)
{
	int netns = bed_netns_new();

	bed_enter(b->pod);
	bed_veth("beside0", "beside1", netns);
	bed_up("beside0");
	bed_address("beside0", here, 24);
	bed_enter(netns);
	bed_up("beside1");
	bed_address("beside1", there, 24);
	bed_enter(b->pod);
	return netns;
}

struct sl_addr addr(const char *text)
{
	struct sl_addr a = {0};

	must(sl_addr_parse(sl_str_from(text), &a) == 0, text);
	return a;
}

int sock(int family, int type)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	must(fd >= 0, "socket");
	return fd;
}

int sock_bind(int fd, const char *at)
{
	struct sockaddr_storage ss;
	struct sl_addr a = addr(at);
	socklen_t len = sl_addr_to_sockaddr(&a, &ss);

	return bind(fd, (struct sockaddr *)&ss, len) < 0 ? -errno : 0;
}

int sock_connect(int fd, const char *to)
{
	struct sockaddr_storage ss;
	struct sl_addr a = addr(to);
	socklen_t len = sl_addr_to_sockaddr(&a, &ss);

	return connect(fd, (struct sockaddr *)&ss, len) < 0 ? -errno : 0;
}

int sock_connect_mapped(int fd, const char *to)
{
	struct sl_addr a = addr(to);
	struct sockaddr_in6 s6 = {.sin6_family = AF_INET6, .sin6_port = htons(a.port)};

	memcpy(&s6.sin6_addr, a.ip, 16);
	return connect(fd, (struct sockaddr *)&s6, sizeof(s6)) < 0 ? -errno : 0;
}

int sock_listen(const char *at)
{
	struct sl_addr a = addr(at);
	int fd = sock(sl_addr_is_v4(&a) ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	errno = -sock_bind(fd, at);
	must(errno == 0, at);
	must(listen(fd, 128) == 0, at);
	return fd;
}

bool sock_pending(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

int sock_accept(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	return poll(&p, 1, 5000) == 1 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
}

bool sock_is(int fd, bool peer, const char *want)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	struct sl_addr have, w = addr(want);
	char text[SL_ADDR_TEXT];

	if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&ss, &len) < 0)
		return false;
	if (sl_addr_from_sockaddr(&ss, &have))
		return false;
	if (!w.port) /* any */
		w.port = have.port;
	if (!sl_addr_eq(&have, &w))
		printf("# have %s\n", sl_addr_format(&have, text));
	return sl_addr_eq(&have, &w);
}

static bool say(int from, int to, const char *word)
{
	char got[16] = "";
	struct pollfd p = {.fd = to, .events = POLLIN};
	ssize_t n = strlen(word);

	return send(from, word, n, MSG_NOSIGNAL) == n && poll(&p, 1, 5000) == 1 &&
	       recv(to, got, sizeof(got), 0) == n && !memcmp(got, word, n);
}

bool sock_talk(int a, int b)
{
	return say(a, b, "there") && say(b, a, "back");
}

void sock_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
