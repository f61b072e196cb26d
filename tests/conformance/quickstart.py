# SPDX-License-Identifier: Apache-2.0
"""docs/quickstart.md, command by command, in a lab's cluster. What the document asks of the world outside is stood in
for: the release's URL by the same CRDs, the two images by ones of the same names and commands, the compiler by a build
that is there, and "on each node" by a ctr that goes to each."""
import importlib.machinery
import importlib.util
import os
import re
import shlex
import shutil
import subprocess

import oci
import sluice
from harness import netns
from harness.wait import wait_for

DOCUMENT = os.path.join(sluice.ROOT, "docs", "quickstart.md")
CRDS = re.compile(r"https://github\.com/kubernetes-sigs/gateway-api/releases/download/(v[0-9.]+)/standard-install\.yaml")
# Of which commands the output means something, and what has to be in it. A comment of one word is an output as well.
OUTPUTS = {
    r"sluicectl check --pre": r"(?m)^httproutes +ok ",
    r"sluicectl install": r"(?s)daemonset\.apps/sluice created.*\nn1 [^\n]* ready\nn2 [^\n]* ready\n",
    r"kubectl -n shop describe httproute web": r"(?s)Status: +True\s+Type: +Accepted.*Status: +True\s+Type: +ResolvedRefs",
    r"sluicectl explain .*web\.shop/$": r"shop/v1:80",
    r"sluicectl explain .*x-canary: yes": r"shop/v2:80",
    r"sluicectl conns": r"CLIENT|no connections",
}


class Command:
    """text: as it stands there, with its here-document. word: what it prints, where the document says so."""

    def __init__(self, lines):
        self.text = "\n".join(lines)
        comment = re.search(r"\s#\s+(\S+)$", lines[0])
        self.word = comment and comment.group(1)

    def expected(self):
        """A regular expression for what it prints, or None."""
        if self.word:
            return rf"\A{re.escape(self.word)}\n\Z"
        patterns = [output for command, output in OUTPUTS.items() if re.match(command, self.text)]
        return patterns[0] if patterns else None


def commands(markdown):
    """Those of its indented blocks, in order."""
    found, rest = [], iter(re.findall(r"^    (.*)$", markdown, re.M))
    for line in rest:
        here = re.search(r"<<(\w+)$", line)
        lines = [line]
        while here and lines[-1] != here.group(1):
            lines.append(next(rest))
        found.append(Command(lines))
    return found


def _libraries(program):
    """As tools/image finds them."""
    loader = importlib.machinery.SourceFileLoader("image", os.path.join(sluice.ROOT, "tools", "image"))
    image = importlib.util.module_from_spec(importlib.util.spec_from_loader("image", loader))
    loader.exec_module(image)
    return image.libraries(program)


HTTP_ECHO = b"""#!/bin/sh
for arg; do
	case $arg in
	-listen=*) port=${arg#-listen=:} ;;
	-text=*) text=${arg#-text=} ;;
	esac
done
mkdir -p /www && echo "$text" >/www/index.html && exec /bin/busybox httpd -f -p "$port" -h /www
"""


def _read(path):
    with open(path, "rb") as f:
        return f.read()


def _images(path, names):
    """An archive of both images that the document names."""
    archive = oci.Archive()
    echo, curl = oci.Layer(), oci.Layer()
    for name in ("bin/busybox", "bin/sh"):
        echo.file(name, _read("/bin/busybox"), 0o755)
    echo.file("http-echo", HTTP_ECHO, 0o755)
    for program in ("/usr/bin/curl", "/bin/sleep"):
        curl.file(program.lstrip("/"), _read(program), 0o755)
    for library in sorted(_libraries("/usr/bin/curl") | _libraries("/bin/sleep")):
        curl.file(library.lstrip("/"), _read(library), 0o755)
    for name, layer in zip(names, (echo, curl)):
        archive.add([f"docker.io/{name}"], [layer.data()], User="0", Env=["PATH=/usr/bin:/bin"])
    archive.write(path)


class Reader:
    """Somebody who follows the document: a checkout with a build in it, a kubectl that knows the cluster."""

    def __init__(self, cluster, build, folder):
        self.cluster, self.folder = cluster, folder
        with open(DOCUMENT) as f:
            self.markdown = f.read()
        for name, target in (("build", build), *((n, os.path.join(sluice.ROOT, n)) for n in ("tools", "manifests"))):
            os.symlink(target, os.path.join(folder, name))
        self.environment = os.path.join(folder, "environment")
        self._stand_in("meson", "exit 0")
        self._stand_in("ninja", "exit 0")
        ctr = shutil.which("ctr")  # not the stand-in, which comes first in the node's path too
        self._stand_in("ctr", *(f'{shlex.join(node.command(ctr, "-a", "/run/containerd/containerd.sock"))} '
                                '"${@:1:$#-1}" "$PWD/${@: -1}" || exit' for node in cluster.nodes))
        self._stand_in("kubectl", f'exec {cluster.api.store.program("kubectl")} "$@"')
        with open(self.environment, "w") as f:
            f.write(f"export PATH={folder}/stand-ins:$PATH KUBECONFIG={cluster.api.kubeconfig}\n")

    def _stand_in(self, name, *lines):
        path = os.path.join(self.folder, "stand-ins", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write("\n".join(("#!/bin/bash", *lines, "")))
        os.chmod(path, 0o755)

    def prepare_images(self):
        """http-echo and curl, by the names that the document has for them: with a tag, or each node would ask a registry."""
        names = [re.search(rf"--image=({repository}:[\w.]+)", self.markdown).group(1)
                 for repository in ("hashicorp/http-echo", "curlimages/curl")]
        path = os.path.join(self.folder, "images.tar")
        _images(path, names)
        self.cluster.import_image(path)

    def run(self, command):
        """What it printed. The next command has the environment that this one leaves, as in one shell."""
        text = CRDS.sub(os.path.dirname(self.cluster.api.store.crds("standard")[0]), command.text)
        script = f". {self.environment}\n{text}\nstatus=$?\nexport -p >{self.environment}\nexit $status\n"
        r = netns.Entry(self.cluster.plane.path).run(["bash", "-c", script], cwd=self.folder, timeout=120, check=False,
                                                     stdin=subprocess.DEVNULL)
        assert r.returncode == 0, f"{command.text}: {r.returncode}\n{r.stdout}\n{r.stderr}"
        return r.stdout

    def follow(self):
        """The whole document. A command that prints what the document says is run until it does: a route takes a moment."""
        found = commands(self.markdown)
        unseen = [c for c in OUTPUTS if not any(re.match(c, f.text) for f in found)]
        assert not unseen and sum(bool(f.word) for f in found) == 2, f"{DOCUMENT} has other commands than this file knows"
        for command in found:
            expected = command.expected()
            if command.word:
                wait_for(lambda: re.search(expected, self.run(command)), 30, 0.2, what=f"{command.word} of {command.text}")
            else:
                output = self.run(command)
                assert not expected or re.search(expected, output), f"{command.text}:\n{output}"
