"""What `dynasor simulate` found: tables for people, warnings, and all figures for JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from math import inf
from typing import Any, TypeVar

import msgspec
from rich.table import Table
from rich.text import Text

from dynasor.cli.simulation_given import Given
from dynasor.cli.simulation_runs import Ran
from dynasor.online.report import Load, Served
from dynasor.online.run import Experiment
from dynasor.online.seeds import over_seeds
from dynasor.online.systems import System
from dynasor.online.tables import LOADS, SERVED, tables
from dynasor.online.workload import Part, Poisson, Together

__all__ = ["Found", "figures", "lines", "warnings"]

T = TypeVar("T", Served, Load)


@dataclass(frozen=True, slots=True)
class Found:
    """What was simulated, and what came of it.

    `engine` is the engine's name as it was given, `capacity` even's in programs a second, None
    where nothing hung on it; `runs` are those of each system, by its name, one a seed.
    """

    given: Given
    experiment: Experiment
    engine: str
    systems: dict[str, System]
    capacity: float | None = None
    runs: dict[str, list[Ran]] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """The systems all of whose programs failed."""
        return [
            name
            for name, made in self.runs.items()
            if all(0 < ran.report.all.failed == ran.report.all.programs for ran in made)
        ]

    @property
    def broken_promises(self) -> int:
        """How many promises of aging all runs broke."""
        return sum(ran.report.load.broken_promises for made in self.runs.values() for ran in made)


# Tables.


def lines(found: Found, width: int) -> Iterator[Text | Table]:
    """Yield what is printed: what was simulated, and the systems beside one another.

    Over several seeds a figure is a mean, with half the width of its 95 % interval. Systems that
    do not fit beside one another into `width` columns come in several tables.
    """
    parts = found.experiment.workload.parts
    for part in parts:
        yield Text(_part(part, found))
    yield Text(_arrivals(found))
    yield Text(_cluster(found))
    yield from tables(_columns(found, lambda ran: ran.report.all), SERVED, "", width)
    for part in parts if len(parts) > 1 else ():
        columns = _columns(found, partial(_of_part, part.name))
        yield from tables(columns, SERVED, part.name, width)
    yield from tables(_columns(found, lambda ran: ran.report.load), LOADS, "", width)


def _of_part(name: str, ran: Ran) -> Served:
    return ran.report.parts[name]


def _columns(found: Found, figures_of: Callable[[Ran], T]) -> dict[str, list[T]]:
    return {name: [figures_of(ran) for ran in made] for name, made in found.runs.items()}


def _part(part: Part, found: Found) -> str:
    head = found.given.traces[part.name].header
    text = f"{part.name}, {head.model}: {len(found.given.questions[part.name])} questions, "
    text += f"cap {part.cap}"
    if part.deadline is not None:
        seconds = sorted({part.deadline.seconds(factor) for factor in part.deadline.factors})
        text += f", deadlines of {', '.join(f'{one:g}' for one in seconds)} s"
    return text + (", token counts are estimates" if head.has_estimated_tokens else "")


def _arrivals(found: Found) -> str:
    """Say how many programs come, and how fast; and how many came, if not all of these did."""
    workload = found.experiment.workload
    text = "programs" if workload.programs is None else f"{workload.programs} programs"
    if workload.duration_seconds is not None:
        text += f" in {workload.duration_seconds:g} s"
    arrivals, load = workload.arrivals, found.given.load
    if isinstance(arrivals, Together):
        return f"{text} at once"
    how = "Poisson" if isinstance(arrivals, Poisson) else "recorded"
    text += f", {how} arrivals"
    if arrivals.rate is not None:
        text += f" at {arrivals.rate:.4g} a second"
    if load is not None and found.capacity is not None:
        text += f", {load:.4g} of even's capacity of {found.capacity:.4g}"
    return text + _came(found)


def _came(found: Found) -> str:
    """Say how many programs came where nobody said so, or where the run was over before."""
    workload, horizon = found.experiment.workload, found.experiment.horizon
    counts = sorted({ran.came for made in found.runs.values() for ran in made})
    if counts == [workload.programs]:
        return ""
    text = "; " + " to ".join(f"{count}" for count in dict.fromkeys((counts[0], counts[-1])))
    is_cut = horizon is not None and horizon < (workload.duration_seconds or inf)
    return f"{text} came" + (f" in {horizon:g} s" if is_cut else "")


def _cluster(found: Found) -> str:
    cluster = found.experiment.cluster
    model, replicas = cluster.model, cluster.replicas
    return (
        f"{found.engine}: {replicas} replica{'s' if replicas > 1 else ''}, "
        f"{model.max_running} sequences at once, KV cache of {model.kv_tokens:,} tokens"
    )


# Warnings.


def warnings(found: Found) -> list[str]:
    """Return a line for every system whose figures are not those of one that keeps up."""
    return [text for name, made in found.runs.items() for text in _said(name, made, found)]


def _said(name: str, made: Sequence[Ran], found: Found) -> Iterator[str]:
    behind = [ran for ran in made if ran.report.load.is_saturated]
    if behind:
        offered = sum(ran.offered or 0.0 for ran in behind) / len(behind)
        served = sum(ran.served or 0.0 for ran in behind) / len(behind)
        yield (
            f"{name} is saturated{_of(behind, made)}: {offered:.4g} programs a second came and "
            f"{served:.4g} were served, so its latencies grow with the length of the run"
        )
    cut = [ran for ran in made if ran.report.load.is_cut]
    if cut:
        unended = sum(ran.report.all.unended for ran in cut)
        has_deadlines = any(part.deadline is not None for part in found.experiment.workload.parts)
        told = (
            "those with a deadline have missed it"
            if has_deadlines
            else "nobody knows when they end"
        )
        yield (
            f"{name} was cut at {found.experiment.horizon:g} s{_of(cut, made)} with {unended} of "
            f"the programs counted still live: {told}"
        )
    failed = sum(ran.report.all.failed for ran in made)
    if failed:
        programs = sum(ran.report.all.programs for ran in made)
        yield (
            f"{name}: {failed} of {programs} programs failed; `dynasor evaluate` says why, with "
            "the same policy"
        )
    broken = sum(ran.report.load.broken_promises for ran in made)
    if broken:
        yield f"{name} broke the promise of aging {broken} times"


def _of(some: Sequence[Ran], made: Sequence[Ran]) -> str:
    """Say on how many seeds, where there are several."""
    return "" if len(made) == 1 else f" on {len(some)} of {len(made)} seeds"


# All figures.


def figures(found: Found) -> dict[str, Any]:
    """Return everything for JSON; figures that are not known are null."""
    workload, cluster = found.experiment.workload, found.experiment.cluster
    first = next(iter(found.runs.values()))
    return {
        "parts": [_part_figures(part, found) for part in workload.parts],
        "arrivals": workload.arrivals,
        "programs": workload.programs,
        "duration_seconds": workload.duration_seconds,
        "load": found.given.load,
        "even_capacity": found.capacity,
        "engine": found.engine,
        "model": cluster.model,
        "replicas": cluster.replicas,
        "slots": cluster.slots,
        "horizon": found.experiment.horizon,
        "seeds": [ran.seed for ran in first],
        "systems": [
            {
                "name": name,
                "system": found.systems[name],
                "runs": [_run_figures(ran) for ran in made],
                "means": _means(made) if len(made) > 1 else None,
            }
            for name, made in found.runs.items()
        ],
    }


def _part_figures(part: Part, found: Found) -> dict[str, Any]:
    trace = found.given.traces[part.name]
    head = trace.header
    return {
        **msgspec.to_builtins(part),
        "trace": trace.path.name,
        "digest": trace.digest,
        "workload": head.workload,
        "model": head.model,
        "questions": len(found.given.questions[part.name]),
        "has_estimated_tokens": head.has_estimated_tokens,
    }


def _run_figures(ran: Ran) -> dict[str, Any]:
    return {
        "seed": ran.seed,
        "came": ran.came,
        "offered_per_second": ran.offered,
        "served_per_second": ran.served,
        "report": ran.report,
    }


def _means(made: Sequence[Ran]) -> dict[str, dict[str, float]]:
    """Return the mean and interval of every figure that all seeds have, by its path in a report."""
    runs = [dict(_flat(msgspec.to_builtins(ran.report))) for ran in made]
    return {
        path: asdict(over_seeds([run[path] for run in runs]))
        for path in runs[0]
        if all(path in run for run in runs)
    }


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in nested tables, each under the names that lead to it."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}{name}", float(value)
