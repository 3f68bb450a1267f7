"""Random configurations, each a base and a few properties that are set to random values.

A property is a function that changes a configuration; its name in the results is that of the
property. `claims` names the runtimes that know the property: the others are left out of the
comparison of a configuration that has it.
"""

import copy
import random

PROPERTIES = []
ALL = frozenset({"runc", "crun", "libcontainer"})

CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
]  # fmt: skip
RLIMITS = {
    "AS": (1 << 33, 1 << 34), "CORE": (0, 4096), "CPU": (1000, 2000), "DATA": (1 << 32, 1 << 33),
    "FSIZE": (1 << 24, 1 << 25), "LOCKS": (10, 20), "MEMLOCK": (4096, 8192), "MSGQUEUE": (4096, 8192),
    "NICE": (0, 0), "NOFILE": (256, 512), "NPROC": (500, 600), "RSS": (1 << 30, 1 << 31), "RTPRIO": (0, 0),
    "SIGPENDING": (50, 60), "STACK": (1 << 22, 1 << 23),
}  # fmt: skip
# The last word on access times is the only one that counts under bulkhead; the peers mix them.
TIMES = [[], ["noatime"], ["relatime"], ["strictatime"], ["nodiratime"], ["noatime", "nodiratime"]]
FLAGS = ["ro", "nosuid", "nodev", "noexec"]
# System calls that the probe makes; refusing them hinders neither it nor the runtime.
CALLS = ["sched_get_priority_max", "sched_get_priority_min", "getpriority", "ioprio_get", "membarrier", "sync"]
OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]


def base(machine):
    caps = CAPABILITIES[:]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["/probe"],
            "env": ["PATH=/bin:/", "TERM=dumb", "HOME=/root"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": machine.rootfs, "readonly": False},
        "hostname": "inside",
        "mounts": [
            mount("/proc", "proc", "proc", []),
            mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "cgroupsPath": "/" + machine.id,
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        },
    }


def mount(destination, kind, source, options):
    return {"destination": destination, "type": kind, "source": source, "options": options}


def known(name, claims=ALL, weight=1):
    def add(function):
        PROPERTIES.append((name, frozenset(claims), weight, function))
        return function

    return add


def generate(seed, machine):
    """Returns the names of the properties, the runtimes that know all of them, and the configuration."""
    rng = random.Random(seed)
    config = copy.deepcopy(base(machine))
    weights = [weight for _, _, weight, _ in PROPERTIES]
    count = rng.randint(1, 6)
    chosen = {entry[0]: entry for entry in rng.choices(PROPERTIES, weights, k=count)}
    # In the order of the table: a property may depend on those before it.
    chosen = [entry for entry in PROPERTIES if entry[0] in chosen]
    claims = ALL
    for _, of, _, change in chosen:
        claims &= of
        change(rng, config, machine)
    return [entry[0] for entry in chosen], claims, config


def some(rng, items, least=0):
    return [item for item in rng.sample(items, rng.randint(least, len(items)))]


@known("ociVersion")
def _(rng, config, machine):
    config["ociVersion"] = rng.choice(["1.0.0", "1.0.1", "1.0.2", "1.0.2-dev", "1.1.0"])


@known("root.readonly")
def _(rng, config, machine):
    config["root"]["readonly"] = True


@known("root.path")
def _(rng, config, machine):
    config["root"]["path"] = "rootfs"


@known("linux.namespaces:user")
def _(rng, config, machine):
    config["linux"]["namespaces"].append({"type": "user"})
    first = rng.choice([100_000, 500_000])
    maps = rng.choice([
        [{"containerID": 0, "hostID": first, "size": 65536}],
        [{"containerID": 0, "hostID": first, "size": 1000}, {"containerID": 1000, "hostID": 900_000, "size": 9000}],
    ])  # fmt: skip
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = maps


@known("linux.namespaces:cgroup")
def _(rng, config, machine):
    config["linux"]["namespaces"].append({"type": "cgroup"})


@known("linux.namespaces:fewer")
def _(rng, config, machine):
    gone = rng.choice(["network", "ipc", "uts"])
    # procfs and sysfs of a user namespace need a network namespace of their own.
    if "uidMappings" in config["linux"] and gone == "network":
        gone = "uts"
    config["linux"]["namespaces"] = [of for of in config["linux"]["namespaces"] if of["type"] != gone]
    if gone == "uts":
        del config["hostname"]


@known("linux.namespaces:joined")
def _(rng, config, machine):
    if "uidMappings" in config["linux"]:
        return
    kind, name = rng.choice([("network", "net"), ("ipc", "ipc")])
    config["linux"]["namespaces"] = [of for of in config["linux"]["namespaces"] if of["type"] != kind]
    config["linux"]["namespaces"].append({"type": kind, "path": f"/proc/{machine.holder}/ns/{name}"})


@known("hostname")
def _(rng, config, machine):
    if {"type": "uts"} in config["linux"]["namespaces"]:
        config["hostname"] = rng.choice(["a", "host.example", "x" * 63])


@known("process.user", weight=2)
def _(rng, config, machine):
    user = config["process"]["user"]
    user["uid"], user["gid"] = rng.choice([0, 1, 65, 999]), rng.choice([0, 5, 100])
    user["additionalGids"] = some(rng, [1, 7, 65, 100, 999])


@known("process.user.umask")
def _(rng, config, machine):
    config["process"]["user"]["umask"] = rng.choice([0o000, 0o022, 0o027, 0o077])


@known("process.cwd")
def _(rng, config, machine):
    config["process"]["cwd"] = rng.choice(["/tmp", "/data", "/made/for/it", "/proc/self"])


@known("process.env")
def _(rng, config, machine):
    config["process"]["env"] = ["PATH=/"] + some(
        rng, ["HOME=/elsewhere", "A=1", "B=", "C=x=y", "D=with space", "HOSTNAME=told", "LD_PRELOAD=/x", "e=ä"]
    )


@known("process.args")
def _(rng, config, machine):
    first = rng.choice(["/probe", "probe", "/bin/../probe"])
    config["process"]["args"] = [first] + some(rng, ["", "two words", "-x", "--", "$HOME", "*", "a\nb"])


@known("process.rlimits")
def _(rng, config, machine):
    config["process"]["rlimits"] = [
        {"type": "RLIMIT_" + name, "soft": RLIMITS[name][rng.randint(0, 1) and 0], "hard": RLIMITS[name][1]}
        for name in some(rng, sorted(RLIMITS), 1)
    ]


@known("process.capabilities", weight=2)
def _(rng, config, machine):
    bounding = some(rng, CAPABILITIES)
    permitted = some(rng, bounding)
    inheritable = some(rng, permitted)
    config["process"]["capabilities"] = {
        "bounding": bounding,
        "permitted": permitted,
        "effective": rng.choice([permitted, some(rng, permitted)]),
        "inheritable": inheritable,
        "ambient": some(rng, inheritable),
    }


@known("process.noNewPrivileges")
def _(rng, config, machine):
    config["process"]["noNewPrivileges"] = False


@known("process.oomScoreAdj")
def _(rng, config, machine):
    config["process"]["oomScoreAdj"] = rng.choice([machine.oom_score, 500, 999, 1000])


@known("mounts:tmpfs", weight=2)
def _(rng, config, machine):
    options = some(rng, FLAGS) + rng.choice(TIMES) + some(rng, ["size=1m", "nr_inodes=100"])
    options += [rng.choice(["mode=700", "mode=1777", "mode=0751"])]
    if "uidMappings" not in config["linux"]:
        options += some(rng, ["uid=5", "gid=6"])
    config["mounts"].append(mount(rng.choice(["/scratch", "/scratch/new/deep"]), "tmpfs", "scratch", options))


@known("mounts:bind", weight=2)
def _(rng, config, machine):
    options = [rng.choice(["bind", "rbind"])] + some(rng, FLAGS) + rng.choice(TIMES)
    source = rng.choice([machine.source, "source"])
    config["mounts"].append(mount(rng.choice(["/bound", "/srv/new"]), "bind", source, options))
    if rng.random() < 0.5:
        config["mounts"].append(mount("/other/file", "none", machine.source + "/file", ["bind", "ro"]))


@known("mounts:propagation")
def _(rng, config, machine):
    word = rng.choice(["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"])
    config["mounts"].append(mount("/bound", "bind", machine.source, ["rbind", word]))


@known("mounts:recursive-flags")
def _(rng, config, machine):
    words = some(rng, ["rro", "rnosuid", "rnodev", "rnoexec", "rnoatime"], 1)
    config["mounts"].append(mount("/bound", "bind", machine.source, ["rbind", *words]))


@known("mounts:cgroup")
def _(rng, config, machine):
    options = ["nosuid", "noexec", "nodev", "relatime", "ro"]
    config["mounts"].append(mount("/sys/fs/cgroup", "cgroup", "cgroup", options))


@known("linux.devices")
def _(rng, config, machine):
    config["linux"]["devices"] = some(rng, [
        {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600, "uid": 0, "gid": 5},
        {"path": "/dev/loop0", "type": "b", "major": 7, "minor": 0, "fileMode": 0o660, "uid": 0, "gid": 6},
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o666, "uid": 0, "gid": 0},
        {"path": "/srv/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o444, "uid": 7, "gid": 8},
        {"path": "/dev/fifo", "type": "p", "fileMode": 0o640, "uid": 1, "gid": 2},
    ], 1)  # fmt: skip


@known("linux.resources.devices")
def _(rng, config, machine):
    rules = some(rng, [
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"},
        {"allow": True, "type": "b", "access": "m"},
        {"allow": True, "type": "b", "major": 7, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
    ], 1)  # fmt: skip
    config["linux"]["resources"]["devices"] += rules


@known("linux.resources.memory")
def _(rng, config, machine):
    limit = rng.choice([64 << 20, 100_000_000, -1])
    memory = config["linux"]["resources"]["memory"] = {"limit": limit}
    if limit > 0 and rng.random() < 0.5:
        memory["reservation"] = limit // 2
    if limit > 0 and rng.random() < 0.5:
        memory["swap"] = rng.choice([limit, limit * 2])
    if rng.random() < 0.3:
        memory["swappiness"] = rng.choice([0, 10, 60])


@known("linux.resources.cpu")
def _(rng, config, machine):
    cpu = config["linux"]["resources"]["cpu"] = {}
    if rng.random() < 0.5:
        cpu["shares"] = rng.choice([2, 512, 1024, 2048, 262144])
    if rng.random() < 0.5:
        cpu["period"] = rng.choice([10_000, 100_000])
        cpu["quota"] = rng.choice([-1, 5_000, 50_000, 150_000])
    if rng.random() < 0.5:
        cpu["cpus"], cpu["mems"] = rng.choice(machine.cpus), "0"


@known("linux.resources.pids")
def _(rng, config, machine):
    config["linux"]["resources"]["pids"] = {"limit": rng.choice([32, 1000, -1])}


@known("linux.cgroupsPath")
def _(rng, config, machine):
    config["linux"]["cgroupsPath"] = rng.choice([f"/{machine.id}/below", f"//{machine.id}//x/", f"/{machine.id}/./y"])


@known("linux.sysctl")
def _(rng, config, machine):
    kinds = {of["type"]: of.get("path") for of in config["linux"]["namespaces"]}
    values = {
        "network": {"net.ipv4.ip_forward": "1", "net.ipv4.ip_unprivileged_port_start": "80",
                    "net.core.somaxconn": "77", "net.ipv4.ping_group_range": "0 100"},
        "ipc": {"kernel.msgmax": "12345", "kernel.shmmax": "1234567", "fs.mqueue.msg_max": "9"},
    }  # fmt: skip
    free = {}
    for kind, list_ in values.items():
        if kind in kinds and not kinds[kind]:
            free.update(list_)
    if free:
        config["linux"]["sysctl"] = {name: free[name] for name in some(rng, sorted(free), 1)}


@known("linux.seccomp", weight=3)
def _(rng, config, machine):
    rules, results = [], {}
    for _ in range(rng.randint(1, 4)):
        rule = {"names": some(rng, CALLS, 1) + rng.choice([[], ["no_such_call"]]), "action": "SCMP_ACT_ERRNO"}
        action = rng.random()
        if action < 0.2:
            rule["action"] = "SCMP_ACT_LOG"
        elif action < 0.3:
            rule["action"] = "SCMP_ACT_TRACE"
        elif action < 0.8:
            rule["errnoRet"] = rng.choice([1, 2, 38, 95])
        if rng.random() < 0.7:
            rule["args"] = [
                {"index": index, "op": "SCMP_CMP_" + rng.choice(OPERATORS), "value": rng.choice([0, 1, 2, 3, 1 << 32]),
                 "valueTwo": rng.choice([0, 1, 2])}
                for index in some(rng, [0, 1], 1)
            ]  # fmt: skip
            # libseccomp has no order for the conditional rules of a call that have different results, and
            # bulkhead takes the first (differences.md).
            result = rule["action"], rule.get("errnoRet", 1)
            rule["names"] = [name for name in rule["names"] if results.setdefault(name, result) == result]
        if rule["names"]:
            rules.append(rule)
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules,
                                  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}  # fmt: skip


@known("linux.maskedPaths")
def _(rng, config, machine):
    config["linux"]["maskedPaths"] = some(
        rng, ["/secret", "/secret-file", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/not/there"], 1
    )


@known("linux.readonlyPaths")
def _(rng, config, machine):
    config["linux"]["readonlyPaths"] = some(rng, ["/data", "/data/file", "/proc/sys", "/proc/sysrq-trigger", "/nope"], 1)


@known("linux.rootfsPropagation")
def _(rng, config, machine):
    config["linux"]["rootfsPropagation"] = rng.choice(["private", "rprivate", "slave", "rslave", "shared", "unbindable"])


@known("annotations")
def _(rng, config, machine):
    config["annotations"] = {"org.example.colour": "green", "org.opencontainers.image.os": "linux"}


@known("linux.personality", {"crun", "libcontainer"})
def _(rng, config, machine):
    config["linux"]["personality"] = {"domain": rng.choice(["LINUX", "LINUX32"])}
