"""What runs inside the sandbox's process: one fork for each untrusted program.

`dynasor.workers.sandbox` starts `main` in an interpreter that sees neither the installed packages
nor the rest of Dynasor, so this file imports the standard library only. It reads one request (JSON)
from its input, and writes one line (JSON) for the walls that stand and one for each job. A job has
`setup`, pieces of source that run one after the other, and `checks`, pieces that pass or fail each.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from math import ceil
from typing import Any, NoReturn

from dynasor.workers.walls import Refused, confine, disarm, raise_walls, watcher

__all__ = ["main"]

Job = dict[str, Any]
Report = tuple[str, str]
"""What became of a check: a status, and one line of detail."""

# Loaded once and inherited by each fork.
PRELOADED = (
    "bisect collections copy dataclasses datetime decimal enum fractions functools hashlib heapq "
    "inspect itertools json math operator random re statistics string typing"
).split()

LONGEST_DETAIL = 200
LONGEST_REPORT = 256 * 1024
# A check that is stuck costs its whole limit. After that many an answer's other checks fail too.
MOST_STUCK = 3
# Time limits are kept by timers, one check at a time. What silences those is ended by the process's
# limit: that many checks, and a second.
MOST_CHECKS_TIMED = 20
OUT_OF_MEMORY, BROKEN = 77, 78
READY = b"ready"
TIME_SIGNALS = (signal.SIGALRM, signal.SIGPROF, signal.SIGXCPU)


def main() -> None:
    """Answer the one request on standard input."""
    request = json.load(sys.stdin)
    for name in PRELOADED:
        with suppress(ImportError):
            import_module(name)
    disarm()
    # Where the standard streams of a program lead.
    nowhere = os.open(os.devnull, os.O_RDWR)
    roots = tuple(f"{path}/" for path in sys.path)
    is_alone, walls = raise_walls(roots)
    _say({"walls": walls})
    gc.freeze()
    cell = Cell(request["limits"], nowhere, roots, is_alone)
    for job in request["jobs"]:
        _say(judge(job, cell))


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


# --- a job, seen from outside --------------------------------------------------------------------


class Cell:
    """Runs one program at a time in a forked process, and ends all that it started."""

    def __init__(
        self, limits: dict[str, Any], nowhere: int, roots: tuple[str, ...], is_alone: bool
    ) -> None:
        self._limits = limits
        self._nowhere = nowhere
        self._roots = roots
        self._is_alone = is_alone

    def attempt(self, job: Job, first: int) -> tuple[bool, list[Report], Report]:
        """Run a job's setup and its checks from `first` on.

        Return whether the setup came to its end, the reports in order, and how the process ended.
        """
        inbox, outbox = os.pipe()
        secret, secret_outbox = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._run(job, first, secret, outbox)
        # Drawn after the fork: the program's memory does not hold it.
        token = os.urandom(16).hex().encode()
        os.write(secret_outbox, token)
        for descriptor in (outbox, secret, secret_outbox):
            os.close(descriptor)
        lines = _drained(inbox).split(b"\n")
        os.close(inbox)
        _, status, usage = os.wait4(pid, 0)
        self._clear()
        is_late = usage.ru_utime + usage.ru_stime > self._limits["cpu_seconds"]
        return READY in lines, list(_reports(lines, token)), _ending(status, is_late)

    def _clear(self) -> None:
        """End what a program has left behind; elsewhere the end of this process's group does."""
        if not self._is_alone:
            return
        assert os.getpid() == 1
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # all but this process
        with suppress(ChildProcessError):
            while os.waitpid(-1, 0):
                pass

    def _run(self, job: Job, first: int, secret: int, outbox: int) -> NoReturn:
        """Be the forked process: it never returns, whatever the program does."""
        try:
            for descriptor in (0, 1, 2):
                os.dup2(self._nowhere, descriptor)
            _close_others((secret, outbox))
            checks = job["checks"][first:]
            timed = min(len(checks) + 1, MOST_CHECKS_TIMED)
            cpu_seconds = ceil(self._limits["cpu_seconds"] * timed) + 1
            confine(cpu_seconds, self._limits["memory_bytes"], self._is_alone)
            sys.addaudithook(watcher(self._roots))
            perform(job["setup"], checks, Reporter(secret, outbox), self._limits)
            os._exit(0)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except BaseException:  # noqa: BLE001 - nothing may return into the parent's code
            os._exit(BROKEN)


def judge(job: Job, cell: Cell) -> dict[str, Any]:
    """Return which checks pass, and the status and detail of the first that does not.

    A check whose process ends before its report fails; those after it get a fresh process.
    """
    count = len(job["checks"])
    passed: list[bool] = []
    status, detail = "passed", ""
    stuck = 0
    while len(passed) < count and stuck < MOST_STUCK:
        is_ready, reports, ending = cell.attempt(job, len(passed))
        if len(passed) + len(reports) < count and is_ready:
            reports = [*reports, ending]
            stuck += 1
        elif not is_ready:
            reports = reports or [ending]
            stuck = MOST_STUCK
        for one, line in reports:
            if status == "passed" and one != "passed":
                status, detail = one, line
            passed.append(one == "passed")
    passed += [False] * (count - len(passed))
    return {"status": status, "detail": detail, "passed": passed[:count]}


def _drained(descriptor: int) -> bytes:
    """Read a pipe to its end, and keep the beginning."""
    kept = b""
    while more := os.read(descriptor, 65536):
        kept += more[: LONGEST_REPORT - len(kept)]
    return kept


def _reports(lines: list[bytes], token: bytes) -> Iterator[Report]:
    """Yield the reports that carry the token; a program's own writing is no report."""
    for line in lines:
        if line.startswith(token):
            with suppress(ValueError):
                status, detail = json.loads(line[len(token) :])
                yield status, detail


def _close_others(kept: tuple[int, ...]) -> None:
    for descriptor in range(3, 64):
        if descriptor not in kept:
            with suppress(OSError):
                os.close(descriptor)


def _ending(status: int, is_late: bool) -> Report:
    """Say how a process ended that did not report to the end."""
    code = os.waitstatus_to_exitcode(status)
    if code == OUT_OF_MEMORY:
        return "memory", "out of memory"
    if code == BROKEN:
        return "crashed", "the sandbox failed, or was made to"
    if code >= 0:
        return "failed", f"ended with exit code {code} before the last check was done"
    if -code in TIME_SIGNALS or (is_late and -code == signal.SIGKILL):
        return "timeout", "ran out of time"
    return "crashed", f"killed by {signal.Signals(-code).name}"


# --- the program, seen from inside ---------------------------------------------------------------


class Reporter:
    """Writes what became of checks, with a secret that is read only after the first check.

    A program that ends the process early, or prints what it takes for a report, has not passed.
    """

    def __init__(self, secret: int, outbox: int) -> None:
        self._secret = secret
        self._outbox = outbox
        self._token = b""

    def ready(self) -> None:
        """Report that the setup has come to its end."""
        os.write(self._outbox, b"\n" + READY + b"\n")

    def report(self, status: str, detail: str) -> None:
        """Report on the next check; on a setup that failed, too."""
        self._token = self._token or os.read(self._secret, 64)
        line = json.dumps([status, detail]).encode()
        os.write(self._outbox, b"\n" + self._token + line + b"\n")


def perform(
    setup: list[str], checks: list[str], reporter: Reporter, limits: dict[str, Any]
) -> None:
    """Run the setup and the checks in one module, each with its own time."""
    module = types.ModuleType("program")
    # Dataclasses, enumerations and pickle look their module up by name.
    sys.modules["program"] = module
    if "random" in sys.modules:
        sys.modules["random"].seed(0)  # verdicts can be repeated
    failure = _run(setup, module, limits)
    if failure is not None:
        reporter.report(*failure)
        return
    reporter.ready()
    for check in checks:
        reporter.report(*(_run([check], module, limits) or ("passed", "")))


def _run(pieces: list[str], module: types.ModuleType, limits: dict[str, Any]) -> Report | None:
    """Run pieces of source; return what went wrong."""
    # Nobody handles these signals: they end the process, whatever code it is stuck in.
    signal.setitimer(signal.ITIMER_REAL, limits["seconds"])
    signal.setitimer(signal.ITIMER_PROF, limits["cpu_seconds"])
    try:
        for piece in pieces:
            code = compile(piece, "<program>", "exec", dont_inherit=True)
            exec(code, module.__dict__)  # noqa: S102 - this is what the sandbox is for
    except BaseException as error:  # noqa: BLE001 - SystemExit is no success either
        return verdict(error)
    return None


def verdict(error: BaseException) -> Report:
    """Return the status and the one line that an error amounts to."""
    chain: list[BaseException] = [error]
    while len(chain) < 10 and (before := chain[-1].__cause__ or chain[-1].__context__):
        chain.append(before)
    refusals = [one for one in chain if issubclass(type(one), Refused)]
    if refusals:
        return "refused", _line(refusals[0])
    is_memory = issubclass(type(error), MemoryError)
    return "memory" if is_memory else "failed", _line(error)


def _line(error: BaseException) -> str:
    """Return an error's text; the text of a program's own error may be anything, or raise."""
    try:
        text = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        shown = text[:LONGEST_DETAIL].encode("ascii", "backslashreplace").decode()
        return "".join(one for one in shown if one.isprintable())[:LONGEST_DETAIL].rstrip(": ")
    except BaseException:  # noqa: BLE001
        return "an error without a text"
