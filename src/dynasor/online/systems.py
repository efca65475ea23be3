"""Ways to serve the same programs, by name: what others do, and what we do.

A system says who owns the order of calls. Where that is the engine, every call is sent to it at
once and waits there. Where it is the scheduler, an engine gets what it can run and a tenth more,
and takes that in the order in which it comes.

Baselines:

- `fcfs`: requests first come, first served, in the order of submission (vLLM's default). A
  program submits what its policy grants as soon as it is granted: under `even` all branches at its
  arrival, so that programs too are served in order of arrival, each side by side with the next.
- `lpm`: longest prefix match (SGLang), as the paper's main baseline runs it.
- `lpm-128`: the same as SGLang 0.5 ships it: by arrival while more than 128 calls wait.
- `app-fifo`: programs in order of arrival, all calls of one before those of the next, later
  rounds too (Parrot, as the paper describes it).
- `plas`: the program that was served least so far first (Autellix).

Ours: `gang`, `sjf` and `deadline`, each with aging; and so every further ordering that an
installed package registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from dynasor.core.allocation import EVEN
from dynasor.core.config import OrderingSpec, SchedulerConfig
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.ordering import Ordering, make_ordering
from dynasor.core.types import PolicySpec
from dynasor.sim.waiting import Order
from dynasor.wiring import make_catalog

__all__ = ["System", "has_aging", "make_system", "system_names"]

ENGINE_ORDERS: tuple[Order, ...] = ("fcfs", "lpm", "lpm-128")
BASELINES = ("app-fifo", "plas")
OURS = ("gang", "sjf", "deadline")
AGING_FACTOR = OrderingSpec().aging_factor
ALL_AT_ONCE = 1e6
"""Slots beyond its own that an engine is sent which owns the order of calls: everything."""


class System(Struct, frozen=True):
    """How programs are served.

    `ordering` None: the engine's own `engine_order` decides. `enforces_deadlines`: programs that
    reach their deadline are ended with the best answer so far; otherwise nobody but the
    measurement knows of deadlines, and every program runs to its end.
    """

    name: str
    ordering: OrderingSpec | None
    engine_order: Order = "fcfs"
    policy: PolicySpec = EVEN
    enforces_deadlines: bool = False

    def with_patience(self, seconds: float | None) -> System:
        """Return the same with another `patience_seconds`, if the scheduler owns its order."""
        if self.ordering is None:
            return self
        return replace(self, ordering=replace(self.ordering, patience_seconds=seconds))

    def config(self, seed: int) -> SchedulerConfig:
        """Return the scheduler's settings."""
        if self.ordering is None:  # nothing waits here, so any ordering will do
            order = OrderingSpec("app-fifo", aging_factor=0.0)
            return SchedulerConfig(seed=seed, ordering=order, window_slack=ALL_AT_ONCE)
        return SchedulerConfig(seed=seed, ordering=self.ordering)


def system_names(orderings: Mapping[str, type[Ordering]] | None = None) -> tuple[str, ...]:
    """Return the names that `make_system` knows, baselines first.

    `orderings` are those of the scheduler; None takes all that are installed.
    """
    known = make_catalog().orderings if orderings is None else orderings
    shipped = (*ENGINE_ORDERS, *BASELINES, *OURS)
    return (*shipped, *(name for name in known if name not in shipped))


def has_aging(name: str) -> bool:
    """Return whether a system ages unless told otherwise: ours do, the baselines do not."""
    return name not in (*ENGINE_ORDERS, *BASELINES)


def make_system(
    name: str,
    policy: PolicySpec = EVEN,
    *,
    aging_factor: float | None = None,
    enforces_deadlines: bool | None = None,
    params: dict[str, Any] | None = None,
) -> System:
    """Return a system by the name of its order, one of `system_names`.

    `aging_factor` None takes the default for ours and none for baselines. `deadline` enforces
    deadlines unless told otherwise, for it could not know of them; the others do not, not even an
    ordering of another package. `params` are the ordering's. Raises `UnknownName`, and
    `ConfigError` for parameters that the ordering does not take, or any of an engine's own order.
    """
    orderings = make_catalog().orderings
    known = system_names(orderings)
    if name not in known:
        raise UnknownName("system", name, known)
    enforces = name == "deadline" if enforces_deadlines is None else enforces_deadlines
    for order in ENGINE_ORDERS:
        if name == order:
            if params:
                raise ConfigError(
                    f"system {name!r} is the engine's own order and has no parameters; "
                    f"leave out {', '.join(params)}"
                )
            return System(name, None, order, policy, enforces)
    if aging_factor is None:
        aging_factor = AGING_FACTOR if has_aging(name) else 0.0
    ordering = OrderingSpec(name, params or {}, aging_factor)
    make_ordering(ordering, orderings)  # its parameters are right: known before a long run
    return System(name, ordering, "fcfs", policy, enforces)
