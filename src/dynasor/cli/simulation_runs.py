"""The runs of `dynasor simulate`: every system on every seed, in processes where that pays."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import product
from types import FrameType

import numpy as np
from msgspec.structs import replace

from dynasor.evaluate.processes import in_processes
from dynasor.online.outcome import Simulated
from dynasor.online.report import Report, report
from dynasor.online.run import Experiment, simulate
from dynasor.online.systems import System

__all__ = ["Ran", "ended_by_interrupts", "run_all"]

FEW = 2000
"""Programs in all for which starting processes takes longer than it saves."""
FILLING = 0.25
"""Share of the time of arrivals after which rates are counted: the engines are filling up."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run in figures.

    `came` counts the programs that arrived, those of the warm-up too. `offered` and `served`:
    programs that came and that ended, a second, while programs arrived, without the first quarter
    of that time; None where all came at once. `simulated` is kept where a picture is asked for.
    """

    seed: int
    report: Report
    came: int
    offered: float | None
    served: float | None
    simulated: Simulated | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    system: System
    seed: int
    is_kept: bool


@dataclass(frozen=True, slots=True)
class _Shared:
    experiment: Experiment
    unjudged: frozenset[str]


def run_all(
    experiment: Experiment,
    systems: Mapping[str, System],
    seeds: range,
    *,
    unjudged: frozenset[str] = frozenset(),
    has_pictures: bool = False,
    on_done: Callable[[], None] = lambda: None,
) -> dict[str, list[Ran]]:
    """Run every system on every seed; the runs of each by its name, in order of seeds.

    Parts that are `unjudged` have no accuracy. With `has_pictures` the first seed's runs are kept.
    """
    tasks = [
        _Task(system, seed, has_pictures and seed == seeds[0])
        for system, seed in product(systems.values(), seeds)
    ]
    programs = experiment.workload.programs
    is_short = programs is not None and programs * len(tasks) <= FEW
    shared = _Shared(experiment, unjudged)
    coming = in_processes(_run, shared, tasks, 1 if is_short else None)
    found = []
    with ended_by_interrupts(), closing(coming) as runs:
        for one in runs:
            found.append(one)
            on_done()
    size = len(seeds)
    return {name: found[size * k : size * (k + 1)] for k, name in enumerate(systems)}


def _run(shared: _Shared, task: _Task) -> Ran:
    """Make one run; in a process of its own."""
    found = simulate(shared.experiment, task.system, task.seed)
    figures = _judged(report(found), shared.unjudged)
    return Ran(task.seed, figures, len(found), *_rates(found), found if task.is_kept else None)


def _judged(figures: Report, unjudged: frozenset[str]) -> Report:
    """Return the figures without the accuracy of what nobody can judge."""
    if not unjudged:
        return figures
    kept = {
        name: replace(one, accuracy=None) if name in unjudged else one
        for name, one in figures.parts.items()
    }
    return replace(figures, all=replace(figures.all, accuracy=None), parts=kept)


def _rates(sim: Simulated) -> tuple[float | None, float | None]:
    """Return the programs that came and that ended, a second, once the engines were full."""
    begin, end = (float(sim.arrived[0]), sim.totals.last_arrival) if len(sim) else (0.0, 0.0)
    full = begin + FILLING * (end - begin)
    if end <= full:
        return None, None
    came = np.count_nonzero(sim.arrived > full)
    ended = np.count_nonzero((sim.finished > full) & (sim.finished <= end))
    return float(came) / (end - full), float(ended) / (end - full)


@contextmanager
def ended_by_interrupts() -> Iterator[None]:
    """Let Ctrl-C end the processes at once: a run may take minutes, and nobody waits for it."""

    def end_all(number: int, frame: FrameType | None) -> None:
        for process in multiprocessing.active_children():
            process.kill()
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, end_all)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
