"""The bundles of the sweep, the runtime's commands on them, and what is read back."""

import array
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

CONFIGURATIONS = ["plain", "hooks", "userns", "terminal", "joined"]
HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
NAMESPACES = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
RESOURCES = {"pids": {"limit": 60}, "memory": {"limit": 1 << 28}, "cpu": {"shares": 512}}
# What a killed container may take to end, in seconds.
PATIENCE = 5
PR_SET_CHILD_SUBREAPER = 36
# The status of the containers' program (probe.c).
REPORTED = 7


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def has_controller(name):
    unified = read("/sys/fs/cgroup/cgroup.controllers").split()
    return name in unified or os.path.isdir(f"/sys/fs/cgroup/{name}")


def wait(holds, seconds=PATIENCE):
    end = time.monotonic() + seconds
    pause = 0.001
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return True


class Ended:
    """A command that has ended: its status (None if it had to be killed), messages and seconds."""

    def __init__(self, status, errors, seconds):
        self.status, self.errors, self.seconds = status, errors, seconds

    @property
    def messages(self):
        return [line for line in self.errors.splitlines() if line.strip()]


def late(*_):
    raise TimeoutError


signal.signal(signal.SIGALRM, late)


class Bundle:
    """A directory with bundles of every configuration for one container. Every process that a command
    leaves becomes a child of this program, so none can be overlooked."""

    def __init__(self, runtime, tools, number, options=()):
        self.runtime, self.tools, self.options = runtime, tools, list(options)
        self.id = f"bulkhead-sweep-{os.getpid()}-{number}"
        self.dir = os.path.join(tools, self.id)
        self.root, self.out = f"{self.dir}/state", f"{self.dir}/out"
        self.kind = None
        self.console = self.master = self.neighbour = None
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.makedirs(self.out)
        for path in (self.dir, self.out):
            os.chmod(path, 0o777)
        rootfs = f"{self.dir}/rootfs"
        for name in ["bin", "dev", "proc", "sys", "tmp", "out"]:
            os.makedirs(f"{rootfs}/{name}")
        shutil.copy(f"{tools}/probe", f"{rootfs}/bin/probe")
        for kind in CONFIGURATIONS:
            os.makedirs(f"{self.dir}/{kind}")
        self.host = self.host_facts()
        self.mounts = len(read("/proc/self/mountinfo"))
        self.tops = [line.split()[1] for line in read("/proc/self/mounts").splitlines()
                     if line.split()[2] in ("cgroup", "cgroup2")]
        self.is_systemd = "--systemd-cgroup" in self.options

    def pid_namespace(self):
        """A pid namespace of other processes, for a container to join."""
        if self.neighbour is None:
            words = ["unshare", "--pid", "--fork", "--kill-child", "sleep", "86400"]
            self.neighbour = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        path = f"/proc/{self.neighbour.pid}/ns/pid_for_children"
        wait(lambda: os.path.exists(path) and os.readlink(path) != os.readlink("/proc/self/ns/pid"))
        return path

    def remove(self):
        self.end_everything()
        if self.neighbour:
            self.neighbour.kill()
            self.neighbour.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def cgroup(self):
        return f"/system.slice/sweep-{self.id}.scope" if self.is_systemd else f"/{self.id}"

    def configure(self, kind, program):
        """Writes the configuration `kind`; the program is `report` or `stay` of probe.c."""
        self.kind = kind
        config = {
            "ociVersion": "1.0.2",
            "hostname": "swept",
            "process": {
                "terminal": kind == "terminal",
                "args": ["/bin/probe", program, "/out/report"], "cwd": "/", "env": ["PATH=/bin", "A=1"],
                "user": {"uid": 0, "gid": 0, "additionalGids": [7], "umask": 0o27},
                "capabilities": {name: ["CAP_KILL", "CAP_CHOWN"] for name in ("bounding", "effective", "permitted")},
                "noNewPrivileges": True, "oomScoreAdj": 300,
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}],
            },
            "root": {"path": f"{self.dir}/rootfs", "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["newinstance", "ptmxmode=0666"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid"]},
                {"destination": "/tmp", "type": "bind", "source": f"{self.dir}/rootfs/tmp",
                 "options": ["rbind", "ro", "noexec"]},
                {"destination": "/out", "type": "bind", "source": self.out, "options": ["bind", "nosuid", "nodev"]},
            ],
            "linux": {
                "cgroupsPath": f"system.slice:sweep:{self.id}" if self.is_systemd else f"/{self.id}",
                "resources": {
                    "devices": [{"allow": False, "access": "rwm"}],
                    **{name: limit for name, limit in RESOURCES.items() if has_controller(name)},
                },
                "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}],
                "sysctl": {"kernel.shmmax": "123456"},
                "namespaces": [{"type": name} for name in NAMESPACES],
                "maskedPaths": ["/proc/timer_list", "/proc/keys", "/sys/firmware"],
                "readonlyPaths": ["/proc/sys"],
                "seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                            "syscalls": [{"names": ["swapoff"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]},
            },
        }
        if kind == "userns":
            linux = config["linux"]
            linux["namespaces"].append({"type": "user"})
            for name in ("uidMappings", "gidMappings"):
                linux[name] = [{"containerID": 0, "hostID": 100000, "size": 1000}]
            del linux["devices"]
        if kind == "joined":
            config["linux"]["namespaces"][0]["path"] = self.pid_namespace()
        if kind == "hooks":
            config["hooks"] = {name: [self.hook(name)] for name in HOOKS}
        if kind == "terminal":
            config["process"]["consoleSize"] = {"width": 81, "height": 26}
        with open(f"{self.dir}/{kind}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)

    def hook(self, name):
        inside = name == "startContainer"
        path = "/bin/probe" if inside else f"{self.tools}/probe"
        out = "/out/hooks" if inside else f"{self.out}/hooks"
        return {"path": path, "args": ["probe", "hook", out, name]}

    def words(self, verb, options=(), arguments=()):
        words = [self.runtime, "--root", self.root, *self.options, verb, *options]
        if verb in ("create", "run"):
            words += ["--bundle", f"{self.dir}/{self.kind}"]
            if self.kind == "terminal":
                words += ["--console-socket", self.listen()]
        return [*words, self.id, *arguments]

    def listen(self):
        self.hang_up()
        path = f"{self.dir}/console"
        if os.path.exists(path):
            os.unlink(path)
        self.console = socket.socket(socket.AF_UNIX)
        self.console.bind(path)
        self.console.listen()
        self.console.setblocking(False)
        return path

    def take_terminal(self):
        """Takes the terminal that a command has sent; it hangs up at the end."""
        if not self.console or self.master is not None:
            return
        try:
            connection, _ = self.console.accept()
            connection.settimeout(1)
            descriptors = array.array("i")
            _, more, _, _ = connection.recvmsg(256, socket.CMSG_LEN(4 * descriptors.itemsize))
            for _, _, data in more:
                descriptors.frombytes(data[:len(data) - len(data) % descriptors.itemsize])
            connection.close()
            self.master = list(descriptors)
        except OSError:
            pass

    def hang_up(self):
        self.take_terminal()
        for descriptor in self.master or []:
            os.close(descriptor)
        if self.console:
            self.console.close()
        self.console = self.master = None

    def call(self, words, seconds=20):
        """Runs a command to its end."""
        path = f"{self.dir}/errors"
        started = time.monotonic()
        with open(path, "wb") as errors, open(f"{self.dir}/output", "wb") as output:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                       start_new_session=True, cwd="/")
            signal.alarm(seconds)
            status = None
            # A process of a container that nobody reaps would keep its pid namespace from ending.
            try:
                while True:
                    pid, status = os.waitpid(-1, 0)
                    if pid == process.pid:
                        break
            except TimeoutError:
                process.kill()
                os.waitpid(process.pid, 0)
                status = None
            signal.alarm(0)
            process.returncode = 0
        if status is not None:
            status = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return Ended(status, read(path), time.monotonic() - started)

    def do(self, verb, options=(), arguments=()):
        return self.call(self.words(verb, options, arguments))

    # What is there, and what is left.

    def children(self):
        """The processes that the commands have left, by id, without those that have ended."""
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                return []
        pids = map(int, read("/proc/thread-self/children").split())
        return [pid for pid in pids if self.neighbour is None or pid != self.neighbour.pid]

    def cgroups(self):
        return [f"{top}{self.cgroup}" for top in self.tops if os.path.isdir(f"{top}{self.cgroup}")]

    def left(self):
        """What of the container is on the machine."""
        found = [f"process {pid} {read(f'/proc/{pid}/comm').strip()}" for pid in self.children()]
        found += [f"cgroup {path}" for path in self.cgroups()]
        if os.path.isdir(self.root):
            found += [f"state {path}" for path in self.state_files()]
        table = read("/proc/self/mountinfo")
        if len(table) != self.mounts:
            found += [f"mount {line}" for line in table.splitlines() if self.dir in line] or ["another mount table"]
        known = {"state", "out", "rootfs", "errors", "output", "console", "point", *CONFIGURATIONS}
        found += [f"file {name}" for name in os.listdir(self.dir) if name not in known]
        for name in CONFIGURATIONS:
            found += [f"file {name}/{more}" for more in os.listdir(f"{self.dir}/{name}") if more != "config.json"]
        for name in ["dev", "proc", "sys", "tmp", "out"]:
            found += [f"file rootfs/{name}/{more}" for more in os.listdir(f"{self.dir}/rootfs/{name}")]
        if self.host_facts() != self.host:
            found.append(f"the host's own settings: {self.host_facts()}, before {self.host}")
        return found

    def state_files(self):
        return [os.path.relpath(os.path.join(path, name), self.root)
                for path, dirs, files in os.walk(self.root) for name in dirs + files]

    def host_facts(self):
        own = "/proc/sys/kernel"
        return [read(f"{own}/{name}").strip() for name in ("hostname", "domainname", "shmmax")]

    def clear_output(self):
        for name in os.listdir(self.out):
            os.unlink(f"{self.out}/{name}")

    def end_everything(self):
        """For the next point, whatever this one has left."""
        for pid in self.children():
            os.kill(pid, signal.SIGKILL)
        wait(lambda: not self.children())
        for path in self.cgroups():
            try:
                os.rmdir(path)
            except OSError:
                pass
        shutil.rmtree(self.root, ignore_errors=True)

    # What a container has.

    def general(self, text):
        return text.replace(self.dir, "DIR").replace(self.id, "ID")

    def report(self, name="report"):
        """The facts that the container's program has reported, or None."""
        if not wait(lambda: os.path.exists(f"{self.out}/{name}")):
            return None
        facts = {}
        for line in self.general(read(f"{self.out}/{name}")).splitlines():
            key, _, value = line.partition("\t")
            if key in ("/proc/self/status", "/proc/self/limits"):
                key, value = re.match(r"(.*?)(?:\s\s+|:\s*|$)(.*)", value).groups()
            if key.startswith("/proc/self/ns/"):
                kind = key.rsplit("/", 1)[1]
                value = "the host's" if value == os.readlink(f"/proc/self/ns/{kind}") else "its own"
            facts.setdefault(key, []).append(value)
        return facts

    def from_outside(self):
        """The limits of the container's cgroups, and who is in them."""
        names = ["pids.max", "memory.limit_in_bytes", "memory.max", "cpu.shares", "cpu.weight", "devices.list",
                 "freezer.state", "cgroup.freeze"]
        facts = {}
        for path in self.cgroups():
            kept = "/".join(path.split("/")[:-1])
            for name in names:
                if os.path.exists(f"{path}/{name}"):
                    facts[f"{self.general(kept)} {name}"] = read(f"{path}/{name}").split()
            facts[f"{self.general(kept)} processes"] = len(read(f"{path}/cgroup.procs").split())
        return facts

    def hooks(self):
        return read(f"{self.out}/hooks").split()
