"""Recorded settings for the online figures: experiments, rows to compare, and runs in parallel.

Rates are fractions of even's measured capacity on the same cluster. The deadline's base is 20
times the mean time that a question takes alone on an idle engine with all its branches: on
math500-llama3.1-8b that is about the paper's 240 seconds, and the other settings follow. Programs
arrive for eight such times in every run, however fast, and the run goes on until all have ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from msgspec.structs import replace

import _offline
from _offline import Setting
from _script import finish
from dynasor.core.allocation import EVEN
from dynasor.core.types import PolicySpec
from dynasor.evaluate.paired import Interval
from dynasor.evaluate.processes import cores, in_processes
from dynasor.online.capacity import at_load, even_capacity
from dynasor.online.cluster import Cluster
from dynasor.online.measures import (
    attainment,
    fairness,
    is_saturated,
    jain,
    latencies,
    rank_quantile,
    saturated_throughput,
    tightest_scale,
    waits_over_solo,
)
from dynasor.online.outcome import Simulated
from dynasor.online.run import Experiment, simulate
from dynasor.online.search import Within, rate_at, tightest
from dynasor.online.seeds import over_seeds, ratio_over_seeds
from dynasor.online.systems import System, make_system
from dynasor.online.workload import Deadline, Part, Poisson, Workload, with_scale
from dynasor.sim.presets import preset

Spread = dict[str, float | None]
"""`mean`, and `low` and `high` of its interval, None where it has no bounds."""

__all__ = [
    "BASE_OVER_SOLO",
    "CROWDS",
    "EVEN",
    "OURS",
    "PAPER",
    "Online",
    "Rounds",
    "Run",
    "Spread",
    "arguments",
    "attained_at",
    "finish",
    "interval",
    "make_system",
    "measured",
    "online_of",
    "open_online",
    "p90_load",
    "ratio",
    "run_all",
    "simulated",
    "spread",
    "tightest_at",
]

SETTINGS = ("svamp-codex", "math500-llama3.1-8b")
CAP = 20
BASE_OVER_SOLO = 20.0
PRESET = "a100-llama3.1-8b"
BASES_A_RUN = 8.0
"""How long programs arrive, in bases of the deadline: the same time at every rate."""
FEW = 300
"""Programs that are enough to learn how long one takes alone."""
TOLERANCE = 0.04
"""Share to which a search for a rate or a scale is exact."""
BRACKET = 1.15
"""A search begins so much below and above where it is told to."""
PAPER = PolicySpec("threshold", has_lock=False)
"""The paper's: once, after five branches, at a certaindex of 0.7 (its table 1)."""
CROWDS = PolicySpec("sequential", {"confidence": 0.9, "final": 0.5, "in_flight": 2})
"""For crowds: less is asked for, and less is in flight when a question stops."""
OURS = PolicySpec("sequential")


@dataclass(frozen=True, slots=True)
class Online:
    """One setting on one cluster: `capacity` is even's, in programs a second.

    `base_seconds` is the deadline of a question that is always right, at scale 1.
    """

    name: str
    title: str
    experiment: Experiment
    capacity: float
    base_seconds: float


@dataclass(frozen=True, slots=True)
class Rounds:
    """How a search that runs in rounds uses up its cap, and its deadline's base.

    That is a multiple of what a program takes on a nearly idle engine: the time alone with all
    branches side by side, which the other settings have, is none that a search could reach.
    """

    even: PolicySpec
    base_over_alone: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run to make: a setting, a system, a seed, a load (of even's capacity), a scale."""

    setting: str
    system: System
    seed: int
    load: float
    scale: float = 1.0


def arguments(description: str, seeds: int = 5) -> argparse.ArgumentParser:
    """Return a parser with what all scripts of online figures take."""
    parser = _offline.arguments(description)
    parser.set_defaults(seeds=seeds)
    parser.add_argument(
        "--programs", type=int, help="at most so many programs a run, for a first look"
    )
    parser.add_argument("--preset", default=PRESET, help="the engine to model")
    return parser


def open_online(
    options: argparse.Namespace,
    *,
    names: Sequence[str] = SETTINGS,
    cap: int = CAP,
    replicas: int = 1,
    utilisation: float = 0.9,
    slots: int | None = None,
) -> dict[str, Online]:
    """Open those settings that can be had, on a cluster of a preset, with measured capacities."""
    model = preset(options.preset).model(utilisation)
    cluster = Cluster(model, replicas, slots)
    found = _offline.open_settings(names, options)
    return {one.name: online_of(one, cap, cluster, options.programs) for one in found}


def online_of(
    setting: Setting,
    cap: int,
    cluster: Cluster,
    programs: int | None,
    rounds: Rounds | None = None,
) -> Online:
    """Return a setting on a cluster; `rounds` are those in which its searches were recorded."""
    even = EVEN if rounds is None else rounds.even
    program = setting.program
    part = Part(setting.name, cap=cap, program=program.name, params=program.params)
    workload = Workload((part,), Poisson(rate=1.0), programs=FEW)
    experiment = Experiment(workload, {part.name: setting.questions}, cluster)
    capacity = even_capacity(experiment, policy=even)
    alone = simulate(at_load(experiment, 0.1, capacity), make_system("fcfs", even))
    if rounds is None:
        base = round(BASE_OVER_SOLO * float(alone.solo_seconds.mean()), 1)
    else:
        base = round(rounds.base_over_alone * float(np.mean(latencies(alone))), 1)
    workload = replace(
        workload,
        parts=(replace(part, deadline=Deadline(base, judged_at=cap)),),
        programs=programs,
        duration_seconds=BASES_A_RUN * base,
    )
    experiment = replace(experiment, workload=workload)
    return Online(setting.name, setting.title, experiment, capacity, base)


def run_all(
    work: Callable[[dict[str, Online], Any], Any],
    settings: dict[str, Online],
    tasks: Sequence[Any],
    options: argparse.Namespace,
) -> list[Any]:
    """Return `work(settings, task)` of all tasks, in processes; `work` must be importable.

    Says on the error output how far it is, ten times.
    """
    done: list[Any] = []
    tenth = max(1, len(tasks) // 10)
    for one in in_processes(work, settings, tasks, options.processes or cores()):
        done.append(one)
        if len(done) % tenth == 0:
            print(f"{len(done)} of {len(tasks)} runs", file=sys.stderr)
    return done


def simulated(settings: dict[str, Online], run: Run, cap: int | None = None) -> Simulated:
    """Make a run, with another cap if one is given; rates and deadlines stay those of its own.

    Ends the script if the run broke the promise of aging.
    """
    online = settings[run.setting]
    experiment = at_load(online.experiment, run.load, online.capacity)
    if cap is not None:
        parts = tuple(replace(part, cap=cap) for part in experiment.workload.parts)
        experiment = replace(experiment, workload=replace(experiment.workload, parts=parts))
    if run.scale != 1.0:
        experiment = replace(experiment, workload=with_scale(experiment.workload, run.scale))
    found = simulate(experiment, run.system, run.seed)
    if found.totals.broken_promises:
        raise SystemExit(f"the promise of aging was broken {found.totals.broken_promises} times")
    return found


def measured(settings: dict[str, Online], run: Run, cap: int | None = None) -> dict[str, Any]:
    """Make a run, as `simulated` does, and return its measures, as plain numbers."""
    found = simulated(settings, run, cap)
    totals = found.totals
    seconds, unfair = latencies(found.after(0.1)), fairness(found.after(0.1))
    ended = found.finished[found.has_ended]
    return {
        "attainment": attainment(found),
        "scale": None if run.system.enforces_deadlines else tightest_scale(found),
        "mean": float(np.mean(seconds)),
        "p50": rank_quantile(seconds, 0.5),
        "p90": rank_quantile(seconds, 0.9),
        "p99": rank_quantile(seconds, 0.99),
        "accuracy": float(found.quality.mean()),
        "tokens": float(found.tokens.mean()),
        "knob": float(found.knob.mean()),
        "tokens_per_second": totals.generated_tokens / float(ended.max()),
        "saturated_tokens_per_second": saturated_throughput(found),
        "kv_mean": totals.kv_mean,
        "kv_max": totals.kv_max,
        "cached": totals.cached_tokens / max(1, totals.cached_tokens + totals.prefill_tokens),
        "preemptions": totals.preemptions,
        "crossings": totals.crossings,
        "broken_promises": totals.broken_promises,  # 0, or the script has ended
        "longest_wait": float(found.longest_wait.max()),
        "wait_over_solo": float(waits_over_solo(found).max()),
        "unfair_p50": rank_quantile(unfair, 0.5),
        "unfair_p90": rank_quantile(unfair, 0.9),
        "unfair_p99": rank_quantile(unfair, 0.99),
        "unfair_most": float(unfair.max()),
        "jain": jain(1 / unfair),  # tokens a second
        "is_saturated": is_saturated(found),
        "decision_us": 1e6 * totals.scheduler_seconds / totals.decisions,
    }


def p90_load(settings: dict[str, Online], run: Run, least_accuracy: float = 0.0) -> dict[str, Any]:
    """Return the highest load with 90 % of programs in time, and how the run there went.

    `run.load` is where the search begins. A load at which accuracy is below the least does not
    count either.
    """
    kept: dict[float, dict[str, Any]] = {}

    def attained(load: float) -> float:
        kept[load] = measured(settings, _with(run, load=load))
        is_good = kept[load]["accuracy"] >= least_accuracy
        return float(kept[load]["attainment"]) if is_good else 0.0

    found = rate_at(attained, Within(run.load / BRACKET, run.load * BRACKET, TOLERANCE))
    at = {} if found.value is None else kept[found.value]
    return {"load": found.value, "verdict": found.verdict, **at}


def tightest_at(settings: dict[str, Online], run: Run) -> dict[str, Any]:
    """Return the tightest scale with 90 % of programs in time at the run's load.

    One run says it where nobody looks at deadlines; else `run.scale` is where the search begins.
    """
    if not run.system.enforces_deadlines:
        return {**measured(settings, _with(run, scale=1.0)), "verdict": "found"}
    kept: dict[float, dict[str, Any]] = {}

    def attained(scale: float) -> float:
        kept[scale] = measured(settings, _with(run, scale=scale))
        return float(kept[scale]["attainment"])

    found = tightest(attained, Within(run.scale / BRACKET, run.scale * BRACKET, TOLERANCE))
    at = {} if found.value is None else kept[found.value]
    return {**at, "scale": found.value, "verdict": found.verdict}


def attained_at(settings: dict[str, Online], task: tuple[Run, Sequence[float]]) -> list[float]:
    """Return the attainment of a run at each scale; one run says all where nobody looks at them."""
    run, scales = task
    if run.system.enforces_deadlines:
        runs = [_with(run, scale=scale) for scale in scales]
        return [attainment(simulated(settings, one)) for one in runs]
    found = simulated(settings, run)
    return [attainment(found, scale) for scale in scales]


def _with(run: Run, **changed: Any) -> Run:
    values = {name: getattr(run, name) for name in ("setting", "system", "seed", "load", "scale")}
    return Run(**{**values, **changed})


def interval(values: Sequence[float | None]) -> Spread | None:
    """Return the mean of one value a seed, and its 95 % interval (Student's t).

    None where a seed has no value: a search that found nothing has no mean. One seed has no
    bounds: they are None, for JSON has no infinity.
    """
    known = [value for value in values if value is not None]
    return _spread(over_seeds(known)) if len(known) == len(values) else None


def ratio(left: Sequence[float | None], right: Sequence[float | None]) -> Spread | None:
    """Return the geometric mean of `left / right` over the same seeds, and its 95 % interval.

    None where a seed has no value, as for `interval`.
    """
    above = [value for value in left if value is not None]
    below = [value for value in right if value is not None]
    if not len(above) == len(below) == len(left):
        return None
    return _spread(ratio_over_seeds(above, below))


def spread(one: Spread | None, digits: int = 2) -> str:
    """Return a mean and its interval for people; a dash where there is none."""
    if one is None:
        return "-"
    low, high = one["low"], one["high"]
    bounds = "" if low is None or high is None else f" ({low:.{digits}f}, {high:.{digits}f})"
    return f"{one['mean']:.{digits}f}{bounds}"


def _spread(found: Interval) -> Spread:
    values = {"mean": found.estimate, "low": found.low, "high": found.high}
    return {name: value if isfinite(value) else None for name, value in values.items()}
