"""Untrusted programs in a process of their own, behind walls and within limits.

`Sandbox` is the only door, and it opens with consent only. Each call starts one process
(`dynasor.workers.cell`), which forks once for each program, and kills all of it at the end.

What stands between a program and the machine (`dynasor.workers.walls`): resource limits and an
audit hook everywhere; on Linux, where the kernel permits, a network namespace without a network, a
process namespace, and Landlock. `Sandbox.walls` says which of these stand.

What this is not: a container or a virtual machine. The audit hook stops programs that do harm by
mistake or in a plain way; code written to break out of it (forged bytecode, a bug in an extension
module) reaches the system calls. Then the kernel's walls still keep it from files, network and
other processes, but not from bugs of the kernel, from using processor and memory up to the limits,
from seeing which files exist, or, where neither namespaces nor Landlock are to be had, from
anything that the user may do. Nor can a verdict be trusted that an answer wants to forge: it runs
in the same interpreter as the tests, and may return an object that equals everything. Run what you
do not trust at all on a machine that you can lose.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec
from msgspec import Struct

from dynasor.core.errors import ConfigError, DynasorError
from dynasor.tasks.code import program
from dynasor.tasks.syntax import module_of

__all__ = ["Limits", "Outcome", "Sandbox", "Status", "refusal"]

# The process starts in a tenth of a second, on a crowded machine in ten.
START_SECONDS = 60.0
# The programs' limits are kept by the kernel; the parent steps in only where that did not work.
GRACE_SECONDS = 5.0
MOST_CHECKS_WAITED = 20
LONGEST_LINE = 2**20
SILENT = "has gone silent"
_FOLDERS = (Path(__file__).parents[1], Path(__file__).parent)
# Verdicts repeat as hashes do. One arena for all threads, since each reserves 64 MB of addresses.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1"}
# The packages whose __init__ the process must not run: they import what it cannot see.
_START = """
import sys, types
for name, folder in zip(("dynasor", "dynasor.workers"), sys.argv[1:]):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from dynasor.workers.cell import main
main()
"""


class Status(StrEnum):
    """How a program ended."""

    PASSED = "passed"
    """It came to its end, the reference program too."""
    FAILED = "failed"
    """It did not compile, raised, or ended early."""
    TIMEOUT = "timeout"
    """It exceeded its wall or processor time."""
    MEMORY = "memory"
    """It exceeded its memory."""
    REFUSED = "refused"
    """It did what the sandbox does not permit."""
    CRASHED = "crashed"
    """A signal ended it: the interpreter broke, or the machine ran out of memory."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one program may use; time is counted for each check by itself.

    `memory_bytes` counts the address space, some 50 MB of which are the interpreter's. Fixed are:
    nothing written to files, 32 open files, no core dump, 64 processes and threads (where counted).
    """

    seconds: float = 10.0
    cpu_seconds: float = 3.0
    memory_bytes: int = 512 * 2**20

    def __post_init__(self) -> None:
        for name in ("seconds", "cpu_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}: give a positive number")
        if self.memory_bytes < 64 * 2**20:
            raise ConfigError(
                f"memory_bytes is {self.memory_bytes}: give 64 MiB ({64 * 2**20}) or more"
            )


class Outcome(Struct, frozen=True):
    """How a program ended, and one line of at most 200 characters about it."""

    status: Status
    detail: str = ""

    @property
    def is_passed(self) -> bool:
        """Whether everything that was run came to its end."""
        return self.status is Status.PASSED


class _Job(Struct, frozen=True):
    setup: tuple[str, ...]
    checks: tuple[str, ...] = ("",)


class _Result(Struct, frozen=True):
    status: Status
    detail: str
    passed: tuple[bool, ...]


class _Header(Struct, frozen=True):
    walls: tuple[str, ...]


_Line = TypeVar("_Line", _Header, _Result)


class Sandbox:
    """Runs untrusted Python programs, in at most `processes` processes at a time.

    Raises `ConfigError` unless `is_allowed`, and without a POSIX system. A method that is cancelled
    kills its process and all that came of it. Programs see the interpreter's standard library and
    no installed package; their output is thrown away.
    """

    def __init__(
        self, limits: Limits | None = None, *, is_allowed: bool, processes: int = 1
    ) -> None:
        if not is_allowed:
            raise refusal()
        if processes < 1:
            raise ConfigError(f"processes is {processes}: give at least 1")
        if os.name != "posix" or not sys.executable:
            raise ConfigError("untrusted programs need Linux or macOS, and a Python interpreter")
        self._limits = limits or Limits()
        self._free = asyncio.Semaphore(processes)
        self.walls: tuple[str, ...] | None = None
        """Which of "namespaces" and "landlock" stood at the last start; None before the first."""

    async def run(self, source: str) -> Outcome:
        """Run a program to its end."""
        return _outcome((await self._judge([_Job((source,))]))[0])

    async def grade(self, question: str, answer: str, reference: str) -> Outcome:
        """Run an answer (`dynasor.tasks.code.program`), then the reference program.

        The reference raises when the answer is wrong. An answer that ends the process before the
        reference has come to its end has not passed.
        """
        return (await self.grade_many(question, [answer], reference))[0]

    async def grade_many(
        self, question: str, answers: Sequence[str | None], reference: str
    ) -> list[Outcome]:
        """Grade many answers to one question in one process, equal ones once; None fails."""
        distinct = list(dict.fromkeys(one for one in answers if one is not None))
        jobs = [_Job(program(question, one), (reference,)) for one in distinct]
        outcomes = map(_outcome, await self._judge(jobs))
        known: dict[str | None, Outcome] = dict(zip(distinct, outcomes, strict=True))
        known[None] = Outcome(Status.FAILED, "no answer")
        return [known[one] for one in answers]

    async def agree(
        self, question: str, answers: Sequence[str | None], own_tests: Sequence[str]
    ) -> list[tuple[bool, ...]]:
        """Return which of the model's own tests each answer passes: equal tuples, one class.

        Chen et al., "CodeT" (arXiv 2207.10397). Tests that do not parse are dropped, so a tuple
        has a place for each of the others, in order. A stuck test fails, and those after it run in
        a fresh process; after three stuck ones the rest fails. No answer (None) passes none.
        """
        tests = tuple(one for one in own_tests if module_of(one) is not None)
        distinct = list(dict.fromkeys(one for one in answers if one is not None))
        jobs = [_Job(program(question, one), tests) for one in distinct] if tests else []
        signatures = [one.passed for one in await self._judge(jobs)] or [()] * len(distinct)
        known: dict[str | None, tuple[bool, ...]] = dict(zip(distinct, signatures, strict=True))
        known[None] = (False,) * len(tests)
        return [known[one] for one in answers]

    async def _judge(self, jobs: Sequence[_Job]) -> list[_Result]:
        """Run jobs in order; one that takes the process with it fails, the next get a new one."""
        results: list[_Result] = []
        async with self._free:
            while len(results) < len(jobs):
                results += await self._visit(jobs[len(results) :])
        return results

    async def _visit(self, jobs: Sequence[_Job]) -> list[_Result]:
        """Run jobs in one process, up to the first that ends it or holds it up."""
        results: list[_Result] = []
        async with self._cell() as cell:
            await _send(cell, {"limits": self._limits, "jobs": jobs})
            header = await _read(cell, START_SECONDS, _Header)
            if not isinstance(header, _Header):
                raise DynasorError(
                    f"the sandbox's process does not start (it {header}): see whether "
                    f"{sys.executable} runs by itself, and whether there is memory"
                )
            self.walls = header.walls
            for job in jobs:
                waited = min(len(job.checks) + 1, MOST_CHECKS_WAITED)
                result = await _read(cell, waited * self._limits.seconds + GRACE_SECONDS, _Result)
                if not isinstance(result, _Result):
                    status = Status.TIMEOUT if result == SILENT else Status.CRASHED
                    passed = (False,) * len(job.checks)
                    results.append(_Result(status, f"the sandbox's process {result}", passed))
                    break
                results.append(result)
        return results

    @asynccontextmanager
    async def _cell(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a process in a session and an empty folder of its own, and kill it at the end."""
        # As -I does, but with this environment and no other.
        command = (sys.executable, "-sPSB", "-c", _START, *_FOLDERS)
        with TemporaryDirectory(prefix="dynasor-") as folder:
            cell = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=folder,
                env=_ENVIRONMENT,
                start_new_session=True,
                limit=LONGEST_LINE,
            )
            try:
                yield cell
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(cell.pid, signal.SIGKILL)
                await cell.communicate()


def refusal() -> ConfigError:
    """Make the error that says how to consent to running programs."""
    return ConfigError(
        "running untrusted programs is off: grading code runs what the model wrote; "
        "allow it with --run-code, or run_code = true in the settings"
    )


async def _send(cell: asyncio.subprocess.Process, request: dict[str, object]) -> None:
    assert cell.stdin is not None
    # Python's own encoder takes lone surrogates, which a model may write.
    cell.stdin.write(json.dumps(msgspec.to_builtins(request)).encode())
    with suppress(ConnectionError):  # it has ended: reading tells
        await cell.stdin.drain()
    cell.stdin.close()


async def _read(
    cell: asyncio.subprocess.Process, patience_seconds: float, kind: type[_Line]
) -> _Line | str:
    """Read one line; in its place, say what the process has done instead of writing it."""
    assert cell.stdout is not None
    try:
        line = await asyncio.wait_for(cell.stdout.readline(), patience_seconds)
        return msgspec.json.decode(line, type=kind)
    except TimeoutError:
        return SILENT
    except (ValueError, msgspec.DecodeError):
        return "has ended"


def _outcome(result: _Result) -> Outcome:
    return Outcome(result.status, result.detail)
