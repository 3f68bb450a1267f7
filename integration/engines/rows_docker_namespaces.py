"""Docker: namespaces, networks, privileges. W08, W09, W10, W23."""

import os
import urllib.request

from harness import Skip, check, contains, equal, eventually, read, row


def namespace(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{kind}")


@row("W08", "docker", "exec ps; --pid container:; --pid=host")
def processes(docker):
    with docker.container("busybox", "sleep", "4321") as name:
        shown = docker("exec", name, "ps", "-o", "pid,args").out
        contains(shown, "1 sleep 4321", "the container's own process")
        equal(len(shown.splitlines()), 3, f"lines of ps: {shown}")
        joined = ["--rm", "--pid", f"container:{name}", "busybox"]
        shown = docker("run", *joined, "ps", "-o", "pid,args").out
        contains(shown, "1 sleep 4321", "the other's process")
        got = docker("run", *joined, "readlink", "/proc/self/ns/pid").text
        equal(got, namespace(docker.pid(name), "pid"), "the other's pid namespace")
        status = docker("exec", name, "sh", "-c", "exit 9", status=9).status
        equal(status, 9, "exit status of exec")
    host = ["run", "--rm", "--pid=host", "busybox"]
    equal(docker(*host, "readlink", "/proc/self/ns/pid").text, namespace("self", "pid"), "host's")
    shown = docker(*host, "ps", "-o", "pid,args").out
    contains(shown, f"{docker.daemon.pid} ", "the daemon among the host's processes")
    equal(docker("run", "--rm", "busybox", "sh", "-c", "echo $$").text, "1", "own pid")


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def reachable(url):
    def attempt():
        try:
            return fetch(url)
        except OSError:
            return None

    return eventually(attempt, url)


HTTPD = "mkdir -p /www; hostname >/www/index.html; exec httpd -f -h /www -p 80"


@row("W09", "docker", "bridge network, published port on loopback")
def published(docker):
    web = ["-p", "127.0.0.1::80", "--hostname", "web", "busybox", "sh", "-c", HTTPD]
    with docker.container(*web) as name:
        port = docker("port", name, "80/tcp").text.rpartition(":")[2]
        equal(reachable(f"http://127.0.0.1:{port}/"), "web\n", "the published port")
        address = docker.inspect(name, "{{.NetworkSettings.IPAddress}}")
        equal(reachable(f"http://{address}/"), "web\n", "the bridge address")
        got = docker("run", "--rm", "busybox", "wget", "-q", "-O", "-", f"http://{address}/")
        equal(got.out, "web\n", "from another container")
        check(namespace(docker.pid(name), "net") != namespace("self", "net"), "own network")


@row("W09", "docker", "a user-defined network with names")
def named_network(docker):
    docker("network", "create", "town")
    try:
        web = ["--network", "town", "--network-alias", "shop", "debian"]
        with docker.container(*web, "busybox", "sh", "-c", "cd /tmp; echo open >index.html;"
                              " exec busybox httpd -f -p 80") as name:  # fmt: skip
            ask = ["run", "--rm", "--network", "town", "debian"]
            address = docker.inspect(name, "{{.NetworkSettings.Networks.town.IPAddress}}")
            contains(docker(*ask, "getent", "hosts", "shop").out, address, "the name")
            words = ["busybox", "wget", "-q", "-O", "-", "http://shop/"]
            got = eventually(lambda: docker(*ask, *words, status=None).out, "the shop")
            equal(got, "open\n", "by name")
            done = docker("run", "--rm", "debian", "getent", "hosts", "shop", status=2)
            equal(done.out, "", "the name outside of the network")
    finally:
        docker("network", "rm", "town")


MAC = "02:42:ac:11:00:99"
CHANGE = ["debian", "sh", "-c", f"ip link set eth0 address {MAC} && ip link show eth0"]
KINDS = ("mnt", "uts", "net", "ipc")
# Process 1 as the exercise has it, or ourselves where process 1 is closed to us.
TARGET = 1 if os.access("/proc/1/ns/mnt", os.R_OK) else os.getpid()
ENTER = ["debian", "nsenter", "-t", str(TARGET), "-m", "-u", "-n", "-i", "readlink"]
ENTER += [f"/proc/self/ns/{kind}" for kind in KINDS]


@row("W10", "docker", "ip link set, nsenter: refused, and allowed by capabilities")
def few_privileges(docker):
    done = docker("run", "--rm", *CHANGE, status=2)
    contains(done.err, "Operation not permitted", "ip link without")
    contains(docker("run", "--rm", "--cap-add=NET_ADMIN", *CHANGE).out, MAC, "ip link with")
    done = docker("run", "--rm", "--pid=host", *ENTER, status=1)
    contains(done.err, "ermi", "nsenter without")
    free = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
    free += ["--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--pid=host"]
    got = docker("run", "--rm", *free, *ENTER, status=None)
    equal(got.text.split(), [namespace(TARGET, kind) for kind in KINDS], f"the host's: {got.err}")


OF_LINUX_5_0 = (1 << 38) - 1


@row("W10", "docker", "--privileged: ip link set, nsenter, all capabilities")
def privileged(docker):
    everything = (1 << int(read("/proc/sys/kernel/cap_last_cap")) + 1) - 1
    if int(read("/proc/self/status").split("CapBnd:")[1].split()[0], 16) != everything:
        raise Skip("this machine lacks capabilities that --privileged asks for")
    contains(docker("run", "--rm", "--privileged", *CHANGE).out, MAC, "ip link")
    got = docker("run", "--rm", "--privileged", "--pid=host", *ENTER).text.split()
    equal(got, [namespace(TARGET, kind) for kind in KINDS], "the host's")
    with docker.container("--privileged", "busybox", "sleep", "1000") as name:
        status = read(f"/proc/{docker.pid(name)}/status")
        # All that this Docker knows of: those of Linux 5.8 and 5.9 are newer than some.
        effective = int(status.split("CapEff:")[1].split()[0], 16)
        check(effective in (everything, everything & OF_LINUX_5_0), f"CapEff {effective:x}")
        contains(status, "Seccomp:\t0", "no filter")
        contains(docker("exec", name, "mount").out, "sysfs on /sys type sysfs (rw", "/sys")


@row("W23", "docker", "as a security scanner is run")
def scanner(docker):
    words = ["--net", "host", "--pid", "host", "--userns", "host", "--cap-add", "audit_control",
             "-v", "/etc:/etc:ro", "-v", "/usr/bin:/host/usr/bin:ro", "-v", "/var/lib:/var/lib:ro",
             "-v", f"{docker.socket}:/var/run/docker.sock:ro", "--label", "scanner"]  # fmt: skip
    with docker.container(*words, "busybox", "sleep", "1000") as name:
        pid = docker.pid(name)
        for kind in ("net", "pid", "user"):
            equal(namespace(pid, kind), namespace("self", kind), f"{kind} namespace")
        check(namespace(pid, "mnt") != namespace("self", "mnt"), "mount namespace")
        effective = int(read(f"/proc/{pid}/status").split("CapEff:\t")[1].split()[0], 16)
        equal(effective, 0xA80425FB | 1 << 30, "capabilities")
        script = "touch /etc/x; touch /host/usr/bin/x; touch /var/lib/x; cat /etc/hostname"
        done = docker("exec", name, "sh", "-c", script)
        equal(done.err.count("Read-only file system"), 3, "refused writes")
        equal(done.out, read("/etc/hostname"), "the host's file")
        shown = docker("exec", name, "ps", "-o", "pid,args").out
        contains(shown, f"{docker.daemon.pid} ", "the daemon among the host's processes")
        check(os.path.exists(f"/proc/{pid}/root/var/run/docker.sock"), "the daemon's socket")
