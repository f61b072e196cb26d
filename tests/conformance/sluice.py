# SPDX-License-Identifier: Apache-2.0
"""Sluice in a lab's cluster, as a user would have it: an image by tools/image, the manifests by kubectl."""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))

import sluice_lab  # noqa: E402,F401  (says where the harness is)

from harness import netns  # noqa: E402
from harness.agent import binary  # noqa: E402

NAMESPACE = "sluice-system"
DAEMONSET = "daemonset/sluice"


def make_image(build, folder, name="localhost/sluice:latest"):
    """An archive with an image of this build; its path."""
    path = os.path.join(folder, "sluice.tar")
    subprocess.run([os.path.join(ROOT, "tools", "image"), "--build", build, "--name", name, path], check=True,
                   stdout=subprocess.DEVNULL)
    return path


def install(cluster, image, manifests="base"):
    """Returns when an agent is ready on each node."""
    cluster.import_image(image)
    cluster.kubectl("apply", "-k", os.path.join(ROOT, "manifests", "kubernetes", manifests))
    cluster.rollout(NAMESPACE, DAEMONSET)


def pods(cluster):
    return cluster.client.list("Pod", NAMESPACE, labelSelector="app.kubernetes.io/name=sluice")


def ctl(cluster, *argv):
    """What sluicectl answers, in JSON, to somebody with a kubectl for the cluster."""
    env = {**os.environ, "PATH": f"{os.path.join(cluster.api.store.folder, 'bin')}:{os.environ['PATH']}"}
    r = netns.Entry(cluster.plane.path).run([binary("sluicectl"), "--kubeconfig", cluster.api.kubeconfig, *argv], env=env)
    return json.loads(r.stdout)


def save_logs(cluster, folder):
    """Of the agents, those before a restart too, and of the cluster itself."""
    for pod in pods(cluster):
        name = pod["metadata"]["name"]
        for kind, options in (("", ()), (".before", ("--previous",))):
            text = cluster.kubectl("-n", NAMESPACE, "logs", name, *options, check=False)
            if text:
                with open(os.path.join(folder, f"agent-{pod['spec']['nodeName']}-{name}{kind}.log"), "w") as f:
                    f.write(text)
    with open(os.path.join(folder, "cluster.txt"), "w") as f:
        f.write(cluster.kubectl("get", "nodes,pods,services", "-A", "-o", "wide", check=False))
        f.write(cluster.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp", check=False))
