"""Fitting skylines: from a certaindex to the most that a solvable question of it needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynasor.core.types import PolicySpec
from dynasor.evaluate.recorded import Recorded, Trajectory, trajectory

__all__ = ["fit_skyline"]

BINS = 20
"""Points of a curve: certaindices are binned downwards, so that a point never promises less."""


def fit_skyline(
    questions: Sequence[Recorded],
    cap: int,
    seeds: Sequence[int],
    every: int | None = None,
    covered: float = 1.0,
) -> PolicySpec:
    """Fit a skyline policy to labelled questions (paper, sections 3.2 and 6.4).

    At each reading the curve says, for a certaindex, how many samples it takes until the vote of
    the solvable questions with at least that certaindex has settled on what the whole vote says:
    of all of them with `covered` 1, of that share of them otherwise. `every` None reads once,
    after 5 samples.
    """
    detect = min(5, cap)
    paths = [trajectory(question, cap, seed) for question in questions for seed in seeds]
    solvable = [path for path in paths if path.needed is not None]
    readings = [detect] if every is None else list(range(detect, cap, every)) or [detect]
    curves = [_curve(solvable, knob, covered) for knob in readings]
    params: dict[str, object] = {"curves": curves, "detect": detect}
    if every is not None:
        params["every"] = every
    return PolicySpec("skyline", params, has_lock=False)


def _curve(paths: Sequence[Trajectory], knob: int, covered: float) -> list[list[float]]:
    """Return the curve after `knob` samples, by rising certaindex; its units never rise."""
    if not paths:
        return []
    level = np.floor(np.array([path.certaindex[knob - 1] for path in paths]) * BINS) / BINS
    needed = np.array([path.settled for path in paths])
    curve: list[list[float]] = []  # as JSON has them, for a profile
    most = 0
    for point in sorted(set(level.tolist()), reverse=True):
        here = needed[level >= point]
        most = max(most, int(np.quantile(here, covered, method="higher")))
        # A bin's upper edge: whoever falls into the bin reads its point.
        curve.append([min(1.0, round(point + 1 / BINS - 1e-6, 6)), most])
    return curve[::-1]
