"""Measures of one run: attainment, latency, fairness, throughput, saturation.

Every measure is of the programs that it is given; `Simulated.after` leaves out those of the
warm-up, `Simulated.of_part` the other parts. A program that had not ended when the run did is
never left out: it has missed its deadline, and its latency is inf.
"""

from __future__ import annotations

from math import ceil, inf, nan

import numpy as np

from dynasor.core.errors import UserError
from dynasor.online.outcome import Numbers, Simulated

__all__ = [
    "WARM_UP",
    "attainment",
    "fairness",
    "is_saturated",
    "jain",
    "latencies",
    "live_between",
    "rank_quantile",
    "saturated_throughput",
    "tightest_scale",
    "waits_over_solo",
]

WARM_UP = 0.1
"""Share of the programs, the first ones, that met an emptier system than those that follow."""
FALLS_BEHIND = 0.05
"""A run that leaves more than this share of the arrivals behind is saturated."""
DEVIATIONS = 3.0
"""Standard deviations beyond which a number of live programs has grown, and did not just vary."""


def attainment(sim: Simulated, scale: float = 1.0, warm_up: float = WARM_UP) -> float:
    """Return the share of programs that ended by themselves within `scale` times their deadline.

    Programs without a deadline are left out; nan where none has one. The first programs, a share
    `warm_up`, are left out too. Another scale than 1 says what the same run would have attained
    with other deadlines that nothing looks at; raises `UserError` where programs were ended at
    their deadlines, and a larger scale is asked for.
    """
    ratios = _ratios(sim.after(warm_up), scale)
    return float(np.mean(ratios <= scale)) if len(ratios) else nan


def tightest_scale(sim: Simulated, at: float = 0.9, warm_up: float = WARM_UP) -> float:
    """Return the least scale of the deadlines at which a share `at`, in (0, 1], is in time.

    It is in multiples of the run's own deadlines (scale x factor x base), and inf where no scale
    is wide enough, since too many programs never ended. Raises as `attainment` does for a larger
    scale: where deadlines end programs, search with `dynasor.online.search.tightest`.
    """
    return rank_quantile(_ratios(sim.after(warm_up), inf), at)


def _ratios(sim: Simulated, scale: float) -> Numbers:
    """Return latency over deadline of the programs that have one; inf if not ended by itself."""
    ended = sim.status == "deadline"
    if scale > 1 and ended.any():
        raise UserError(
            f"deadlines ended {np.count_nonzero(ended)} programs, so what they would have taken is "
            "not known: run again with wider deadlines, or with deadlines that end nothing"
        )
    ratios = np.full(len(sim), inf)
    done = sim.is_complete
    ratios[done] = sim.latency[done] / sim.deadline[done]
    return ratios[np.isfinite(sim.deadline)]


def latencies(sim: Simulated) -> Numbers:
    """Return the seconds from arrival to the answer, inf where the run ended before.

    Programs that failed are left out: how fast an error comes is no merit.
    """
    kept = sim.where(~sim.has_failed)
    return np.where(kept.has_ended, kept.latency, inf)


def fairness(sim: Simulated) -> Numbers:
    """Return the finish-time fairness of programs: latency over tokens at the full cap.

    In seconds a token, the lower the better; inf where the run ended before. Programs that failed,
    or that would use no token, are left out. From the paper, sections 5.3.1 and 6.6, figure 14.
    """
    kept = sim.where(~sim.has_failed & (sim.full_tokens > 0))
    return latencies(kept) / kept.full_tokens


def jain(values: Numbers) -> float:
    """Return Jain's index of how equal values are, in [1/n, 1]: 1 where all are the same.

    nan where there are none, all are 0 or one is not finite. From Jain, Chiu and Hawe, "A
    quantitative measure of fairness", DEC-TR-301 (1984).
    """
    if not len(values) or not np.isfinite(values).all() or not values.any():
        return nan
    parts = values / values.max()  # else the squares of tiny values vanish
    return float(parts.sum() ** 2 / (len(parts) * np.square(parts).sum()))


def waits_over_solo(sim: Simulated) -> Numbers:
    """Return the longest wait of each program over its time alone on an idle engine."""
    kept = sim.where(sim.solo_seconds > 0)
    return kept.longest_wait / kept.solo_seconds


def rank_quantile(values: Numbers, at: float) -> float:
    """Return the least value that a share of at least `at`, in (0, 1], of the values do not exceed.

    The nearest rank: one of the values, so that inf may be among them; nan where there are none.
    """
    if not len(values):
        return nan
    rank = max(ceil(at * len(values) - 1e-9), 1)  # 0.07 * 100 is a little more than 7
    return float(np.partition(values, rank - 1)[rank - 1])


def saturated_throughput(sim: Simulated) -> float:
    """Return tokens generated a second while calls waited; nan where none ever did.

    Counted between samples of the course of which both saw a call wait.
    """
    course = sim.course
    is_full = (course.waiting[:-1] > 0) & (course.waiting[1:] > 0)
    seconds = float(np.diff(course.seconds)[is_full].sum())
    return float(np.diff(course.generated)[is_full].sum()) / seconds if seconds > 0 else nan


def is_saturated(sim: Simulated) -> bool:
    """Return whether the number of live programs kept growing for as long as programs arrived.

    The time of arrivals is cut into quarters; the mean numbers live in the second, third and
    fourth must rise, and from the second to the fourth by more than a twentieth of the programs
    that arrived meanwhile (the engines leave that share behind) and by more than three standard
    deviations of a number that varies as a Poisson variable does, as it would where the engines
    keep up. The first quarter is the filling up. Of 100 queues of 20 servers and 800 arrivals this
    calls saturated none at 80 % of what the servers can do, 3 at 90 %, 65 at 110 %, 96 at 125 %.
    A run whose arrivals last less than a few latencies rises all the time, and reads as saturated:
    it has not settled. Programs that all arrive at once have no rate, and saturate nothing.
    """
    begin, end = (float(sim.arrived[0]), sim.totals.last_arrival) if len(sim) else (0.0, 0.0)
    if end <= begin:
        return False
    cuts = np.linspace(begin, end, 5)
    second, third, fourth = (live_between(sim, cuts[k], cuts[k + 1]) for k in (1, 2, 3))
    middles = (cuts[1:] + cuts[:-1]) / 2
    came = np.count_nonzero((sim.arrived > middles[1]) & (sim.arrived <= middles[3]))
    growth = fourth - second
    return bool(
        second < third < fourth
        and growth > FALLS_BEHIND * came
        and growth > DEVIATIONS * second**0.5
    )


def live_between(sim: Simulated, begin: float, end: float) -> float:
    """Return the mean number of live programs from `begin` to `end`, in seconds."""
    ends = np.where(sim.has_ended, sim.finished, inf)
    inside = np.minimum(ends, end) - np.maximum(sim.arrived, begin)
    return float(np.maximum(inside, 0.0).sum()) / (end - begin)
