"""Docker: capabilities, seccomp, users, read-only roots. W11 to W16."""

import json
import os

import docker_engine
from harness import check, contains, equal, eventually, lacks, read, row, run, write

DEFAULT = 0xA80425FB  # Docker's default set, fourteen capabilities
SYS_TIME, NET_RAW = 1 << 25, 1 << 13


def status(pid, field):
    return read(f"/proc/{pid}/status").split(f"\n{field}:")[1].split("\n")[0].strip()


@row("W11", "docker", "--cap-add, --cap-drop, the default set")
def capabilities(docker):
    for words, want in (
        ([], DEFAULT),
        (["--cap-add=SYS_TIME"], DEFAULT | SYS_TIME),
        (["--cap-drop=NET_RAW"], DEFAULT & ~NET_RAW),
        (["--cap-drop=ALL"], 0),
        (["--cap-drop=ALL", "--cap-add=NET_RAW"], NET_RAW),
    ):
        with docker.container(*words, "busybox", "sleep", "1000") as name:
            for field in ("CapEff", "CapPrm", "CapBnd"):
                equal(int(status(docker.pid(name), field), 16), want, f"{field} with {words}")
            equal(int(status(docker.pid(name), "CapAmb"), 16), 0, "CapAmb")
    # The tick is set to what it is: the clock goes on as before.
    tick = ["busybox", "adjtimex", "-q", "-t", "10000"]
    contains(docker("run", "--rm", *tick, status=1).err, "not permitted", "setting the clock")
    docker("run", "--rm", "--cap-add=SYS_TIME", *tick)
    capture = ("(sleep 1; busybox ping -c 3 127.0.0.1 >/dev/null) &"
               " exec timeout 10 tcpdump -Z root -n -i lo -c 1 icmp")  # fmt: skip
    contains(docker("run", "--rm", "debian", "sh", "-c", capture).out, "ICMP echo", "tcpdump")
    done = docker("run", "--rm", "--cap-drop=NET_RAW", "debian", "sh", "-c", capture, status=1)
    contains(done.err, "permission", "tcpdump without NET_RAW")


@row("W12", "docker", "seccomp: default, a profile, unconfined")
def seccomp(docker):
    ask = ["debian", "unshare", "--user", "true"]
    contains(docker("run", "--rm", *ask, status=1).err, "not permitted", "the default profile")
    docker("run", "--rm", "--security-opt", "seccomp=unconfined", *ask)
    for option, want in ((None, "2"), ("seccomp=unconfined", "0")):
        words = ["--security-opt", option] if option else []
        with docker.container(*words, "busybox", "sleep", "1000") as name:
            equal(status(docker.pid(name), "Seccomp"), want, f"Seccomp with {option}")
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO"},
        ],
    }
    path = write(f"{docker.workspace.new('seccomp')}/profile.json", json.dumps(profile))
    under = ["run", "--rm", "--security-opt", f"seccomp={path}", "busybox", "sh", "-c"]
    contains(docker(*under, "mkdir /x", status=1).err, "No space left", "the profile's errno")
    contains(docker(*under, "ln -s a /x", status=1).err, "not permitted", "the default errno")
    docker(*under, "touch /x && rm /x")


@row("W12", "docker", "seccomp: the profile made for tcpdump")
def seccomp_tcpdump(docker):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tcpdump-seccomp.json")
    under = ["run", "--rm", "--security-opt", f"seccomp={path}", "debian"]
    done = docker(*under, "timeout", "1", "tcpdump", "-Z", "root", "-n", "-i", "lo", status=124)
    contains(done.err, "listening on lo", "tcpdump")
    done = docker(*under, "mkdir", "/x", status=1)
    contains(done.err, "Operation not permitted", "a call that is not on its list")


@row("W13", "docker", "-u, USER, group lists, a root-only file")
def users(docker):
    top = docker.workspace.new("users")
    os.chmod(top, 0o755)
    secret = write(f"{top}/secret", "root's own\n", 0o600)
    mount = ["-v", f"{secret}:/secret:ro"]
    for user, uid, gid, groups in (
        ("500", 500, 500, [50, 500]),
        ("99", 99, 99, [99]),
        ("nobody", 99, 99, [99]),
        ("500:7", 500, 7, [7]),
        ("12345", 12345, 0, [0]),
    ):
        with docker.container("-u", user, *mount, "busybox", "sleep", "1000") as name:
            pid = docker.pid(name)
            equal(status(pid, "Uid").split(), [str(uid)] * 4, f"-u {user}: uid")
            equal(status(pid, "Gid").split(), [str(gid)] * 4, f"-u {user}: gid")
            got = sorted({int(group) for group in status(pid, "Groups").split()} | {gid})
            equal(got, sorted({*groups, gid}), f"-u {user}: groups")
            equal(int(status(pid, "CapEff"), 16), 0, f"-u {user}: capabilities")
            done = docker("exec", name, "cat", "/secret", status=1)
            contains(done.err, "Permission denied", f"-u {user}: root's file")
            contains(docker("exec", name, "id").out, f"uid={uid}", "id")
    equal(docker("run", "--rm", *mount, "busybox", "cat", "/secret").out, "root's own\n", "root")
    equal(docker("run", "--rm", "-u", "500", "busybox", "whoami").out, "alice\n", "whoami")
    got = docker("run", "--rm", "-u", "500", "--group-add", "1234", "busybox", "id", "-G").out
    check("1234" in got.split(), f"--group-add: {got}")
    docker("build", "-q", "-t", "as-nobody", "-", stdin="FROM busybox\nUSER nobody\n")
    equal(docker("run", "--rm", "as-nobody", "id", "-u").out, "99\n", "USER nobody")


@row("W14", "docker", "userns-remap: root inside is nobody outside")
def remapped(docker):
    top = docker.workspace.new("remap")
    os.chmod(top, 0o755)
    secret = write(f"{top}/top-secret", "root's own\n", 0o600)
    remove = ["run", "--rm", "--network", "none", "-v", f"{top}:/host", "busybox"]
    remove += ["rm", "-f", "/host/top-secret"]
    for name in ("subuid", "subgid"):
        write(f"{top}/{name}", "nobody:200000:65536\nnogroup:200000:65536\n", 0o644)
        run("mount", "--bind", f"{top}/{name}", f"/etc/{name}")
    try:
        other = docker_engine.Docker(
            docker.workspace, docker.runtime, "remap", ["--userns-remap=nobody:nogroup"]
        )
        try:
            other.start(images=["busybox"])
            done = other(*remove, status=1)
            contains(done.err, "Permission denied", "removing root's file")
            check(os.path.exists(secret), "the file is gone")
            with other.container("--network", "none", "busybox", "sleep", "1000") as one:
                equal(status(other.pid(one), "Uid").split()[0], "200000", "uid outside")
                uid_map = read(f"/proc/{other.pid(one)}/uid_map").split()
                equal(uid_map, ["0", "200000", "65536"], "the mapping")
        finally:
            other.stop()
    finally:
        run("umount", "/etc/subuid")
        run("umount", "/etc/subgid")
    docker(*remove)
    check(not os.path.exists(secret), "without the remap root inside is root outside")


@row("W15", "docker", "--read-only, --tmpfs /tmp")
def read_only(docker):
    ro = ["run", "--rm", "--read-only", "--tmpfs", "/tmp", "busybox", "sh", "-c"]
    contains(docker(*ro, "touch /x", status=1).err, "Read-only file system", "the root")
    contains(docker(*ro, "touch /bin/x", status=1).err, "Read-only file system", "/bin")
    equal(docker(*ro, "echo x >/tmp/x && cat /tmp/x").out, "x\n", "the tmpfs")
    with docker.container("--read-only", "--tmpfs", "/tmp", "busybox", "sleep", "1000") as name:
        mounts = read(f"/proc/{docker.pid(name)}/mountinfo").splitlines()
        root = [line.split()[5] for line in mounts if line.split()[4] == "/"]
        check("ro" in root[-1].split(","), f"flags of the root: {root}")


@row("W16", "docker", "an image from scratch; exec of what is not there")
def from_scratch(docker):
    equal(docker("run", "--rm", "scratch-hello", "/hello").out, "hello from a static program\n", "")
    with docker.container("scratch-hello", "/hello", "wait") as name:
        eventually(lambda: "hello" in docker("logs", name).out, "its line")
        done = docker("exec", name, "sh", status=None)
        contains(done.both, '"sh": executable file not found in $PATH', "what was not found")
        # Docker 20.10 makes 126 of every failed exec, whatever the runtime says.
        old = docker("version", "--format", "{{.Server.Version}}").out.startswith("20.10")
        equal(done.status, 126 if old else 127, "exit status")
        lacks(done.both, "panic", "exec")
    done = docker("run", "--rm", "scratch-hello", "sh", status=127)
    contains(done.err, '"sh": executable file not found in $PATH', "what was not found")
