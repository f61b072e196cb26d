# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API as the source of configuration: with a server that does what servers do on bad days."""
import collections
import re
import signal

import pytest

from harness import manifests as m
from harness import rawhttp
from harness.kube_api import Api
from harness.wait import hold_for, wait_for


def text_of(response):
    return response.seen["pod"] if response.status == 200 else response.status


@pytest.fixture
def api(world, fabric):
    api = Api(fabric.node, world.folder)
    api.apply(m.namespace("shop"), m.namespace("other"))
    api.apply(*[m.pod(p) for p in world.pods.values()])
    for name, pods in (("web", [world.a, world.b, world.c]), ("a", [world.a]), ("b", [world.b])):
        api.apply(*world.service_objects(name, pods))
    api.start()
    yield api
    api.stop()


def route_to(name, backend, **kw):
    return m.route(name, [m.rule(backends=[m.backend(backend)])], **kw)


def start(world, api, **options):
    return world.start(config=None, kubeconfig=api.kubeconfig(), vip_provider="self", **options)


def goes_to(world, pod, timeout=15):
    world.wait_answer(lambda r: r.status == 200 and r.seen["pod"] == pod.name, f"answers of {pod.name}", timeout)


def test_routes_of_the_cluster_are_enforced_and_follow_changes(world, api):
    api.apply(route_to("r", "a"))
    start(world, api)
    goes_to(world, world.a)
    api.apply(route_to("r", "b"))
    goes_to(world, world.b)
    api.apply(m.route("r", [m.rule(matches=[m.path("/only")], backends=[m.backend("a")])]))
    world.wait_answer(lambda r: r.status == 404, "404 for what no rule takes")
    api.delete("HTTPRoute", "shop", "r")
    wait_for(lambda: not world.ctl("routes")["routes"], what="the route to go")


def test_lists_come_in_pages(world, api):
    api.page = 2
    api.apply(*[m.namespace(f"n{i}") for i in range(9)])
    api.apply(route_to("r", "b"))
    start(world, api)
    goes_to(world, world.b)
    assert api.count("/api/v1/namespaces", **{"continue": "10"}) == 1
    assert world.ctl("status")["config"]["errors"] == []


def test_only_pods_of_the_node_are_asked_for(world, api):
    start(world, api, node="n1")
    wait_for(lambda: api.count("/api/v1/pods", fieldSelector="spec.nodeName=n1", watch="1"), what="the watch")
    assert api.count("/api/v1/pods") == api.count("/api/v1/pods", fieldSelector="spec.nodeName=n1")


def test_nothing_is_told_before_every_kind_was_listed(world, api):
    api.apply(route_to("r", "a"))
    api.fault(*[500] * 3)
    agent = start(world, api, wait=False)
    agent.wait_log("configuration in force")
    log = agent.log()
    assert log.count("generation=1 services=2 ") == 1, log  # one address of each family
    world.wait_ready()
    goes_to(world, world.a)


def test_a_cut_watch_is_resumed_without_a_new_list(world, api):
    api.apply(route_to("r", "a"))
    start(world, api)
    goes_to(world, world.a)
    api.cut()
    api.apply(route_to("r", "b"))
    goes_to(world, world.b)
    lists = collections.Counter(path for _, path, query in api.requests if query.get("limit"))
    assert set(lists.values()) == {1}, lists


def test_a_history_that_is_gone_is_listed_anew(world, api):
    api.apply(route_to("r", "a"), route_to("gone", "a", parents=[m.parent("a")]))
    start(world, api)
    goes_to(world, world.a)
    api.stop()
    api.forget("HTTPRoute", "shop", "gone")
    api.apply(route_to("r", "b"))
    api.compact()
    api.start()
    goes_to(world, world.b)
    wait_for(lambda: [r["name"] for r in world.ctl("routes")["routes"]] == ["r"], what="the other route to go")


@pytest.mark.parametrize("fault", [b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"kind\":\"List\",\"items\":[{\"met}}",
                                   b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<garbage>",
                                   b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"items\":[",
                                   b"\0\1\2\3", None, 500, 503, 429, 403],
                         ids=["broken-json", "no-json", "cut", "no-http", "close", "500", "503", "429", "403"])
def test_bad_answers_take_nothing_away(world, api, fault):
    api.apply(route_to("r", "a"))
    start(world, api)
    goes_to(world, world.a)
    api.compact()
    api.fault(*[fault] * 8)
    api.cut()
    hold_for(lambda: text_of(world.fetch()) == world.a.name, 0.5, what="the last configuration to be in force")
    api.apply(route_to("r", "b"))
    goes_to(world, world.b)
    wait_for(lambda: world.ctl("status")["config"]["errors"] == [], what="no problem to be left")


def test_a_watch_that_goes_on_is_no_problem_any_more(world, api):
    """Also when it has nothing to tell for a long time."""
    api.apply(route_to("r", "a"))
    start(world, api)
    goes_to(world, world.a)
    api.bookmark_s = 60
    api.fault(*[429] * 12)
    api.cut()

    def refused():
        return any("HTTP 429" in e["message"] for e in world.ctl("status")["config"]["errors"])
    wait_for(refused, what="a problem to be shown")
    wait_for(lambda: world.ctl("status")["config"]["errors"] == [], what="no problem to be left")


def test_without_the_server_the_last_configuration_is_served(world, api):
    api.apply(route_to("r", "a"))
    start(world, api)
    goes_to(world, world.a)
    api.stop()
    problem = wait_for(lambda: world.ctl("status")["config"]["errors"], what="a problem to be shown")
    assert re.search(r"cannot be read from the API server", problem[0]["message"])
    assert text_of(world.fetch()) == world.a.name
    api.start()
    wait_for(lambda: world.ctl("status")["config"]["errors"] == [], what="no problem to be left", timeout=60)


def test_an_invalid_object_keeps_its_last_valid_version(world, api):
    api.apply(route_to("r", "a"))
    start(world, api)
    goes_to(world, world.a)
    broken = route_to("r", "b")
    broken["spec"]["parentRefs"] = "none"
    api.apply(broken)
    problem = wait_for(lambda: world.ctl("status")["config"]["errors"], what="the problem")
    assert problem[0]["object"] == "HTTPRoute shop/r" and problem[0]["field"].startswith("spec.parentRefs")
    assert text_of(world.fetch()) == world.a.name


def test_a_kind_that_is_not_installed_may_come_later(world, api):
    api.absent.add("httproutes")
    api.apply(route_to("r", "a"))
    agent = start(world, api, wait=False)
    agent.wait_log("configuration in force generation=1 services=0")
    api.absent.clear()
    goes_to(world, world.a)


def reads(api, kind, version):
    """Whether what is watched is this version."""
    return api.count(f"/apis/gateway.networking.k8s.io/{version}/{kind}", watch="1")


@pytest.mark.parametrize("version", ["v1beta1", "v1"])
def test_the_best_version_that_is_served_is_read(world, api, version):
    api.versions["httproutes"] = {"v1beta1", version, "v9"}
    api.apply(route_to("r", "a"))
    agent = start(world, api, wait=False)
    goes_to(world, world.a)
    agent.wait_log("configuration in force generation=1 services=2 ")  # known to be there before anything was told
    wait_for(lambda: reads(api, "httproutes", version), what="the version to be watched")
    api.apply(route_to("r", "b"))
    goes_to(world, world.b)
    wait_for(lambda: 200 in {s for _, _, s in api.patches}, what="a condition of the version that is served")
    assert 404 not in {s for _, _, s in api.patches}


def test_a_version_that_goes_costs_nothing(world, api):
    api.apply(route_to("r", "a"), route_to("gone", "a", parents=[m.parent("a")]))
    agent = start(world, api)
    goes_to(world, world.a)
    api.forget("HTTPRoute", "shop", "gone")
    api.serve("httproutes", "v1beta1")
    agent.wait_log("reading another version .*kind=HTTPRoute from=.*/v1 to=.*/v1beta1")
    wait_for(lambda: reads(api, "httproutes", "v1beta1"), what="the other version to be watched")
    wait_for(lambda: [r["name"] for r in world.ctl("routes")["routes"]] == ["r"], what="the list to count")
    assert text_of(world.fetch()) == world.a.name
    api.apply(route_to("r", "b"))
    goes_to(world, world.b)
    # A better one beside it is moved to as well, in a minute or when somebody says so.
    api.versions["httproutes"].add("v1")
    agent.signal(signal.SIGHUP)
    agent.wait_log("reading another version .*kind=HTTPRoute from=.*/v1beta1 to=.*/v1")
    api.apply(route_to("r", "a"))
    goes_to(world, world.a)
    assert "routes=0" not in agent.log().partition("routes=1")[2]


def test_a_version_that_is_not_known_is_a_problem_that_ends(world, api):
    api.versions["httproutes"] = {"v9"}
    api.apply(route_to("r", "a"))
    start(world, api, wait=False)

    def problems():
        return [e["message"] for e in world.ctl("status")["config"]["errors"] if e["object"] == "HTTPRoute"]
    message, = wait_for(problems, what="a problem to be shown")
    assert message.endswith("the server has it as gateway.networking.k8s.io/v9, which is not supported")
    api.serve("httproutes", "v1", "v9")
    goes_to(world, world.a)
    wait_for(lambda: not problems(), what="no problem to be left")


@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_does_not_say_what_it_serves_has_the_kind_or_not(world, api, status):
    api.absent.add("httproutes")
    api.group_faults["gateway.networking.k8s.io"] = status
    api.apply(route_to("r", "a"))
    agent = start(world, api, wait=False)
    agent.wait_log("configuration in force generation=1 services=0")
    api.absent.discard("httproutes")
    goes_to(world, world.a)


def test_the_token_is_read_again(world, api):
    api.apply(route_to("r", "a"))
    start(world, api)
    goes_to(world, world.a)
    api.token = "rotated"
    api.cut()
    wait_for(lambda: any("401" in e["message"] for e in world.ctl("status")["config"]["errors"]), what="401")
    api.write_token("rotated")
    api.apply(route_to("r", "b"))
    goes_to(world, world.b)


def test_the_server_s_certificate_is_verified(world, api, fabric):
    other = world.folder + "/other.pem"
    fabric.node.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-out", other,
                     "-subj", "/CN=other"])
    config = api.kubeconfig(**{"certificate-authority": other})
    agent = world.start(config=None, kubeconfig=config, wait=False)
    agent.wait_log("cannot read from the API server kind=Service.*certificate")
    assert api.requests == []
    agent.stop()
    config = api.kubeconfig(server="https://127.0.0.2:16443")
    agent = world.start(config=None, kubeconfig=config, wait=False)
    agent.wait_log("cannot read from the API server kind=Service.*(connect|refused)")


def test_a_name_for_the_certificate_may_be_given(world, api):
    api.apply(route_to("r", "a"))
    config = api.kubeconfig(**{"tls-server-name": "kubernetes"})
    world.start(config=None, kubeconfig=config, vip_provider="self")
    goes_to(world, world.a)
    world.agent.stop()
    config = api.kubeconfig(**{"tls-server-name": "somebody.else"})
    agent = world.start(config=None, kubeconfig=config, wait=False)
    agent.wait_log("cannot read from the API server kind=Service.*somebody.else")


def test_after_a_restart_what_is_pinned_serves_until_the_cluster_was_read(world, api, fabric):
    api.apply(route_to("r", "a"))
    start(world, api)
    goes_to(world, world.a)
    world.agent.kill()
    api.stop()
    agent = start(world, api, wait=False)
    agent.wait_log("cannot read from the API server")
    # No listener: the failure policy, by the map that the agent before left.
    assert text_of(world.fetch()) in {p.name for p in (world.a, world.b, world.c)}
    api.start()
    world.wait_ready(60)
    goes_to(world, world.a)


def probe(fabric, path):
    return fabric.node.call(lambda: rawhttp.fetch(("127.0.0.1", 15020), target=path))


def test_readiness_waits_for_the_cluster_and_ends_with_the_first_sigterm(world, api, fabric):
    api.apply(route_to("r", "a"))
    api.stop()
    agent = start(world, api, wait=False, drain_timeout=60000)
    agent.wait_log("cannot read from the API server")
    before = probe(fabric, "/readyz")
    assert (before.status, before.body) == (503, b"no configuration in force yet\n")
    assert probe(fabric, "/healthz").status == 200
    api.start()
    wait_for(lambda: probe(fabric, "/readyz").status == 200, what="readiness", timeout=60)
    goes_to(world, world.a)
    slow = world.client.spawn(lambda task: rawhttp.fetch(world.addr("web"), target="/?delay=1500").status)
    wait_for(lambda: world.ctl("status")["connections"]["active"], what="the request to be under way")
    agent.signal(signal.SIGTERM)
    agent.wait_log("stopping")
    ending = probe(fabric, "/readyz")
    assert (ending.status, ending.body) == (503, b"stopping\n")
    assert probe(fabric, "/healthz").status == 200  # the kubelet is not to kill what ends in order
    assert slow.result(30) == 200
    assert agent.wait() == 0
