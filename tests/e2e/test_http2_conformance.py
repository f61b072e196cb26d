# SPDX-License-Identifier: Apache-2.0
"""h2spec, an independent client that breaks the rules of HTTP/2 and HPACK one by one, against the agent
(docs/http2-conformance.md). SLUICE_INTEROP=1 asks for it, as it has to be built."""
import os
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

from harness import manifests as m

FOLDER = os.path.join(os.path.dirname(__file__), "clients", "h2spec")

pytestmark = pytest.mark.interop

# What h2spec wants and RFC 9113 does not: see docs/http2-conformance.md.
KNOWN = {
    ("http2/3.5", "Sends invalid connection preface"),
    ("http2/5.1", "closed: Sends a DATA frame after sending RST_STREAM frame"),
    ("http2/5.1", "closed: Sends a HEADERS frame after sending RST_STREAM frame"),
    ("http2/5.1", "closed: Sends a DATA frame"),
    ("http2/5.1", "closed: Sends a HEADERS frame"),
    ("http2/5.1.1", "Sends stream identifier that is numerically smaller than previous"),
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"),
    ("http2/6.3", "Sends a PRIORITY frame with 0x0 stream identifier"),
}


@pytest.fixture(scope="module")
def h2spec(fabric):
    go = shutil.which("go", path="/usr/bin:/usr/local/go/bin:" + os.environ["PATH"])
    target = os.path.join(fabric.folder, "h2spec")
    subprocess.run([go, "build", "-o", target, "github.com/summerwind/h2spec/cmd/h2spec"], check=True, cwd=FOLDER,
                   env=dict(os.environ, GOFLAGS="-mod=mod", CGO_ENABLED="0"))
    return target


@pytest.mark.parametrize("backend", ["one", "two"])
def test_h2spec(world, h2spec, backend):
    world.base()
    world.add_service("two", [world.b], [m.port(80, 9100, app_protocol="kubernetes.io/h2c")],
                      vip=("10.96.0.82", "fd00:96::82"))
    world.add_service("one", [world.a], [m.port(80, 8080, app_protocol="http")], vip=("10.96.0.81", "fd00:96::81"))
    world.route("web", [m.rule(backends=backend)])
    world.start()
    world.wait_answer(lambda r: r.status == 200, "the Service")
    report = os.path.join(world.folder, f"h2spec-{backend}.xml")
    p = world.client.run([h2spec, "-h", world.addr()[0], "-p", "80", "-P", "/?size=1000", "-o", "2", "--strict", "-j", report],
                         timeout=280, check=False)
    cases = xml.etree.ElementTree.parse(report).getroot().iter("testcase")
    failed = {(c.get("package"), c.get("classname")) for c in cases if c.find("failure") is not None or c.find("error") is not None}
    print(p.stdout[-3000:])
    assert failed == KNOWN
