"""The commands that are swept: what precedes each, and what must hold after it."""

import os

from bundle import HOOKS, REPORTED, has_controller, wait
from points import inject_words

LIMITS = {"pids": ["--pids-limit", "50"], "memory": ["--memory", "134217728"], "cpu": ["--cpu-share", "256"]}

# What a documented fallback may change (ARCHITECTURE.md, "Fallbacks on other errors than ENOSYS"): the call,
# its errors, and the facts of a report.
FALLBACKS = [
    ("keyctl", {"EPERM", "ENOSYS"}, {"session keyring"}),
    ("sched_setaffinity", {"EPERM"}, {"Cpus_allowed_list"}),
    ("fchown", {"EPERM"}, set()),
]


class Operation:
    """A command: the commands before it, its options, and the program of the container."""

    def __init__(self, verb, before=(), options=(), arguments=(), program="stay", configurations=("plain",)):
        self.verb, self.before, self.options, self.arguments = verb, before, options, arguments
        self.program, self.configurations = program, configurations


STARTED = (("create",), ("start",))
OPERATIONS = {
    "create": Operation("create", options=("--pid-file", "{dir}/pid"),
                        configurations=("plain", "hooks", "userns", "terminal", "joined")),
    "run": Operation("run", program="report", configurations=("plain", "hooks", "userns")),
    "run-d": Operation("run", options=("--detach", "--pid-file", "{dir}/pid"),
                       configurations=("plain", "hooks", "userns", "terminal", "joined")),
    "start": Operation("start", before=(("create",),),
                       configurations=("plain", "hooks", "userns", "terminal", "joined")),
    "exec": Operation("exec", before=STARTED, arguments=("/bin/probe", "report", "/out/exec"),
                      configurations=("plain", "userns")),
    "exec-d": Operation("exec", before=STARTED, options=("--detach", "--pid-file", "{dir}/pid"),
                        arguments=("/bin/probe", "stay", "/out/exec"), configurations=("plain", "userns")),
    "update": Operation("update", before=STARTED,
                        options=[word for name in LIMITS if has_controller(name) for word in LIMITS[name]]),
    "pause": Operation("pause", before=STARTED),
    "resume": Operation("resume", before=(*STARTED, ("pause",))),
    "kill": Operation("kill", before=STARTED, arguments=("KILL",), configurations=("plain", "userns")),
    "delete": Operation("delete", before=(*STARTED, ("kill", "KILL")), configurations=("plain", "hooks", "userns")),
    "delete-f": Operation("delete", before=STARTED, options=("--force",), configurations=("plain", "userns")),
}


class Sweep:
    """Runs commands of a bundle with one interference each, and tells what is wrong afterwards."""

    def __init__(self, bundle):
        self.bundle = bundle
        self.references = {}

    def prepare(self, operation, configuration):
        """Makes what precedes the command. Returns its words."""
        bundle, how = self.bundle, OPERATIONS[operation]
        bundle.clear_output()
        bundle.configure(configuration, how.program)
        for verb, *arguments in how.before:
            ended = bundle.do(verb, arguments=arguments)
            if ended.status != 0:
                raise RuntimeError(f"{verb}: status {ended.status}: {ended.errors.strip()}")
            if verb == "start" and bundle.report() is None:
                raise RuntimeError("the container's program has reported nothing")
        if how.before and how.before[-1][0] == "kill":
            wait(lambda: not bundle.children())
        bundle.take_terminal()
        options = [option.format(dir=bundle.dir) for option in how.options]
        return bundle.words(how.verb, options, how.arguments)

    def clean_up(self):
        """Deletes the container, whatever there is, and drops the terminal."""
        bundle = self.bundle
        wrong = []
        for _ in range(2):
            ended = bundle.do("delete", ["--force"])
            # Without a state directory there is nothing to look into.
            if ended.status != 0 and os.path.isdir(bundle.root):
                wrong.append(f"delete --force: status {ended.status}: {ended.errors.strip()}")
        bundle.hang_up()
        bundle.clear_output()
        for name in ("pid", "point"):
            if os.path.exists(f"{bundle.dir}/{name}"):
                os.unlink(f"{bundle.dir}/{name}")
        if not wait(lambda: not bundle.left(), 2):
            wrong.append(f"after delete --force there is left: {bundle.left()}")
            bundle.end_everything()
        return wrong

    def expected(self, operation, configuration):
        """What a command gives without interference."""
        key = operation, configuration
        if key not in self.references:
            ended = self.bundle.call(self.prepare(*key))
            if ended.status not in (0, REPORTED):
                raise RuntimeError(f"{operation} ({configuration}): status {ended.status}: {ended.errors.strip()}")
            wrong, facts = self.result(operation)
            wrong += self.clean_up()
            if wrong:
                raise RuntimeError(f"{operation} ({configuration}): {wrong}")
            self.references[key] = facts
        return self.references[key]

    def result(self, operation):
        """What a command that has succeeded has made: (what is wrong, facts)."""
        bundle, wrong = self.bundle, []
        verb = OPERATIONS[operation].verb
        bundle.take_terminal()
        if verb == "create":
            ended = bundle.do("start")
            if ended.status != 0:
                wrong.append(f"start after it: status {ended.status}: {ended.errors.strip()}")
        facts = {}
        if verb in ("create", "start", "run", "exec"):
            found = bundle.report("exec" if verb == "exec" else "report")
            if found is None:
                wrong.append("success, but the program has not run")
            facts.update(found or {})
        if verb not in ("run", "kill", "delete") or operation == "run-d":
            facts.update(bundle.from_outside())
        if verb == "kill":
            facts["killed"] = wait(lambda: not bundle.children())
        if verb == "delete":
            facts["left"] = bundle.left() if not wait(lambda: not self.left_but_output()) else []
        if bundle.kind == "hooks":
            facts["hooks"] = [name for name in HOOKS if name in bundle.hooks()]
        return wrong, facts

    def left_but_output(self):
        return [what for what in self.bundle.left() if not what.startswith(("file rootfs/out", "file pid"))]

    def differences(self, point, ended, facts):
        expected = self.expected(point.operation, point.configuration)
        allowed = set()
        for name, errnos, what in FALLBACKS:
            if point.call.name == name and point.errno in errnos:
                allowed |= what
        # A poststop hook that fails is a warning (runtime.md, "Lifecycle").
        if "error running poststop hook" in ended.errors and \
                facts.get("hooks", ["poststop"])[-1:] != ["poststop"] and len(ended.messages) == 1:
            allowed.add("hooks")
        return [f"{key}: {facts.get(key)} in place of {expected.get(key)}" for key in sorted({*expected, *facts})
                if facts.get(key) != expected.get(key) and key not in allowed]

    def look(self, point):
        """Interferes at a point. Returns what is wrong, and whether the point was reached."""
        bundle = self.bundle
        self.expected(point.operation, point.configuration)
        words = self.prepare(point.operation, point.configuration)
        before = bundle.from_outside()
        report = f"{bundle.dir}/point"
        ended = bundle.call([*inject_words(bundle.tools, point, report, 12), *words], 30)
        reached = os.path.getsize(report) > 0 if os.path.exists(report) else False
        wrong = []
        succeeded = ended.status == (REPORTED if point.operation in ("run", "exec") else 0)
        if ended.status in (None, 124, 125):
            wrong.append(f"hangs or cannot be traced (status {ended.status})")
        elif succeeded and point.victim:
            # What was killed could as well have died right after the command.
            state = bundle.do("state")
            if state.status != 0 and bundle.state_files():
                wrong.append(f"state after it: {state.errors.strip()}")
        elif succeeded:
            missing, facts = self.result(point.operation)
            # Init waits for `start` when create has ended: `start` finds it dead or dying, or is told by it
            # why, as it happens.
            if point.operation == "create" and point.call.process and point.call.name == "read" and \
                    any(text in "".join(missing[:1]) for text in ("it is stopped", "wait for start: ", "only a created")):
                missing, facts = [], self.expected(point.operation, point.configuration)
            wrong += missing + ([] if missing else self.differences(point, ended, facts))
        elif point.victim in (None, "others"):
            wrong += self.after_error(point, ended, before)
        if ended.seconds > 5:
            wrong.append(f"takes {ended.seconds:.1f} seconds")
        wrong += self.clean_up()
        if point.errno is None:
            wrong += self.again(point.configuration)
        if wrong:
            wrong.append(f"status {ended.status}: {ended.errors.strip()[:600]}")
        return wrong, reached

    def after_error(self, point, ended, before):
        """What is wrong with a command that has failed by itself."""
        bundle, wrong = self.bundle, []
        verb = OPERATIONS[point.operation].verb
        errors = [line for line in ended.messages if "warning" not in line[:40]]
        # A killed program: its status is that of the command in the foreground.
        is_programs = point.victim and verb in ("run", "exec") and ended.status == 137 and not errors
        if ended.status >= 126 and verb != "exec" and not is_programs:
            wrong.append(f"status {ended.status}")
        if is_programs:
            pass
        elif len(errors) != 1:
            wrong.append(f"{len(errors)} lines of errors")
        elif ": " not in errors[0]:
            wrong.append("an error without operation or object")
        if verb in ("create", "run"):
            if not wait(lambda: not self.left_but_hooks(), 2):
                wrong.append(f"has failed and left {self.left_but_hooks()}")
        elif verb in ("exec", "update", "pause", "resume", "start"):
            # Everything is as before, or there is nothing any more.
            if bundle.cgroups() and not wait(lambda: bundle.from_outside() == before, 2):
                after = bundle.from_outside()
                wrong += [f"{key}: {value}, before {before.get(key)}" for key, value in after.items()
                          if value != before.get(key)]
        state = bundle.do("state")
        if state.status != 0 and bundle.cgroups():
            wrong.append(f"state after it: {state.errors.strip()}")
        return wrong

    def left_but_hooks(self):
        return [what for what in self.bundle.left() if not what.startswith("file rootfs/out")
                and "file out" not in what]

    def again(self, configuration):
        """The same container once more: nothing may be in its way."""
        if self.bundle.kind == "terminal":
            configuration = "plain"
        self.expected("run", configuration)
        ended = self.bundle.call(self.prepare("run", configuration))
        wrong = []
        if ended.status != REPORTED:
            wrong.append(f"run again: status {ended.status}: {ended.errors.strip()}")
        if ended.status == REPORTED and not wait(lambda: not self.left_but_output()):
            wrong.append(f"run again leaves {self.left_but_output()}")
        if ended.status != REPORTED:
            self.clean_up()
        self.bundle.clear_output()
        return wrong

    def leaves(self, point):
        """Interferes at a point. Returns what is left after `delete --force`, of any runtime, and whether the
        point was reached."""
        bundle = self.bundle
        words = self.prepare(point.operation, point.configuration)
        report = f"{bundle.dir}/point"
        bundle.call([*inject_words(bundle.tools, point, report, 12), *words], 30)
        reached = os.path.getsize(report) > 0 if os.path.exists(report) else False
        return [what for what in self.clean_up() if what.startswith("after delete")], reached
