#!/usr/bin/python3
"""Answers requests like `criu swrk FD`, and records them as lines of JSON in the file FAKE_RECORD.

The file `settings` beside it has these names. FAKE_VERSION is its version; a request of the type
FAKE_FAIL fails, after an error in the log.
"""
import array, ctypes, json, os, signal, socket, sys

# The fields of the options that are messages.
NESTED = {11, 23, 25, 27, 39}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def fields(data, nested=frozenset()):
    """Returns the fields by number, each with the list of its values."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        number = key >> 3
        if key & 7 == 0:
            value, at = varint(data, at)
            value = value - (1 << 64) if value >> 63 else value
        else:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
            value = fields(value) if number in nested else value.decode(errors="replace")
        found.setdefault(number, []).append(value)
    return found


def number(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(key, value):
    if isinstance(value, int):
        return number(key << 3) + number(value)
    return number(key << 3 | 2) + number(len(value)) + value


with open(os.path.join(os.path.dirname(sys.argv[0]), "settings")) as file:
    settings = json.load(file)
if set(os.environ) - {"PATH", "LC_CTYPE"}:
    sys.exit("unexpected environment: " + " ".join(os.environ))
link = socket.socket(fileno=int(sys.argv[2]))
os.set_inheritable(link.fileno(), False)


def answer(kind, success, more=b"", fd=None):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd else []
    link.sendmsg([field(1, kind) + field(2, success) + more], rights)


def notify(script, pid=None, fd=None):
    answer(6, 1, field(5, field(1, script.encode()) + (field(2, pid) if pid else b"")), fd)
    reply = fields(link.recv(1 << 16))
    if reply.get(3) != [1]:
        sys.exit(1)


def restored(opts):
    """Clones a child of this process's parent."""
    libc = ctypes.CDLL(None, use_errno=True)
    # The namespaces of config.json: ipc, uts, network, pid, cgroup and mount.
    if settings.get("FAKE_NAMESPACES") != "none":
        libc.unshare(0x08000000 | 0x04000000 | 0x40000000 | 0x20000000 | 0x00020000)
        # CRIU makes no cgroup namespace if it is to leave cgroups alone.
        if opts.get(34) != [0]:
            libc.unshare(0x02000000)
    for outside in opts.get(39, []):
        libc.setns(os.open(outside[2][0], os.O_RDONLY), 0)
    for outside in opts.get(27, []):
        if outside[1][0] == "extRootNetNS":
            libc.setns(outside[2][0], 0)
    clone = {"x86_64": 56}.get(os.uname().machine, 220)
    pid = libc.syscall(clone, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        link.close()
        os.execv("/bin/sleep", ["sleep", "600"])
    return pid


while True:
    message = link.recv(1 << 16)
    if not message:
        sys.exit(0)
    top, at = {}, 0
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 0:
            top[key >> 3], at = varint(message, at)
        else:
            length, at = varint(message, at)
            top[key >> 3] = fields(message[at:at + length], NESTED)
            at += length
    kind, opts = top[1], top.get(2, {})
    names = ["ino:" + str(os.fstat(n).st_ino) for n in range(3)]
    mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
    with open(settings["FAKE_RECORD"], "a") as record:
        record.write(json.dumps({"type": kind, "opts": opts, "stdio": names, "mounts": mounts,
                                 "cgroup": open("/proc/self/cgroup").read()}) + "\n")
    if kind == 10:
        major, minor = settings.get("FAKE_VERSION", "4.1").split(".")
        answer(10, 1, field(10, field(1, int(major)) + field(2, int(minor))))
        continue
    if kind == 9:
        answer(9, 1, field(8, field(1, 1) + field(2, 0)))
        continue
    log = opts.get(17, opts[1])[0]
    open(opts[10][0], "w", opener=lambda path, flags: os.open(path, flags, 0o600, dir_fd=log)).write(
        "(00.1) all is well\n" + ("(00.2) Error (criu/fake.c:1): it was asked to fail\n"
                                  if settings.get("FAKE_FAIL") == str(kind) else ""))
    if kind == 2:
        child = restored(opts)
        try:
            notify("setup-namespaces", child)
            if "FAKE_MASTER" in settings:
                notify("orphan-pts-master", fd=os.open("/dev/null", os.O_RDWR))
            notify("post-restore", child)
        except SystemExit:
            os.kill(child, signal.SIGKILL)
            raise
    elif kind == 1:
        notify("network-lock")
        if opts.get(48) == [1]:
            notify("status-ready")
    if settings.get("FAKE_FAIL") == str(kind):
        if kind == 2:
            os.kill(child, signal.SIGKILL)
        answer(kind, 0, field(7, 5))
        sys.exit(1)
    if kind == 1 and opts.get(3) != [1]:
        os.kill(opts[2][0], signal.SIGKILL)
    answer(kind, 1)
