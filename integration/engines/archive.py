"""Image archives as `docker save` writes them, made from a tar file of a root file system."""

import hashlib
import io
import json
import tarfile


def image_archive(
    path, rootfs_tar, tag, command=("sh",), env=("PATH=/usr/sbin:/usr/bin:/sbin:/bin",)
):
    """Writes an archive with one layer to `path`, and returns it."""
    with open(rootfs_tar, "rb") as file:
        layer = file.read()
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": list(env), "Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }).encode()  # fmt: skip
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": [f"{digest}.tar"]}]
    parts = ((name, config), (f"{digest}.tar", layer),
             ("manifest.json", json.dumps(manifest).encode()))  # fmt: skip
    with tarfile.open(path, "w") as tar:
        for part, data in parts:
            member = tarfile.TarInfo(part)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
