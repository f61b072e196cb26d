# SPDX-License-Identifier: Apache-2.0
"""TCPRoute and TLSRoute, the cases that need a configuration or an agent of their own."""
from harness import manifests as m, rawhttp
from harness.wait import scaled, wait_for
from test_tcproute import greeted_by
from test_tlsroute import UNRECOGNIZED_NAME, answer_to, client_hello, served_by


def test_consumer_routes_take_the_clients_of_their_namespace(world):
    world.base()
    for pod in "ab":
        world.add_service(f"banner-{pod}", [world.pods[pod]], [m.port(90, 9001, "raw")])
    world.add_service("svc", [world.c], [m.port(90, 9001, "raw")])
    world.l4_route("TCPRoute", "theirs", [m.backend("banner-a", 90, ns="shop")], [m.parent("svc", ns="shop")], ns="other")
    world.start()
    assert greeted_by(world, "svc", pod=world.alien) == ["a"]
    assert greeted_by(world, "svc") == ["c"], "no rule governs this client: as without a mesh"
    world.l4_route("TCPRoute", "ours", [m.backend("banner-b", 90)], ["svc"])
    wait_for(lambda: greeted_by(world, "svc") == ["b"], what="the producer's route")
    assert greeted_by(world, "svc", pod=world.alien) == ["a"]

def test_a_hello_that_does_not_end_is_given_up(world):
    world.base()
    world.add_service("edge", [world.c], [m.port(443, 8443, "tls")])
    world.l4_route("TLSRoute", "r", [m.backend("edge", 443)], ["edge"], hostnames=["a.test"])
    world.start("--limit", "header-timeout=300")

    def run():
        with rawhttp.Conn(world.addr("edge", 443), timeout=scaled(10)) as c:
            c.send(client_hello("a.test")[:50])
            try:
                return c.sock.recv(10)
            except ConnectionResetError:
                return b""
    assert world.client.call(run) == b""
    wait_for(lambda: world.metrics().sum("sluice_end_reason_total", reason="client_timeout") == 1, what="the count")

def test_an_httproute_on_the_port_takes_precedence(world):
    world.base()
    world.add_service("edge", [world.c], [m.port(443, 8443, "tls")])
    world.l4_route("TLSRoute", "r", [m.backend("edge", 443)], ["edge"], hostnames=["a.test"])
    world.start()
    assert served_by(world, "a.test") == ["c"]
    assert answer_to(world, [client_hello("b.test")]) == UNRECOGNIZED_NAME
    world.route("http", [m.rule(backends="a")], ["edge"])

    def reason():
        r = next(r for r in world.ctl("routes")["routes"] if r["kind"] == "TLSRoute")
        return next(c["reason"] for c in r["parents"][0]["conditions"] if c["type"] == "Accepted")
    wait_for(lambda: reason() == "Conflicted", what="the TLSRoute to give way")
    assert served_by(world, "b.test") == ["c"], "TLS passes where an HTTPRoute governs"


def test_open_connections_outlive_their_route(world):
    """A connection stays where it is; the next one follows the configuration."""
    world.base()
    world.add_service("banner-a", [world.a], [m.port(90, 9000, "raw")])
    world.add_service("svc", [world.c], [m.port(90, 9001, "raw")])
    world.l4_route("TCPRoute", "r", [m.backend("banner-a", 90)], ["svc"])
    world.route("keeps", [m.rule(backends="a")], ["web"])
    world.start()

    def run(task):
        with rawhttp.Conn(world.addr("svc", 90)) as c:
            for text in (b"before", b"after"):
                c.send(text)
                assert c.read_exact(len(text)) == text
                task.report()
                if text == b"before":
                    task.wait_stop()
    task = world.spawn(world.client, run)
    task.next_report()
    world.l4_route("TCPRoute", "r", [m.backend("svc", 90)], ["svc"])
    wait_for(lambda: greeted_by(world, "svc") == ["c"], what="the other backend")
    task.stop_and_result()
