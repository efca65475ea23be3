"""What a cluster can carry: rates are fractions of the capacity measured under even."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from dynasor.core.allocation import EVEN
from dynasor.core.errors import DynasorError
from dynasor.core.types import PolicySpec
from dynasor.online.run import Experiment, simulate
from dynasor.online.systems import make_system
from dynasor.online.workload import Together, with_rate

__all__ = ["at_load", "even_capacity"]

FULL_BATCHES = 6
"""Programs to measure with, in batches that fill the cluster: most of them meet it full."""
FEWEST = 800
"""Programs at least: with 200 of math500-llama3.1-8b one seed was off by a tenth."""
FILLING, DRAINING = 0.25, 0.75
"""Shares of the endings between which the rate is measured."""


def even_capacity(experiment: Experiment, seed: int = 0, policy: PolicySpec = EVEN) -> float:
    """Return how many programs a second the cluster completes when it never idles.

    Measured: every program at once, each to its full cap, first come first served; the rate at
    which programs end between the first and the last quarter of the endings. The mix of parts is
    the workload's; deadlines play no part. `policy` is another one that uses up every cap, in the
    rounds in which searches were recorded.
    """
    workload, cluster = experiment.workload, experiment.cluster
    least_cap = min(part.cap for part in workload.parts)
    fills = cluster.replicas * cluster.model.max_running / least_cap
    programs = max(FEWEST, round(FULL_BATCHES * fills))
    parts = tuple(replace(part, policy=None, lock=True, deadline=None) for part in workload.parts)
    crowd = replace(workload, parts=parts, arrivals=Together(), programs=programs)
    found = simulate(
        replace(experiment, workload=crowd, horizon=None), make_system("fcfs", policy), seed
    )
    ends = np.sort(found.finished[~np.isnan(found.finished)])
    if len(ends) < programs:
        raise DynasorError(f"{programs - len(ends)} of {programs} programs never ended")
    first, last = round(FILLING * programs), round(DRAINING * programs)
    return float((last - first) / (ends[last] - ends[first]))


def at_load(experiment: Experiment, load: float, capacity: float) -> Experiment:
    """Return the experiment with arrivals at `load` times a capacity in programs a second."""
    return replace(experiment, workload=with_rate(experiment.workload, load * capacity))
