"""The figures of a load: pure functions of what became of its programs.

Latency counts from the scheduled departure, not from when a generator that had to wait got round
to sending: else a server that stalls is measured where it does not ("coordinated omission", G.
Tene, https://github.com/giltene/wrk2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from dynasor.load.outcome import ANSWERED, DEADLINE, FAILED, Outcome
from dynasor.load.planning import Departure, rate_of

__all__ = ["figures", "has_fallen_behind", "percentiles"]

LAG_SHARE = 0.05
"""A generator whose lag is a larger part of the usual latency measures itself."""
LAG_SECONDS = 0.005
"""Timers of an event loop are no finer than a few of these, on a busy machine."""


def figures(
    outcomes: Sequence[Outcome],
    planned: Sequence[Departure],
    *,
    deadline_seconds: float | None = None,
    warm_up: float = 0.0,
) -> dict[str, Any]:
    """Return the figures as JSON values; None where there is nothing to measure.

    The first programs of the plan, a share `warm_up` in [0, 1), are left out: they met an emptier
    server. Times are seconds, rates are per second. `attainment` is the share of all programs that
    ended by themselves within the deadline: a failure misses it, and so does one that never ended.
    """
    skipped = {one.program for one in planned[: ceil(warm_up * len(planned))]}
    kept = [one for one in outcomes if one.program not in skipped]
    due = [one.due for one in planned]
    served = [one for one in kept if one.status != FAILED]
    programs = len(planned) - len(skipped)
    latencies = [one.latency for one in served]
    return {
        "programs": programs,
        "answered": sum(one.status == ANSWERED for one in kept),
        "ended_by_deadline": sum(one.status == DEADLINE for one in kept),
        "failed": len(kept) - len(served),
        "unfinished": programs - len(kept),
        "failed_calls": sum(one.failed_calls for one in kept),
        "errors": dict(Counter(one.error for one in kept if one.error).most_common()),
        "offered_rate": _rounded(rate_of(due)),
        "sent_rate": _rounded(rate_of(sorted(one.sent for one in outcomes))),
        "achieved_rate": _each_second(len(served), served),
        "deadline_seconds": deadline_seconds,
        "attainment": _attainment(kept, programs, deadline_seconds),
        "latency_seconds": percentiles(latencies),
        "first_event_seconds": percentiles([one.first - one.due for one in served if one.first]),
        "lag_seconds": percentiles([one.lag for one in kept]),
        "has_fallen_behind": has_fallen_behind(kept),
        **_tokens(served),
        **_accuracy(kept),
    }


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return mean, percentiles (nearest rank: each is one of the values) and greatest value."""
    if not values:
        return None
    ranks = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    found = np.quantile(values, list(ranks.values()), method="inverted_cdf")
    return {
        "mean": round(float(np.mean(values)), 6),
        **{name: round(float(value), 6) for name, value in zip(ranks, found, strict=True)},
        "max": round(max(values), 6),
    }


def has_fallen_behind(outcomes: Sequence[Outcome]) -> bool:
    """Return whether the generator was late by what is no longer negligible.

    One program in a hundred left later than by 5 ms and by a twentieth of the median latency.
    """
    lag = percentiles([one.lag for one in outcomes])
    latency = percentiles([one.latency for one in outcomes])
    if lag is None or latency is None:
        return False
    return lag["p99"] > max(LAG_SECONDS, LAG_SHARE * latency["p50"])


def _each_second(count: int, served: Sequence[Outcome]) -> float | None:
    """Return a count as a rate, from the first departure to the last answer."""
    if not served:
        return None
    seconds = max(one.ended for one in served) - min(one.due for one in served)
    return _rounded(count / seconds) if seconds > 0 else None


def _attainment(kept: Sequence[Outcome], programs: int, deadline: float | None) -> float | None:
    if deadline is None or not programs:
        return None
    in_time = sum(one.status == ANSWERED and one.latency <= deadline for one in kept)
    return round(in_time / programs, 6)


def _tokens(served: Sequence[Outcome]) -> dict[str, Any]:
    completion = sum(one.usage.completion_tokens for one in served)
    return {
        "prompt_tokens": sum(one.usage.prompt_tokens for one in served),
        "completion_tokens": completion,
        "completion_tokens_a_program": _rounded(completion / len(served)) if served else None,
        "completion_tokens_a_second": _each_second(completion, served),
        "estimated_programs": sum(not one.usage.is_counted for one in served),
    }


def _accuracy(kept: Sequence[Outcome]) -> dict[str, Any]:
    judged = [one.is_right for one in kept if one.is_right is not None]
    return {
        "judged": len(judged),
        "accuracy": round(sum(judged) / len(judged), 6) if judged else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
