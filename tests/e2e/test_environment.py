# SPDX-License-Identifier: Apache-2.0
"""Bad surroundings: the agent starts anyway, or says in one line what is missing and ends."""
import os
import resource
import socket
import stat

import pytest

from harness import manifests as m, netns, rawhttp
from harness.agent import SANITIZER_ENV, binary
from harness.netns import Entry
from harness.wait import wait_for


def sluiced(*argv, entry=None, **kw):
    env = dict(os.environ, **SANITIZER_ENV)
    return (entry or Entry()).run([binary("sluiced"), *argv], check=False, env=env, **kw)


def ends(world, *extra, pattern, status=1, **options):
    """Starting fails, soon, with a line that says why."""
    world.start(*extra, wait=False, **options)
    code = world.agent.wait(20)
    assert code == status or (status == 1 and code not in (0, 99)), f"exit {code}\n{world.agent.log()}"
    assert pattern.lower() in world.agent.log().lower(), world.agent.log()


def test_version_and_help():
    r = sluiced("--version")
    assert (r.returncode, "0.1.0" in r.stdout) == (0, True)
    r = sluiced("--help")
    assert r.returncode == 0 and "--config" in r.stdout


@pytest.mark.parametrize("argv", [
    [], ["--config"], ["--no-such-option"], ["--config", "/x", "stray"], ["--config", "/x", "--workers", "0"],
    ["--config", "/x", "--workers", "many"], ["--config", "/x", "--failure-policy", "ajar"],
    ["--config", "/x", "--vip-provider", "me"], ["--config", "/x", "--metrics", "nonsense"],
    ["--config", "/x", "--log-level", "loud"], ["--config", "/x", "--heartbeat-limit", "-1"],
], ids=lambda a: " ".join(a) or "nothing")
def test_wrong_command_lines(argv, tmp_path):
    r = sluiced(*(str(tmp_path) if word == "/x" else word for word in argv))
    assert r.returncode == 2, r
    assert r.stderr.strip(), "says why"


def test_without_root(world):
    world.base()
    r = Entry().run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all",
                     "--bounding-set=-all", binary("sluiced"), "--config", world.config, "--cgroup",
                     world.fabric.cgroup.path, "--bpffs", world.bpffs, "--admin-socket", world.socket,
                     "--metrics", "off"], check=False, env=dict(os.environ, **SANITIZER_ENV))
    assert r.returncode not in (0, 99), r
    assert "permi" in r.stderr.lower() or "root" in r.stderr.lower() or "cap_" in r.stderr.lower(), r.stderr


def test_no_such_config_folder(world):
    ends(world, config=world.folder + "/missing", pattern="missing")


def test_a_file_as_config_folder(world):
    world.base()
    ends(world, config=world.config + "/base.yaml", pattern="base.yaml")


def test_an_empty_config_folder_is_fine(world):
    world.start()
    assert world.ctl("status")["config"]["errors"] == []


@pytest.mark.parametrize("path", ["/no/such/cgroup", "/tmp"])
def test_no_such_cgroup(world, path):
    world.base()
    ends(world, cgroup=path, pattern=path)
    assert not os.path.exists(world.bpffs) or not os.listdir(world.bpffs), "nothing half-attached stays"


def test_bpffs_is_mounted_where_it_is_missing(world):
    """The tests have a mount namespace of their own: what is mounted here is seen nowhere else."""
    def mounted():
        with open("/proc/mounts") as f:
            return any(line.split()[1] == "/sys/fs/bpf" for line in f)
    while mounted():
        netns.umount("/sys/fs/bpf")
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.bpffs = f"/sys/fs/bpf/{world.fabric.prefix}"
    world.start()
    assert mounted()
    assert world.fetch().seen["pod"] == "a"


def test_pins_outside_of_bpffs(world):
    """Anywhere else the file system is not ours to mount: the line says how."""
    world.base()
    world.bpffs = os.path.join(world.folder, "plain", "sluice")
    os.mkdir(os.path.dirname(world.bpffs))
    ends(world, pattern="mount -t bpf bpf " + os.path.dirname(world.bpffs))


def test_pins_of_another_abi_are_replaced(world):
    """An older agent with other maps ran here and was killed."""
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()
    world.agent.kill()
    pin = os.path.join(world.bpffs, "sl_conf")
    out = Entry().run(["bpftool", "map", "dump", "pinned", pin]).stdout
    assert "abi_version" in out
    value = ["255", "0", "0", "0"] + ["0"] * 20
    Entry().run(["bpftool", "map", "update", "pinned", pin, "key", "0", "0", "0", "0", "value", *value])
    world.start()
    assert world.fetch().seen["pod"] == "a"
    assert "version" in world.agent.log().lower() or "abi" in world.agent.log().lower()


def test_foreign_things_among_the_pins(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    os.mkdir(world.bpffs)
    Entry().run(["bpftool", "map", "create", os.path.join(world.bpffs, "sl_svc"), "type", "hash", "key", "4", "value",
                 "4", "entries", "1", "name", "foreign"])
    try:
        world.start(wait=False)
        wait_for(lambda: not world.agent.running() or os.path.exists(world.socket))
        if world.agent.running():
            world.wait_ready()
            assert world.fetch().seen["pod"] == "a"
        else:
            assert world.agent.process.returncode not in (0, 99)
            assert "sl_svc" in world.agent.log()
    finally:
        if not world.agent.running() and os.path.exists(os.path.join(world.bpffs, "sl_svc")):
            os.unlink(os.path.join(world.bpffs, "sl_svc"))


def test_metrics_port_in_use(world):
    world.base()

    def hold(task):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", 15020))
            s.listen()
            task.report()
            task.wait_stop()
    task = world.spawn(world.fabric.node, hold)
    task.next_report()
    ends(world, pattern="15020")
    task.stop_and_result()
    world.start()


def test_metrics_off(world):
    world.base()
    world.start(metrics="off")

    def connect():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", 15020))
    assert world.fabric.node.call(connect) != 0


def test_an_admin_socket_of_a_living_agent_is_not_taken(world):
    world.base()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(world.socket)
        s.listen()
        ends(world, pattern="admin.sock")


def test_an_admin_socket_of_a_dead_agent_is_replaced(world):
    world.base()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(world.socket)
    assert stat.S_ISSOCK(os.stat(world.socket).st_mode)
    world.start()
    assert world.ctl("version")


def test_a_file_in_the_admin_sockets_place_is_not_removed(world):
    world.base()
    with open(world.socket, "w") as f:
        f.write("precious")
    ends(world, pattern="admin.sock")
    with open(world.socket) as f:
        assert f.read() == "precious"
    os.unlink(world.socket)


def test_an_access_log_that_cannot_be_opened(world):
    world.base()
    ends(world, access_log="/no/such/folder/access.log", pattern="/no/such/folder")


def test_an_access_log_on_a_full_disk_stops_nothing(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start(access_log="/dev/full")
    assert [world.fetch().status for _ in range(20)] == [200] * 20
    wait_for(lambda: world.metrics().sum("sluice_access_log_dropped_total") > 0)


def test_an_access_log_to_standard_output(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start(access_log="-")
    world.fetch("/to-stdout")
    world.agent.wait_log('"path": ?"/to-stdout"')


def test_a_status_file_that_cannot_be_written_stops_nothing(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start(status_file="/no/such/folder/status.json")
    assert world.fetch().status == 200
    assert "status" in world.agent.log()


def test_few_descriptors_cost_connections_and_not_the_agent(world):
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start()
    top = max(int(fd) for fd in os.listdir(f"/proc/{world.agent.pid}/fd"))
    resource.prlimit(world.agent.pid, resource.RLIMIT_NOFILE, (top + 20, top + 20))

    def run():
        conns = []
        for _ in range(100):
            try:
                conns.append(rawhttp.Conn(world.addr(), timeout=1))
                conns[-1].send(rawhttp.build())
            except OSError:
                pass
        for c in conns:
            c.close()
    world.client.call(run, timeout=200)
    wait_for(lambda: world.fetch(timeout=2).status == 200, what="service after the shortage")
    assert world.agent.running()


def test_the_environment_of_a_container(world):
    """No HOME, no PATH, a read-only root for all it knows, standard input closed."""
    world.base()
    world.route("r", [m.rule(backends="a")])
    world.start(wrapper=("env", "-i", *(f"{k}={v}" for k, v in SANITIZER_ENV.items())))
    assert world.fetch().status == 200


def test_sluicectl_without_an_agent(world):
    r = Entry().run([binary("sluicectl"), "-s", world.socket, "status"], check=False)
    assert r.returncode != 0
    assert world.socket in r.stderr


def test_uninstall_where_nothing_is(world):
    r = sluiced("--uninstall", "--bpffs", world.bpffs)
    assert r.returncode == 0, r.stderr


def test_the_kernel_is_checked_without_an_agent(fabric):
    result = fabric.node.run([binary("sluiced"), "--check", "--cgroup", fabric.cgroup.path])
    lines = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()}
    assert lines["kernel_btf"] == "ok" and "MISSING" not in lines.values(), result.stdout


def test_a_kernel_that_lacks_something_fails_the_check(fabric, tmp_path):
    """A folder that is no cgroup2 stands for it: everything else is found all the same."""
    result = fabric.node.run([binary("sluiced"), "--check", "--cgroup", str(tmp_path)], check=False)
    assert result.returncode == 1 and "MISSING" in result.stdout, result.stdout
