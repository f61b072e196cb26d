# SPDX-License-Identifier: Apache-2.0
"""Runs the suite's tests of Gateways with Services as parents (suite/ported), as a Pod of the cluster and so as a client
of the mesh, and makes a page of what came out (docs/conformance/ported.md)."""
import json
import os
import re
import subprocess
import sys

import sluice

from sluice_lab import store

sys.path.insert(0, os.path.join(sluice.ROOT, "tools", "lib"))

import oci  # noqa: E402

PROGRAM, IMAGE, POD = "ported.test", "localhost/sluice-lab/ported:latest", "ported"
LIMIT_S = 1500
KINDS = ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
# Clients, where each is and what it runs: that of nearly all tests, that of those whose routes are a consumer's, and the
# first one with HTTP/2.
CLIENTS = (("gateway-conformance-mesh", "TestPorted"), ("gateway-conformance-web-backend", "TestPorted"),
           ("gateway-conformance-mesh", "TestPortedHTTP2"))
NAMESPACES = tuple(dict.fromkeys(namespace for namespace, _ in CLIENTS))


def program():
    """The test binary, built when its source is another than the last time."""
    subprocess.run([os.path.join(sluice.ROOT, "tests", "lab", "build"), "ported"], check=True)
    return os.path.join(store.cache(), "built", "bin", PROGRAM)


def make_image(binary, folder):
    layer = oci.Layer()
    layer.folder("tmp", 0o1777)
    with open(binary, "rb") as f:
        layer.file("ported", f.read(), 0o755)
    archive = oci.Archive()
    archive.add([IMAGE], [layer.data()], Entrypoint=["/ported"])
    path = os.path.join(folder, "ported.tar")
    archive.write(path)
    return path


def pod(namespace, test, flags):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": namespace}, "spec": {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
        "containers": [{"name": POD, "image": IMAGE, "imagePullPolicy": "Never", "args": [
            "-test.v", f"-test.timeout={LIMIT_S}s", "-gateway-class=services", "-cleanup-base-resources=false",
            f"-test.run=^{test}$", f"-client-namespace={namespace}", *flags]}]}}


def permissions():
    """The suite creates namespaces, Secrets and workloads, and reads logs."""
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": POD},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": n} for n in NAMESPACES]}


def run(cluster, folder, binary, flags=()):
    """All tests: their whole output, which is in the folder too."""
    os.makedirs(folder, exist_ok=True)
    cluster.import_image(make_image(binary, folder))
    cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        permissions(), *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in NAMESPACES)]}))
    text = ""
    for namespace, test in CLIENTS:
        cluster.kubectl("-n", namespace, "wait", "--for=create", "serviceaccount/default", "--timeout=30s")
        cluster.kubectl("apply", "-f", "-", input=json.dumps(pod(namespace, test, flags)))
        cluster.kubectl("-n", namespace, "wait", "--for=jsonpath={.status.containerStatuses[0].started}",
                        f"pod/{POD}", "--timeout=60s", check=False)
        text += cluster.kubectl("-n", namespace, "logs", "-f", POD, timeout=LIMIT_S + 60)
        with open(os.path.join(folder, "ported.log"), "w") as f:
            f.write(text)
        cluster.kubectl("-n", namespace, "delete", "pod", POD)  # the suite waits for all Pods of its namespaces
    return text


class Test:
    def __init__(self, about):
        self.name, self.about, self.features = about["name"], about["about"], about["features"] or []
        self.file = os.path.basename(about["manifests"][0]).removesuffix(".yaml")
        self.own = about["manifests"][0].startswith("own/")
        self.cases = {"": {}, "HTTP2": {}}  # of a run: {name: verdict}, of cases that have none of their own

    def passed(self, run=""):
        return sum(v == "PASS" for v in self.cases[run].values())

    def failed(self, run=""):
        return [name for name, verdict in self.cases[run].items() if verdict != "PASS"]

    @property
    def feature(self):
        """What a test needs beside its kind of route; or the kind, whose core it is then."""
        kinds = [f for f in self.features if f in KINDS]
        more = [f for f in self.features if f not in KINDS and not f.startswith("Gateway") and f != "ReferenceGrant"]
        return ", ".join(more) or f"{kinds[0]} (core)"


def said(text, what):
    """What the program said for the table. It says it once in each client."""
    lines = dict.fromkeys(re.findall(rf"^ported {what}: (.*)$", text, re.M))
    return [json.loads(line) for line in lines]


def parse(text):
    """Tests in the order in which they ran. A test without cases is one."""
    tests = {about["name"]: Test(about) for about in said(text, "test")}
    lines = [(len(indent), verdict, run, name) for indent, verdict, run, name in re.findall(
        r"^( *)--- (PASS|FAIL|SKIP): TestPorted(HTTP2)?/(.*) \(\d", text, re.M)]
    for (depth, verdict, run, name), following in zip(lines, lines[1:] + [(0,)]):
        test, _, case = name.partition("/")
        cases = tests[test].cases[run]
        if following[0] <= depth:
            cases[case or test] = verdict
        elif verdict == "FAIL" and not case:
            cases.setdefault(test, verdict)  # it may have failed outside of its cases
    for test in tests.values():
        for run, cases in test.cases.items():
            if len(test.failed(run)) > 1:
                cases.pop(test.name, None)
        if not test.cases[""]:
            test.cases[""][test.name] = "FAIL"  # it never came to its end
    return list(tests.values())


INTRO = """# Tests of Gateways, with Services as parents

For most features the Gateway API's conformance suite has tests with Gateways alone. Here they are run in a mesh: the functions of the official
tests (release 1.7.0), unchanged, with their own tables, clients and comparisons. A Service of the same name stands for each of their Gateways, routes have
it as their parent, and the suite runs as a Pod of the cluster, so that its requests are those of a client in the mesh. Where a route lives in
another namespace than the Service, which makes it a consumer's, the Pod is in that namespace.

    tests/conformance/run --ported

wrote this page: Sluice {version}, two nodes, the API's experimental channel. {passed} of {cases} cases of {tests} tests passed; and with clients that speak
HTTP/2 where the suite's speak HTTP/1.1, {passed2} of {cases2}.
"""


def failures(tests):
    return [f"{t.name}{' with ' * bool(run)}{run}: {case}" for t in tests for run in t.cases for case in t.failed(run)]


def rows(tests):
    for test in tests:
        again = test.passed("HTTP2") if test.cases["HTTP2"] else "-"
        yield f"| {test.feature} | {test.name} ({test.file}) | {len(test.cases[''])} | {test.passed()} | {again} |"


def document(text, version):
    tests = parse(text)
    official = sorted((t for t in tests if not t.own), key=lambda t: ("(core)" not in t.feature, t.feature, t.name))
    sums = {name + suffix: sum(count(t, run) for t in tests) for suffix, run in (("", ""), ("2", "HTTP2"))
            for name, count in (("cases", lambda t, run: len(t.cases[run])), ("passed", Test.passed))}
    lines = [INTRO.format(version=version, tests=len(tests), **sums),
             "| feature | test | cases | passed | with HTTP/2 |", "| --- | --- | --- | --- | --- |", *rows(official),
             "", "## Without an official test", "", "Cases of our own, run in the same way; where it matters, with both protocols:", "",
             "| what | test | cases | passed |", "| --- | --- | --- | --- |"]
    lines += [f"| {t.about} | {t.name} | {len(t.cases[''])} | {t.passed()} |" for t in tests if t.own]
    failed = [f"- {what}" for what in failures(tests)]
    if failed:
        lines += ["", "## What failed", "", *failed]
    lines += ["", "## What is not run", "", "| why | tests |", "| --- | --- |"]
    lines += [f"| {o['reason']} | {', '.join(o['names'])} |" for o in said(text, "tests-left-out") if o["names"]]
    lines += ["", "| why | cases |", "| --- | --- |"]
    lines += [f"| {o['reason']} | {o['name']}: those with `{o['case']}` in their names |" for o in said(text, "cases-left-out")]
    return "\n".join(lines) + "\n"


def stage(cluster, folder, binary, page, version, flags):
    """Runs them and writes the page. What is wrong, or None."""
    text = run(cluster, folder, binary, flags)
    with open(page, "w") as f:
        f.write(document(text, version))
    return "; ".join(failures(parse(text))) or (None if said(text, "test") else "no test ran")
