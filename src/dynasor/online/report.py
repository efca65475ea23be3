"""One run in figures, ready for JSON; `dynasor.online.tables` shows them to people."""

from __future__ import annotations

from math import isfinite, nan

import numpy as np
from msgspec import Struct

from dynasor.online.measures import (
    WARM_UP,
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
from dynasor.online.outcome import Numbers, Simulated

__all__ = ["Load", "Report", "Served", "Spread", "report"]


class Spread(Struct, frozen=True):
    """Mean, percentiles (nearest rank) and greatest of one number a program.

    A figure is None where there are no programs, or where it hangs on some that had not ended.
    """

    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    most: float | None


class Served(Struct, frozen=True, kw_only=True):
    """What programs got: all of a run's, or those of one part, without the warm-up's.

    `answered`, `at_deadline` (time ran out), `failed` and `unended` (live when the run ended)
    add up to `programs`. `attainment`, in [0, 1], and `tightest_scale`, for an attainment of
    90 %, are None where no program has a deadline, and the latter where deadlines end programs.
    `latency` and `first_start` (from the arrival) in seconds; `fairness`: finish-time fairness,
    in seconds a token, and `jain` how equal its inverse is, tokens a second (0 for a program that
    had not ended). `longest_wait`: the longest time that a program stood still, over its time
    alone on an idle engine.

    `accuracy`: mean worth of the answers, in [0, 1], of what has ended; a program that ran into
    its deadline counts with what it answered then. `tokens`, `knob`: means a program that has
    ended; `saved`: share of the tokens at the full cap that these did not use.
    """

    programs: int
    answered: int
    at_deadline: int
    failed: int
    unended: int
    attainment: float | None
    tightest_scale: float | None
    latency: Spread
    first_start: Spread
    fairness: Spread
    jain: float | None
    longest_wait: Spread
    accuracy: float | None
    tokens: float | None
    saved: float | None
    knob: float | None


class Load(Struct, frozen=True, kw_only=True):
    """What the engines and the scheduler did, over the whole run.

    `saturated_tokens_per_second` counts only while calls waited, None where none did; `busy` is
    the share of the replicas' time in which they made steps; `cached` the share of the prompt
    tokens found in the cache. `decision_seconds`: wall time of the scheduler an event. The others
    are those of `dynasor.online.outcome.Totals`.
    """

    seconds: float
    is_cut: bool
    is_saturated: bool
    replicas: int
    programs_per_second: float | None
    tokens_per_second: float | None
    saturated_tokens_per_second: float | None
    busy: float | None
    cached: float | None
    kv_mean: float
    kv_max: float
    waiting_mean: float
    steps: int
    preemptions: int
    refused: int
    decisions: int
    decision_seconds: float | None
    crossings: int
    broken_promises: int


class Report(Struct, frozen=True):
    """All figures of one run; `warm_up` is the share of the programs, the first, left out.

    `parts` is by name, and empty where there is only one.
    """

    warm_up: float
    all: Served
    parts: dict[str, Served]
    load: Load


def report(sim: Simulated, warm_up: float = WARM_UP) -> Report:
    """Return the figures of a run; `msgspec.json.encode` makes JSON of them."""
    counted = sim.after(warm_up)
    names = sim.parts if len(sim.parts) > 1 else ()
    parts = {name: _served(counted.of_part(name)) for name in names}
    return Report(warm_up, _served(counted), parts, _load(sim))


def _served(sim: Simulated) -> Served:
    ended = sim.where(sim.has_ended)
    is_enforced = bool((sim.status == "deadline").any())
    fair = fairness(sim)
    full = float(ended.full_tokens.sum())
    return Served(
        programs=len(sim),
        answered=int(np.count_nonzero(sim.is_complete)),
        at_deadline=int(np.count_nonzero(sim.status == "deadline")),
        failed=int(np.count_nonzero(sim.has_failed)),
        unended=len(sim) - len(ended),
        attainment=_known(attainment(sim, warm_up=0.0)),
        tightest_scale=None if is_enforced else _known(tightest_scale(sim, warm_up=0.0)),
        latency=_spread(latencies(sim)),
        first_start=_spread(_first_starts(sim)),
        fairness=_spread(fair),
        jain=_known(jain(1 / fair)),
        longest_wait=_spread(waits_over_solo(sim)),
        accuracy=_mean(ended.quality),
        tokens=_mean(ended.tokens),
        saved=1 - float(ended.tokens.sum()) / full if full else None,
        knob=_mean(ended.knob),
    )


def _first_starts(sim: Simulated) -> Numbers:
    """Return the seconds from arrival to the first start, inf where it never came."""
    kept = sim.where(~sim.has_failed)
    waits = kept.first_start - kept.arrived
    return np.where(np.isnan(waits), np.inf, waits)


def _load(sim: Simulated) -> Load:
    totals = sim.totals
    return Load(
        seconds=totals.end,
        is_cut=totals.is_cut,
        is_saturated=is_saturated(sim),
        replicas=totals.replicas,
        programs_per_second=_ratio(int(np.count_nonzero(sim.has_ended)), totals.end),
        tokens_per_second=_ratio(totals.generated_tokens, totals.end),
        saturated_tokens_per_second=_known(saturated_throughput(sim)),
        busy=_ratio(totals.busy_seconds, totals.end * totals.replicas),
        cached=_ratio(totals.cached_tokens, totals.cached_tokens + totals.prefill_tokens),
        kv_mean=totals.kv_mean,
        kv_max=totals.kv_max,
        waiting_mean=totals.waiting_mean,
        steps=totals.steps,
        preemptions=totals.preemptions,
        refused=totals.refused,
        decisions=totals.decisions,
        decision_seconds=_ratio(totals.scheduler_seconds, totals.decisions),
        crossings=totals.crossings,
        broken_promises=totals.broken_promises,
    )


def _spread(values: Numbers) -> Spread:
    ranks = (_known(rank_quantile(values, at)) for at in (0.5, 0.9, 0.99, 1.0))
    return Spread(_mean(values), *ranks)


def _mean(values: Numbers) -> float | None:
    return _known(float(values.mean()) if len(values) else nan)


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None
