"""What runs inside a worker process: comparisons one by one, each reported as it ends.

Every comparison has its own time limit, kept by the kernel: an alarm that nobody handles ends
the process, whatever code it is stuck in, and even when the parent has died meanwhile. The
parent learns from the reports which comparison that was, and loses no verdict on the others.
"""

from __future__ import annotations

import resource
import signal
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from multiprocessing.connection import Connection

from msgspec import Struct

from dynasor.tasks.protocol import GradedTask
from dynasor.workers.verdicts import STARTED, Pair, Verdict

__all__ = ["Bench", "Registry", "judge", "set_up"]

Registry = Callable[[], Mapping[str, GradedTask]]
"""Builds the tasks by name; must be importable by name, since it travels to the process."""

# Computer algebra needs some 100 MB; an answer such as 9^{9^{9}} would take all there is.
MOST_MEMORY_BYTES = 4 * 2**30


class Bench(Struct, frozen=True):
    """The process's equipment: its tasks, the pipe it reports to, and the limit in seconds."""

    tasks: Mapping[str, GradedTask]
    reports: Connection
    seconds_limit: float


# A process is one bench. The pool hands its functions nothing but their arguments, and a pipe
# can only be inherited, not sent.
_BENCH: ContextVar[Bench] = ContextVar("bench")


def set_up(registry: Registry, reports: Connection, seconds_limit: float) -> None:
    """Make this process a worker: load what is slow to load, let it be ended at once."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with suppress(ValueError, OSError):  # a lower limit is in force, or macOS, which has none
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    warnings.simplefilter("ignore")
    tasks = registry()
    for task in tasks.values():
        task.prepare()
    _BENCH.set(Bench(tasks, reports, seconds_limit))


def judge(task: str, pairs: Sequence[Pair]) -> list[Verdict]:
    """Decide pairs in order until two are the same; return the verdicts on those decided."""
    bench = _BENCH.get()
    bench.reports.send_bytes(STARTED)
    verdicts: list[Verdict] = []
    for answer, reference in pairs:
        signal.setitimer(signal.ITIMER_REAL, bench.seconds_limit)
        verdict = _compare(bench.tasks[task], answer, reference)
        signal.setitimer(signal.ITIMER_REAL, 0)
        bench.reports.send_bytes(verdict.value)
        verdicts.append(verdict)
        if verdict is Verdict.SAME:
            break
    return verdicts


def _compare(task: GradedTask, answer: str, reference: str) -> Verdict:
    try:
        return Verdict.SAME if task.equal(answer, reference) else Verdict.DIFFERENT
    except BaseException:  # noqa: BLE001 - whatever a parser does, sys.exit included, is a failure
        return Verdict.FAILED
