"""The images: made on this machine, from Debian's packages; none comes from a registry.

The Debian root file system takes minutes to make, so it is kept in a cache outside the repository,
under a name that depends on its recipe.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile

from harness import Failure, run, write

SUITE = "bookworm"
PACKAGES = (
    "busybox-static dbus iproute2 jq libcap2-bin nginx-light postgresql procps redis-server"
    " stress-ng systemd systemd-sysv tcpdump util-linux"
).split()

STATIC = r"""
#include <unistd.h>
int main(int argc, char **argv) {
    (void)argv;
    if (write(1, "hello from a static program\n", 28) != 28) return 1;
    while (argc > 1) pause();
    return 0;
}
"""


def cache_dir():
    return os.environ.get("BULKHEAD_CACHE", "/var/cache/bulkhead-integration")


def sources():
    """The machine's own apt sources of Debian: the words for mmdebstrap, and its stdin."""
    for path in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        if os.path.exists(path) and os.path.getsize(path):
            return ["-"], open(path, "rb")
    return [], None


def debian():
    """The tar file of the Debian root file system, from the cache or made now."""
    key = hashlib.sha256(" ".join([SUITE, *PACKAGES]).encode()).hexdigest()[:12]
    path = os.path.join(cache_dir(), f"debian-{key}.tar")
    if os.path.exists(path):
        return path
    os.makedirs(cache_dir(), exist_ok=True)
    print(f"making {path} from Debian's packages: this takes minutes, once", flush=True)
    words, stdin = sources()
    part = f"{path}.{os.getpid()}.tar"
    try:
        done = run(
            "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            SUITE, part, *words, stdin=stdin, timeout=900, status=None,
        )  # fmt: skip
        if done.status != 0:
            told = [line for line in done.err.splitlines() if line.startswith("E:")]
            why = "; ".join(told)[:300]
            raise Failure(f"mmdebstrap cannot make the image; are the apt sources reachable? {why}")
        os.rename(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)
    return path


def busybox(directory):
    """A root file system of one static program under all of its names, and as a tar file."""
    root = os.path.join(directory, "busybox")
    for name in ("bin", "dev", "proc", "sys", "etc", "tmp", "root", "srv"):
        os.makedirs(os.path.join(root, name))
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    program = os.path.join(root, "bin/busybox")
    shutil.copy(shutil.which("busybox"), program)
    names = subprocess.run([program, "--list"], stdout=subprocess.PIPE, check=True, text=True)
    for name in names.stdout.split():
        if name != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", name))
    write(f"{root}/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:99:99::/:/bin/sh\n"
          "alice:x:500:500::/:/bin/sh\n")  # fmt: skip
    write(f"{root}/etc/group", "root:x:0:\nnobody:x:99:\nalice:x:500:\nstaff:x:50:alice\n")
    return root, pack(root)


def static_program():
    """The path of the program of an image from scratch, from the cache or made now."""
    key = hashlib.sha256(STATIC.encode()).hexdigest()[:12]
    path = os.path.join(cache_dir(), f"hello-{key}")
    if not os.path.exists(path):
        os.makedirs(cache_dir(), exist_ok=True)
        part = f"{path}.{os.getpid()}"
        source = write(f"{part}.c", STATIC)
        subprocess.run(["gcc", "-O2", "-static", "-o", part, source], check=True)
        os.unlink(source)
        os.rename(part, path)
    return path


def scratch(directory):
    """A root file system that holds one static program and nothing else; as a tar file."""
    root = os.path.join(directory, "scratch")
    os.makedirs(root)
    shutil.copy(static_program(), f"{root}/hello")
    return root, pack(root)


def pack(root):
    with tarfile.open(f"{root}.tar", "w") as tar:
        tar.add(root, arcname=".")
    return f"{root}.tar"


class Images:
    """Every image of a run: root file systems and tar files."""

    def __init__(self, directory, debian_tar):
        self.debian_tar = debian_tar
        self.busybox_root, self.busybox_tar = busybox(directory)
        self.scratch_root, self.scratch_tar = scratch(directory)


if __name__ == "__main__":
    for made in (debian(), static_program()):
        print(made)
