"""The place of the measurements: a tmpfs with the programs, their state, and the bundles."""

import ctypes
import json
import os
import shutil
import struct
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000


def mount(source, target, kind=None, flags=0):
    if LIBC.mount(source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), "mount", target)


def umount(target):
    if LIBC.umount2(target.encode(), 2):
        raise OSError(ctypes.get_errno(), "umount", target)


class Workspace:
    """The tmpfs. It is part of a mount namespace of this process, and ends with it."""

    def __init__(self):
        if LIBC.unshare(CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "unshare")
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        self.top = TOP
        self.tmp = tempfile.mkdtemp(prefix="bulkhead-bench-")
        self.tag = f"bulkhead-bench-{os.getpid()}"
        self.subject = None
        self.filter = self.descriptor = None
        mount("tmpfs", self.tmp, "tmpfs")
        os.chmod(self.tmp, 0o755)
        self.rootfs = os.path.join(self.tmp, "rootfs")
        for name in ("bin", "dev", "proc", "sys"):
            os.makedirs(os.path.join(self.rootfs, name))
        busybox = shutil.which("busybox")
        shutil.copy(busybox, os.path.join(self.rootfs, "bin/busybox"))
        for name in ("true", "sleep", "sh", "cat", "ls", "env", "ifconfig"):
            os.symlink("busybox", os.path.join(self.rootfs, "bin", name))

    def close(self):
        umount(self.tmp)
        os.rmdir(self.tmp)

    def inherited(self):
        """How a process is started that may read the filter from its descriptor."""
        if self.descriptor is None:
            return {}
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        return {"pass_fds": (self.descriptor,)}

    def tool(self, name):
        """Compiles NAME.c of this directory; returns the path of the program."""
        path = os.path.join(self.tmp, name)
        if not os.path.exists(path):
            subprocess.run(["cc", "-O2", "-Wall", "-static", "-o", path, os.path.join(HERE, f"{name}.c")], check=True)
        return path

    def bundle(self, name):
        return os.path.join(self.tmp, "bundle", name)

    def make_bundles(self):
        """Writes the bundles: what the subject's `spec` says, with `true` or `sleep` as the process."""
        base = os.path.join(self.tmp, "spec")
        os.makedirs(base)
        subprocess.run([self.subject.path, "spec"], cwd=base, check=True, timeout=20)
        with open(os.path.join(base, "config.json"), encoding="utf-8") as file:
            text = file.read()
        with open(os.path.join(TOP, "seccomp-profiles/default.json"), encoding="utf-8") as file:
            profile = json.load(file)

        def config(command):
            made = json.loads(text)
            made["ociVersion"] = "1.0.2"
            made["process"]["terminal"] = False
            made["process"]["args"] = command
            made["root"]["path"] = self.rootfs
            return made

        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        plain, sleep, seccomp, filtered, userns = (config(["true"]), config(["sleep", "100000"]), config(["true"]),
                                                   config(["sleep", "100000"]), config(["true"]))
        seccomp["linux"]["seccomp"] = filtered["linux"]["seccomp"] = profile
        userns["linux"]["namespaces"].append({"type": "user"})
        userns["linux"].update(uidMappings=mapping, gidMappings=mapping)
        self.write("plain", plain)
        self.write("sleep", sleep)
        self.write("seccomp", seccomp)
        self.write("filtered", filtered)
        self.write("userns", userns)
        self.plain = plain

    def write(self, name, config):
        os.makedirs(self.bundle(name), exist_ok=True)
        with open(os.path.join(self.bundle(name), "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file, indent=1)

    def save_filter(self):
        """Saves the seccomp filter that the subject gives to a container, for the programs that take one."""
        name, program = f"{self.tag}-filter", self.subject
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "timeout": 60, "check": True}
        subprocess.run(program.create("filtered", name), **quiet)
        try:
            subprocess.run(program.start(name), **quiet)
            pid = program.pid(name)
            deadline = time.monotonic() + 10
            while os.readlink(f"/proc/{pid}/exe").rsplit("/", 1)[1] != "busybox" and time.monotonic() < deadline:
                time.sleep(0.01)
            code = read_filter(pid)
        finally:
            subprocess.run(program.delete(name), **quiet)
        if code:
            self.filter = os.path.join(self.tmp, "filter")
            with open(self.filter, "wb") as file:
                file.write(code)
            self.descriptor = os.open(self.filter, os.O_RDONLY)
            return len(code) // 8
        return 0


def read_filter(pid):
    """The only seccomp filter of a process, or None."""
    attach, detach, get_filter = 16, 17, 0x420C
    LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_ulong, ctypes.c_void_p]
    LIBC.ptrace.restype = ctypes.c_long
    if LIBC.ptrace(attach, pid, 0, None):
        return None
    os.waitpid(pid, 0x40000000)  # __WALL
    try:
        length = LIBC.ptrace(get_filter, pid, 0, None)
        if length <= 0 or LIBC.ptrace(get_filter, pid, 1, None) > 0:
            return None
        code = ctypes.create_string_buffer(length * struct.calcsize("HBBI"))
        LIBC.ptrace(get_filter, pid, 0, code)
        return code.raw
    finally:
        LIBC.ptrace(detach, pid, 0, None)
