# SPDX-License-Identifier: Apache-2.0
"""Where the lab's programs, images and CRDs are: what `tests/lab/build` made, or an archive of the same."""
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
CHANNELS = ("standard", "experimental")
# What has to be in a folder, and in an archive, relative to its top.
CONTENT = (*(f"bin/{name}" for name in ("kube", *PROGRAMS, "etcd", "conformance.test")), "images/images.tar",
           *(f"crd-{channel}" for channel in CHANNELS), "mesh-features")


class Missing(Exception):
    """There is nothing to start a cluster from; the message says what to do."""


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = os.environ.get("SLUICE_LAB_CACHE") or os.path.join(base, "sluice-lab")
    os.makedirs(path, exist_ok=True)
    return os.path.abspath(path)


@contextlib.contextmanager
def _locked(path):
    with open(path, "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _digest(path):
    sha = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()[:16]


def _unpacked(archive):
    """The folder with the archive's content, which is unpacked once."""
    folder = os.path.join(cache(), f"archive-{_digest(archive)}")
    with _locked(os.path.join(cache(), ".unpack")):
        if not os.path.isdir(folder):
            scratch = tempfile.mkdtemp(prefix=".unpack-", dir=cache())
            try:
                subprocess.run(["tar", "-C", scratch, "--zstd", "-xf", archive], check=True)
                os.chmod(scratch, 0o755)
                os.rename(scratch, folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder


class Store:
    def __init__(self, folder):
        self.folder = folder
        missing = [name for name in CONTENT if not os.path.exists(os.path.join(folder, name))]
        if missing:
            raise Missing(f"{folder} lacks {', '.join(missing)}")

    @classmethod
    def open(cls):
        """Of the archive that SLUICE_LAB_ARCHIVE names, or else of what was built here."""
        archive = os.environ.get("SLUICE_LAB_ARCHIVE")
        if archive:
            if not os.path.isfile(archive):
                raise Missing(f"SLUICE_LAB_ARCHIVE names {archive}, which is not there")
            return cls(_unpacked(archive))
        try:
            return cls(os.path.join(cache(), "built"))
        except Missing:
            raise Missing("SLUICE_LAB_ARCHIVE names no archive, and tests/lab/build has not built what a cluster "
                          "is made of") from None

    def program(self, name):
        return os.path.join(self.folder, "bin", name)

    @property
    def images(self):
        return os.path.join(self.folder, "images", "images.tar")

    def image(self, word):
        """The name of an image in the archive, by what is behind the last slash: those of the suite have names of
        registries."""
        with tarfile.open(self.images) as tar:
            index = json.load(tar.extractfile("index.json"))
        names = [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]]
        return next(name for name in names if name.rpartition("/")[2].startswith(word + ":"))

    def crds(self, channel):
        """Files, each of one or more documents."""
        return sorted(glob.glob(os.path.join(self.folder, f"crd-{channel}", "*.yaml")))

    def mesh_features(self):
        """Names of all features that some mesh test of the suite asks for."""
        with open(os.path.join(self.folder, "mesh-features")) as f:
            return f.read().strip().split(",")
