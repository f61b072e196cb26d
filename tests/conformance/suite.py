#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the Gateway API's official conformance suite against Sluice in a real cluster: the profiles MESH-HTTP and
MESH-GRPC, with every feature that any of their tests asks for, with the suite's own timeouts."""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import ported
import sluice

from sluice_lab.cluster import Cluster, remove, run_folder
from sluice_lab.store import CHANNELS, Missing, Store

from harness import netns

PROFILES = "MESH-HTTP,MESH-GRPC"
# Extended features of the profiles, and five of HTTPRoute without which seven mesh tests are left out. The core features
# come with the profiles.
FEATURES = (
    "MeshClusterIPMatching", "MeshConsumerRoute", "MeshHTTPRouteRewritePath", "MeshHTTPRouteSchemeRedirect",
    "MeshHTTPRouteRedirectPort", "MeshHTTPRouteRedirectPath", "MeshHTTPRouteBackendRequestHeaderModification",
    "MeshHTTPRouteQueryParamMatching", "MeshHTTPRouteNamedRouteRule",
    "HTTPRouteResponseHeaderModification", "HTTPRouteParentRefPort", "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode", "HTTPRoute308RedirectStatusCode")
CORE = {"Mesh", "HTTPRoute", "GRPCRoute"}
LIMIT_S = 1800


def version(build):
    text = subprocess.run([os.path.join(build, "agent", "core", "sluiced"), "--version"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return "v" + text.split()[-1]


def flags(report, build):
    return ["-test.v", f"-test.timeout={LIMIT_S}s", f"-conformance-profiles={PROFILES}", "-gateway-class=",
            f"-supported-features={','.join(FEATURES)}", f"-report-output={report}", "-organization=sluice",
            "-project=sluice", "-url=https://sluice.dev/sluice", f"-version={version(build)}", "-contact=@sluice"]


def results(log):
    """{mesh test: PASS, FAIL or SKIP}. The suite skips tests whose features are not declared, and those of Gateways."""
    return {name: verdict for verdict, name in re.findall(r"^    --- (\w+): TestConformance/(Mesh\w+) ", log, re.M)}


def run_suite(cluster, folder, build, extra):
    """One run: its report and its whole output in the folder. {test: verdict}, seconds."""
    os.makedirs(folder)
    begin = time.monotonic()
    with open(os.path.join(folder, "suite.log"), "w+") as log:
        process = netns.Entry(cluster.plane.path).popen(
            [cluster.api.store.program("conformance.test"), *flags(os.path.join(folder, "report.yaml"), build), *extra],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "KUBECONFIG": cluster.api.kubeconfig})
        status = process.wait(LIMIT_S + 60)
        log.seek(0)
        verdicts = results(log.read())
    with open(os.path.join(folder, "results"), "w") as f:
        f.write("".join(f"{verdict} {name}\n" for name, verdict in sorted(verdicts.items())))
    return status, verdicts, time.monotonic() - begin


def judge(status, verdicts):
    """What is wrong with a run, or None."""
    bad = sorted(name for name, verdict in verdicts.items() if verdict != "PASS")
    if bad:
        return "not passed: " + ", ".join(bad)
    if status:
        return f"the suite ended with {status}"
    return None if verdicts else "no mesh test ran"


def mesh_tests(cluster, folder, n, args):
    """Run n, and a line that says how it went. What is wrong, or None."""
    status, verdicts, seconds = run_suite(cluster, folder, args.build, args.flags)
    trouble = judge(status, verdicts)
    print(f"run {n}: {sum(v == 'PASS' for v in verdicts.values())} of {len(verdicts)} mesh tests passed, "
          f"{seconds:.0f} s{': ' + trouble if trouble else ''}", flush=True)
    return trouble


def check_features(store):
    """A new suite may ask for more."""
    unknown = set(store.mesh_features()) - CORE - set(FEATURES)
    if unknown:
        raise SystemExit(f"the suite's mesh tests ask for {', '.join(sorted(unknown))}, which suite.py does not declare")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1, help="so many times in a row, in the same cluster")
    parser.add_argument("--ported", action="store_true", help="instead, the tests of Gateways with Services as parents")
    parser.add_argument("--page", default=os.path.join(sluice.ROOT, "docs", "conformance", "ported.md"),
                        help="of --ported's results (%(default)s)")
    parser.add_argument("--channel", choices=CHANNELS, help="of the CRDs (standard; with --ported, experimental)")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--name", default="sluice-conformance", help="of the cluster (%(default)s)")
    parser.add_argument("--build", default=os.environ.get("SLUICE_BUILD", os.path.join(sluice.ROOT, "build-release")))
    parser.add_argument("--out", help="folder of reports and logs (build-conformance/CHANNEL)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("flags", nargs="*", help="further flags for the suite, after --")
    args = parser.parse_args()
    args.channel = args.channel or ("experimental" if args.ported else "standard")
    out = os.path.abspath(args.out or os.path.join(sluice.ROOT, "build-conformance", args.channel))
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    try:
        check_features(Store.open())
    except Missing as e:
        raise SystemExit(f"tests/conformance/run: {e}")
    binary = ported.program() if args.ported else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of what is to be undone
    remove(args.name)
    cluster, failed = Cluster(args.name, args.nodes), 0
    try:
        cluster.up(args.channel)
        sluice.install(cluster, sluice.make_image(args.build, out))
        for n in range(1, args.runs + 1):
            folder = os.path.join(out, f"run-{n}")
            if args.ported:
                trouble = ported.stage(cluster, folder, binary, args.page, version(args.build), args.flags)
                print(f"run {n}: {trouble or 'all passed'}; {args.page} has the table", flush=True)
            else:
                trouble = mesh_tests(cluster, folder, n, args)
            failed += bool(trouble)
    finally:
        if cluster.client:
            sluice.save_logs(cluster, out)
        if args.keep:
            print(f"left up: tests/lab/cluster --name {args.name}; its folder is {run_folder(args.name)}")
        else:
            remove(args.name)
    print(f"{args.runs - failed} of {args.runs} runs whole; reports and logs are in {out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
