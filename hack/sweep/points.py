"""The places at which the sweep interferes: every system call of every process of a command."""

import os
import re
import subprocess
from collections import namedtuple

# A system call of a command as `inject list` reports it.
Call = namedtuple("Call", "process place number name alive argument")
# What is done at a call: `victim` and `side` are killed by a signal, `errno` is an error's name.
Point = namedtuple("Point", "operation configuration call victim side errno")

ERRNOS = {"EPERM": 1, "EINTR": 4, "EIO": 5, "EAGAIN": 11, "ENOMEM": 12, "EMFILE": 24, "ENOSPC": 28, "ENOSYS": 38}

# Calls that change nothing that outlives the process: a death before one of them is a death before the next.
READING = set("""
    read pread64 readv lseek stat lstat fstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink
    readlinkat getdents64 poll ppoll pselect6 select epoll_wait epoll_pwait brk mmap munmap mprotect mremap madvise
    getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp getsid getpgid getcwd
    getrandom getrlimit sched_getaffinity sched_getscheduler sched_getattr getpriority ioprio_get uname sysinfo
    clock_gettime nanosleep clock_nanosleep rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack arch_prctl
    set_tid_address set_robust_list rseq futex capget fgetxattr getxattr lgetxattr flistxattr pidfd_open waitid wait4
    close dup dup2 dup3 fcntl ioctl pidfd_getfd close_range umask chdir fchdir
    openat2 epoll_create1 epoll_ctl eventfd2 signalfd4 restart_syscall
    """.split())
# Calls that cannot fail with valid arguments (their manual pages name no other error), which libc makes
# without a look at the result.
WITHOUT_ERROR = set("""
    exit exit_group rt_sigreturn restart_syscall arch_prctl set_tid_address umask getpid getppid gettid getuid geteuid
    getgid getegid rt_sigprocmask
    """.split())
# The kernel closes the file in any case.
ERRNOS_OF_CLOSE = {"EIO", "EINTR", "ENOSPC"}


def names():
    """The names of the system calls by their numbers, as the C compiler knows them."""
    text = subprocess.run(["gcc", "-E", "-dM", "-"], input="#include <sys/syscall.h>", text=True, capture_output=True,
                          check=True).stdout
    return {int(number): name for name, number in re.findall(r"#define __NR_(\w+) (\d+)\n", text)}


def parse(text, known):
    calls = []
    for line in text.splitlines():
        process, place, number, _, alive, *argument = line.split(" ", 5)
        name = known.get(int(number), number)
        calls.append(Call(int(process), int(place), int(number), name, int(alive), "".join(argument)))
    return calls



def without_repeats(calls):
    """Leaves out the middle of a row of equal calls, such as one for each signal or descriptor."""
    def key(call):
        return call and (call.process, call.name, call.argument)
    around = zip([None, *calls], calls, [*calls[1:], None])
    return [call for last, call, after in around if not key(last) == key(call) == key(after)]


def deaths(operation, configuration, calls):
    """A SIGKILL before and after every call that changes anything: of the command, of the other processes
    that it has made, and of all."""
    for call in calls:
        if call.name in READING:
            continue
        for side in ("before", "after"):
            # These have no other side: the process is not the runtime's any more, or has not changed.
            if side == "after" and call.name in ("execve", "execveat", "exit", "exit_group"):
                continue
            born = side == "after" and call.name in ("clone", "clone3", "fork", "vfork")
            for victim in ("command", "others", "all") if call.alive > 1 or born else ("command",):
                yield Point(operation, configuration, call, victim, side, None)


def faults(operation, configuration, calls, errnos=tuple(ERRNOS)):
    """Every call fails once with each of the errors."""
    for call in without_repeats(calls):
        if call.name in WITHOUT_ERROR:
            continue
        for errno in errnos:
            if call.name != "close" or errno in ERRNOS_OF_CLOSE:
                yield Point(operation, configuration, call, None, None, errno)


def spread(points, wanted):
    """At most `wanted` of the points, evenly: the same ones each time, some of every group."""
    if wanted is None or len(points) <= wanted:
        return points
    return [points[int((at + 0.5) * len(points) / wanted)] for at in range(wanted)]


def inject_words(tools, point, report, seconds):
    inject = os.path.join(tools, "inject")
    call = point.call
    place = [str(call.process), str(call.place), str(call.number), report, str(seconds)]
    if point.errno:
        return [inject, "fail", str(ERRNOS[point.errno]), *place]
    return [inject, "kill", point.victim, point.side, *place]


def describe(point):
    where = f"{point.operation} ({point.configuration}), process {point.call.process}, call {point.call.place}"
    what = f"{point.call.name}({point.call.argument})"
    if point.errno:
        return f"{where}: {what} = {point.errno}"
    return f"{where}: SIGKILL of {point.victim} {point.side} {what}"
