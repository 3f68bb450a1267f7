"""The measured programs, and the command lines with which they do the same work."""

import json
import os
import re
import shutil
import subprocess

MASKED = ("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi")
CGROUPS = "/sys/fs/cgroup"


class Program:
    """A runtime with the command line of runc."""

    verbs = frozenset("run create start delete exec state list kill".split())
    lives = True  # has containers that outlive its commands

    def __init__(self, name, path, workspace):
        self.name = name
        self.source = path
        self.workspace = workspace
        self.path = os.path.join(workspace.tmp, "bin", name)
        self.root = os.path.join(workspace.tmp, "state", name)
        self.extra = []
        self.notes = []
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        os.makedirs(self.root, exist_ok=True)
        # A fresh copy for each: how a file lies in the page cache is worth half a millisecond.
        shutil.copyfile(path, self.path)
        os.chmod(self.path, 0o755)

    def version(self):
        out = subprocess.run([self.path, "--version"], capture_output=True, text=True, timeout=20, check=False)
        return (out.stdout or out.stderr).strip().split("\n")[0]

    def call(self, *command, root=None):
        return [self.path, *self.extra, "--root", root or self.root, *command]

    def run(self, bundle, name, root=None):
        return self.call("run", "--bundle", self.workspace.bundle(bundle), name, root=root)

    def create(self, bundle, name):
        return self.call("create", "--bundle", self.workspace.bundle(bundle), name)

    def start(self, name):
        return self.call("start", name)

    def delete(self, name, root=None):
        return self.call("delete", "--force", name, root=root)

    def exec(self, name):
        return self.call("exec", name, "true")

    def state(self, name):
        return self.call("state", name)

    def list(self):
        return self.call("list")

    def kill(self, name):
        # A signal without effect, so that the container can be asked again.
        return self.call("kill", name, "WINCH")

    def pid(self, name):
        out = subprocess.run(self.state(name), capture_output=True, text=True, timeout=20, check=True)
        return json.loads(out.stdout)["pid"]

    def probe(self, works):
        """Finds out whether the program runs here, if need be without a cgroup; `works` tries a run."""
        why = works(self)
        if why and "crun" in self.version():
            self.extra = ["--cgroup-manager=disabled"]
            if not works(self):
                self.notes.append("makes no cgroup in this view of cgroup v2, so it does less work than the others")
                return None
        return why

    def remove_all(self):
        for name in os.listdir(self.root):
            if os.path.isdir(os.path.join(self.root, name)) and name.startswith(self.workspace.tag):
                subprocess.run(self.delete(name), capture_output=True, timeout=60, check=False)


class Libcontainer(Program):
    """The engine of youki, by the small program of integration/peer."""

    verbs = Program.verbs - {"exec", "list", "kill"}

    def version(self):
        with open(os.path.join(self.workspace.top, "integration/peer/Cargo.lock"), encoding="utf-8") as file:
            return re.search(r'name = "(libcontainer)"\n(version) = "(.*?)"', file.read()).expand(r"\1 \2 \3")


class Floor(Program):
    """The least that the kernel has to do: floor.c."""

    verbs = frozenset(("run", "exec"))
    lives = False

    def version(self):
        return "the same container by straight system calls (hack/bench/floor.c)"

    def run(self, bundle, name, root=None):
        command = [self.path, "run"]
        if bundle == "userns":
            command.append("-u")
        if bundle == "seccomp":
            if not self.workspace.filter:
                return None
            command += ["-s", self.workspace.filter]
        return [*command, f"{CGROUPS}/{name}", self.workspace.rootfs, "true"]

    def exec(self, name):
        subject = self.workspace.subject
        pid = subject.pid(f"{self.workspace.tag}-{subject.name}-1")
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            path = next(line.strip()[3:] for line in file if line.startswith("0::"))
        return [self.path, "exec", CGROUPS + path, str(pid), "true"]

    def probe(self, works):
        if not os.path.exists(f"{CGROUPS}/cgroup.controllers"):
            return "it knows cgroup v2 only"
        return works(self)

    def remove_all(self):
        pass


class Bubblewrap(Program):
    """bwrap with the namespaces and mounts of the bundle."""

    verbs = frozenset(("run",))
    lives = False

    def __init__(self, name, path, workspace):
        super().__init__(name, path, workspace)
        self.notes.append("makes no cgroup and no device rules, binds the host's /sys in place of a new one, maps one "
                          "id, and sets neither resource limits nor the bounding set: it does less work")

    def run(self, bundle, name, root=None):
        command = [self.path, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup"]
        if bundle == "userns":
            command += ["--unshare-user", "--uid", "0", "--gid", "0"]
        command += ["--as-pid-1", "--new-session", "--hostname", "bulkhead", "--ro-bind", self.workspace.rootfs, "/"]
        command += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]
        command += ["--mqueue", "/dev/mqueue", "--ro-bind", "/sys", "/sys"]
        for path in MASKED:
            if os.path.isdir(path):
                command += ["--tmpfs", path, "--remount-ro", path]
            elif os.path.exists(path):
                command += ["--dev-bind", "/dev/null", path]
        # bwrap makes /proc/bus and /proc/irq read-only by itself.
        for path in ("/proc/fs", "/proc/sys", "/proc/sysrq-trigger"):
            if os.path.exists(path):
                command += ["--ro-bind", path, path]
        command += ["--cap-drop", "ALL"]
        for cap in ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"):
            command += ["--cap-add", cap]
        command += ["--clearenv", "--setenv", "PATH", "/bin", "--setenv", "TERM", "xterm", "--chdir", "/"]
        if bundle == "seccomp":
            if not self.workspace.filter:
                return None
            return [*command, "--seccomp", str(self.workspace.descriptor), "true"]
        return [*command, "true"]

    def probe(self, works):
        return works(self)

    def remove_all(self):
        pass
