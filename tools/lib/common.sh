# SPDX-License-Identifier: Apache-2.0
# Sourced by tools/test and tools/demo: what a fresh Debian 12 needs, and how a build is made.

# To build the agent: compiler, BPF compiler, libraries.
BUILD_PACKAGES="build-essential clang llvm meson ninja-build pkg-config git python3
	bpftool libbpf-dev libelf-dev zlib1g-dev linux-libc-dev
	libjansson-dev libnghttp2-dev libyaml-dev libcurl4-openssl-dev libc-ares-dev libssl-dev libpcre2-dev libcriterion-dev"
# To show it: network namespaces and a client.
DEMO_PACKAGES="iproute2 curl procps util-linux"
# To test it: harness, clients, other proxies to compare with, sanitizers.
TEST_PACKAGES="$DEMO_PACKAGES python3-pytest python3-pytest-xdist python3-yaml openssl wrk nodejs nghttp2-client nghttp2-server python3-h2 python3-grpcio python3-httpx python3-websockets haproxy nginx-light golang-go default-jdk-headless
	libclang-rt-14-dev"
# To take the kernel tests through other kernels.
VM_PACKAGES="qemu-system-x86 busybox-static cpio kmod xz-utils debian-archive-keyring"

# To start a real Kubernetes (tests/lab).
LAB_PACKAGES="$DEMO_PACKAGES containerd runc containernetworking-plugins iptables openssl zstd busybox-static python3"
# To build that Kubernetes.
LAB_BUILD_PACKAGES="golang-go gcc libc6-dev openssl busybox-static zstd python3 ca-certificates"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

need_root() {
	[ "$(id -u)" = 0 ] || die "run as root: BPF programs, cgroups and network namespaces need it"
}

# install_packages NAME...: only what is missing; no network when nothing is.
install_packages() {
	local missing="" name
	for name in "$@"; do
		dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing="$missing $name"
	done
	[ -n "$missing" ] || return 0
	say "Installing Debian packages:$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	# shellcheck disable=SC2086
	apt-get install -y -q --no-install-recommends $missing
}

# configure DIR [MESON-OPTION...]: sets up or reconfigures a build directory.
configure() {
	local dir=$1
	shift
	if [ -f "$dir/build.ninja" ]; then
		meson setup --reconfigure "$dir" "$ROOT" "$@"
	else
		rm -rf "$dir"
		meson setup "$dir" "$ROOT" "$@"
	fi
}

cgroup2_mount() {
	awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts
}
