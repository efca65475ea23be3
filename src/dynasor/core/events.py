"""What a host tells the scheduler. One struct an event, all frozen, all fit for a journal.

Each `Submit(call, attempt)` ends in exactly one of `Finished`, `Failed` or `Cancelled`; each
`Compare` in one `Grouped`; timers may be late and may come when they are no longer wanted.
"""

from __future__ import annotations

from msgspec import Struct

from dynasor.core.config import SchedulerConfig
from dynasor.core.types import Output, PolicySpec, ProgramSpec, Replica, Usage

__all__ = [
    "Arrived",
    "Cancelled",
    "Configured",
    "Event",
    "Failed",
    "Finished",
    "Grouped",
    "Observed",
    "PoolChanged",
    "Progressed",
    "TimerFired",
    "Withdrew",
]


class Arrived(Struct, frozen=True, gc=False, tag="arrived"):
    """A program wants to run; `deadline_seconds` counts from now and must be positive.

    Programs of one `affinity` prefer one replica; empty: the program has its own.
    """

    program: str
    spec: ProgramSpec
    policy: PolicySpec
    workload: str = "default"
    tenant: str = ""
    deadline_seconds: float | None = None
    affinity: str = ""


class Finished(Struct, frozen=True, gc=False, tag="finished"):
    """An attempt ended well."""

    call: str
    attempt: int
    output: Output


class Failed(Struct, frozen=True, gc=False, tag="failed"):
    """An attempt ended badly; `kind` is the error's class name, `message` its one line."""

    call: str
    attempt: int
    kind: str
    message: str
    is_retryable: bool
    usage: Usage = Usage()


class Cancelled(Struct, frozen=True, gc=False, tag="cancelled"):
    """An attempt ended because it was aborted."""

    call: str
    attempt: int
    usage: Usage = Usage()


class Progressed(Struct, frozen=True, gc=False, tag="progressed"):
    """An open call's next report: the text since the last one, and how many tokens it has."""

    call: str
    attempt: int
    delta: str
    tokens: int


class Grouped(Struct, frozen=True, gc=False, tag="grouped"):
    """The verdict on one `Compare`.

    `classes[i]` is where the i-th new answer's class stands in the list `representatives + new`:
    the index of the first member that equals it, its own where none does. `failures` counts the
    comparisons that timed out or crashed and were therefore held to be different.
    """

    program: str
    serial: int
    classes: tuple[int, ...]
    failures: int = 0


class TimerFired(Struct, frozen=True, gc=False, tag="timer"):
    """A named timer has come due."""

    name: str


class Withdrew(Struct, frozen=True, gc=False, tag="withdrew"):
    """The client does not want this program's answer any more.

    `takes_best`: it wants the best there is now, as at a deadline.
    """

    program: str
    takes_best: bool = False


class PoolChanged(Struct, frozen=True, gc=False, tag="pool"):
    """A pool consists of these replicas from now on."""

    pool: str
    replicas: tuple[Replica, ...]


class Observed(Struct, frozen=True, gc=False, tag="observed"):
    """What an engine shows of itself: the calls that run in it, and those that queue inside it.

    Everybody's calls count, not ours alone. One that is not healthy is sent nothing until it is
    observed healthy, or for as long as one that cannot be reached.
    """

    pool: str
    replica: str
    waiting: int = 0
    running: int = 0
    is_healthy: bool = True


class Configured(Struct, frozen=True, gc=False, tag="configured"):
    """The configuration from now on; waiting calls are put in the new order."""

    config: SchedulerConfig


Event = (
    Arrived
    | Finished
    | Failed
    | Cancelled
    | Progressed
    | Grouped
    | TimerFired
    | Withdrew
    | PoolChanged
    | Observed
    | Configured
)
