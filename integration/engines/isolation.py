"""Private mount and network namespaces for a run: what the engines do there ends with it."""

import ctypes
import os
import subprocess
import sys
import tempfile

from harness import Skip, read, run

PR_SET_CHILD_SUBREAPER = 36
# Where engines and runtimes put sockets and state by default; they leave these themselves.
DEFAULTS = "bulkhead containerd containers crun docker libpod lock netns runc user".split()
CGROUPS = "/sys/fs/cgroup"
# Of the machine's own /run, what those need who speak to its systemd.
OF_SYSTEMD = "systemd dbus user".split()
HOST_RUN = "BULKHEAD_HOST_RUN"
"""Of the environment: where the machine's own /run is to be found."""


def enter():
    """Starts this program again in namespaces of its own, once."""
    if os.environ.get("BULKHEAD_ISOLATED"):
        return
    os.environ["BULKHEAD_ISOLATED"] = "1"
    words = ["unshare", "--net", "--mount", "--propagation", "slave"]
    os.execvp(words[0], [*words, sys.executable, *sys.argv])


def prepare():
    """Private places, and no orphan that goes to another than us."""
    # Shared again, as mounts are where systemd runs.
    run("mount", "--make-rshared", "/")
    run("ip", "link", "set", "lo", "up")
    os.environ[HOST_RUN] = tempfile.mkdtemp(prefix="bulkhead-integration-run-")
    run("mount", "--rbind", "/run", os.environ[HOST_RUN])
    run("mount", "--make-rprivate", os.environ[HOST_RUN])
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    for name in DEFAULTS:
        os.mkdir(f"/run/{name}")
        # A mount, as ip(8) and podman make one of the place of network namespaces.
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", f"/run/{name}")
    cgroup_view()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def leave():
    """Ends what would outlive the namespaces."""
    unmount(os.environ[HOST_RUN])
    os.rmdir(os.environ[HOST_RUN])


def show_systemd():
    """The sockets of the machine's own service managers, where they are expected. The mounts made."""
    host_run = os.environ[HOST_RUN]
    if not os.path.isdir(f"{host_run}/systemd/system"):
        raise Skip("this machine is not run by systemd")
    if not os.path.exists(f"{CGROUPS}/cgroup.controllers"):
        raise Skip("this machine is not run by systemd with cgroup v2 alone")
    for name in OF_SYSTEMD:
        os.makedirs(f"/run/{name}", exist_ok=True)
        run("mount", "--rbind", f"{host_run}/{name}", f"/run/{name}")
    return [f"/run/{name}" for name in OF_SYSTEMD]


def cgroup_view():
    """With v1: a view of the mounted hierarchies and nothing else, that nothing can be added to.

    Where a hierarchy is not mounted, containerd makes plain directories of its name in the tmpfs
    above, which the machine would keep; podman takes them for cgroups and cannot remove them.
    """
    mounted = [name for name in os.listdir(CGROUPS) if os.path.ismount(f"{CGROUPS}/{name}")]
    if not mounted:
        return
    with tempfile.TemporaryDirectory(prefix="bulkhead-integration-") as view:
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", view)
        # Private, or what is mounted below would appear in the copy as well, twice.
        run("mount", "--make-private", view)
        for name in os.listdir(CGROUPS):
            if name in mounted:
                os.mkdir(f"{view}/{name}")
                run("mount", "--bind", f"{CGROUPS}/{name}", f"{view}/{name}")
            elif os.path.islink(f"{CGROUPS}/{name}"):
                os.symlink(os.readlink(f"{CGROUPS}/{name}"), f"{view}/{name}")
        run("mount", "-o", "remount,bind,ro", view)
        run("mount", "--rbind", view, CGROUPS)
        unmount(view)


def unmount(top):
    """Takes every mount on and below a directory away: removing it would empty what is mounted."""
    points = [line.split()[4] for line in read("/proc/self/mountinfo").splitlines()]
    points = [point for point in points if f"{point}/".startswith(f"{top}/")]
    for point in sorted(points, key=len, reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False)
