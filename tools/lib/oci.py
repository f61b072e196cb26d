# SPDX-License-Identifier: Apache-2.0
"""Container images without a container engine: layers, and the OCI image layout in a tar file. What goes in decides
every byte that comes out: no times, no names of users."""
import hashlib
import io
import json
import os
import platform
import tarfile


def architecture():
    """This machine's, by the name that Go and container images have for it."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def tar_entry(name, mode, size=0, kind=tarfile.REGTYPE):
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size, entry.type, entry.mtime = mode, size, kind, 0
    return entry


class Layer:
    def __init__(self):
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w", format=tarfile.GNU_FORMAT)
        self._folders = set()

    def folder(self, path, mode=0o755):
        if path and path not in self._folders:
            self.folder(os.path.dirname(path))
            self._folders.add(path)
            self._tar.addfile(tar_entry(path + "/", mode, kind=tarfile.DIRTYPE))

    def file(self, path, data, mode=0o644):
        self.folder(os.path.dirname(path))
        self._tar.addfile(tar_entry(path, mode, len(data)), io.BytesIO(data))

    def data(self):
        self._tar.close()
        return self._bytes.getvalue()


class Archive:
    """The OCI image layout, of any number of images."""

    def __init__(self):
        self._blobs = {}
        self._manifests = []

    def _put(self, data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        self._blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    def _put_json(self, value, media_type):
        return self._put(json.dumps(value, sort_keys=True).encode(), media_type)

    def add(self, names, layers, **config):
        """names: under which it is imported. layers: bytes. config: as in an image's configuration (Entrypoint...)."""
        layers = [self._put(data, "layer.v1.tar") for data in layers]
        manifest = self._put_json({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": layers,
            "config": self._put_json({
                "architecture": architecture(), "os": "linux",
                "config": {"WorkingDir": "/", **config},
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}}, "config.v1+json"),
        }, "manifest.v1+json")
        for name in names:
            self._manifests.append({**manifest, "annotations": {
                "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}})

    def write(self, path):
        index = {"schemaVersion": 2, "manifests": self._manifests}
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            def add(member, data):
                tar.addfile(tar_entry(member, 0o644, len(data)), io.BytesIO(data))
            add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            add("index.json", json.dumps(index, sort_keys=True).encode())
            for digest, data in sorted(self._blobs.items()):
                add(f"blobs/sha256/{digest}", data)
