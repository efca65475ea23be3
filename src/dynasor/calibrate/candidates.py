"""The policies that a calibration tries: a grid of parameters for each policy that has some."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from msgspec import Struct

from dynasor.core.errors import UnknownName
from dynasor.core.types import PolicySpec
from dynasor.evaluate.coded import Made
from dynasor.evaluate.offline import length_specs
from dynasor.evaluate.recorded import Recorded
from dynasor.programs import Mcts

__all__ = ["CALIBRATED", "FITTED", "Tries", "candidates", "tries_of"]

Params = dict[str, object]

FITTED = ("skyline",)
"""Policies whose parameters are fitted to the questions: `dynasor.calibrate.skyline`."""
CALIBRATED = ("threshold", "stepwise", "esc", "beta", "sequential", "length", *FITTED)
"""Policies that have parameters worth choosing."""

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(11))
"""Certaindex from where classes begin to agree up to where all of them do."""
CONFIDENCES = (0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
LEVELS = 9
"""Thresholds tried on a signal whose scale is the model's own: so many quantiles of it."""
COARSE = 3
"""Of the thresholds on one signal every so manieth is tried together with those on another."""


class Tries(Struct, frozen=True):
    """What thresholds are tried on, where that is not `entropy` alone.

    `levels` are the thresholds on each signal, `detects` the units after which they are looked
    at; empty ones are for independent samples.
    """

    levels: dict[str, tuple[float, ...]] = {}
    detects: tuple[int, ...] = ()

    def thresholds(self) -> list[float | dict[str, float]]:
        """Return what is tried: each signal alone, and a coarser grid of all of them together."""
        if not self.levels:
            return list(THRESHOLDS)
        alone = [{name: at} for name, levels in self.levels.items() for at in levels]
        coarse = product(*(levels[::COARSE] for levels in self.levels.values()))
        together = [dict(zip(self.levels, at, strict=True)) for at in coarse]
        return [*alone, *(together if len(self.levels) > 1 else [])]


def tries_of(made: Made, questions: Sequence[Recorded]) -> Tries:
    """Return what to try of the program that made a trace.

    A search is looked at where its recording has a search end, if it says so. Thresholds on
    rewards are quantiles of those that finished paths have: every reward model has its own scale.
    """
    cap = made.cap or 1
    if any(one.thoughts for one in questions):
        return Tries({"entropy": THRESHOLDS, "confidence": CONFIDENCES}, (1,))
    if not any(one.searches for one in questions):
        return Tries()
    rewards = [
        step.reward
        for one in questions
        for steps in one.searches
        for step in steps
        if step.is_finished and step.reward is not None
    ]
    quantiles = np.quantile(rewards or [1.0], np.linspace(0.1, 1.0, LEVELS))
    levels = tuple(sorted({round(float(level), 4) for level in quantiles}))
    detects = (made.detect,) if made.detect else tuple({max(1, cap // 4), max(1, cap // 2)})
    if made.program.name == Mcts.name:
        detects = tuple(detect for detect in (2, 3, 5, 8) if detect < cap) or (1,)
    return Tries({"entropy": THRESHOLDS, "reward": levels}, detects)


def candidates(
    policy: str,
    questions: Sequence[Recorded],
    cap: int,
    has_lock: bool,
    tries: Tries = Tries(),  # noqa: B008 - a frozen struct
) -> list[PolicySpec]:
    """Return what to try of a policy; raises `UnknownName` for one that has nothing to try."""
    grids = _grids(cap, tries)
    if policy == "length":
        looks = tries.detects or (5,)
        params = [spec.params for detect in looks for spec in length_specs(questions, cap, detect)]
    elif policy in grids:
        params = grids[policy]
    else:
        raise UnknownName("policy to calibrate:", policy, CALIBRATED)
    return [PolicySpec(policy, one, has_lock) for one in params]


def _grids(cap: int, tries: Tries) -> dict[str, list[Params]]:
    """Return the grids; what would first look beyond the cap is left out."""
    detects = [detect for detect in tries.detects or (3, 5, 8, 10) if detect < cap] or [1]
    thresholds = tries.thresholds()
    windows = [window for window in (2, 3, 4, 5, 6, 8, 10) if window < cap] or [1]
    block = min(5, cap)
    return {
        "threshold": [{"detect": d, "at": at} for d, at in product(detects, thresholds)],
        "stepwise": [
            {"every": every, "at": at}
            for every, levels in (
                [(1, thresholds)] if tries.levels else [(block, thresholds), (1, thresholds[4::2])]
            )
            for at in levels
        ],
        "esc": [{"window": window} for window in windows],
        "beta": [{"confidence": confidence} for confidence in CONFIDENCES],
        "sequential": _sequential(cap),
    }


def _sequential(cap: int) -> list[Params]:
    bounds = list(product((0.9, 0.95, 0.97, 0.98), (0.5, 0.6, 0.7, 0.8)))
    patiences = sorted({max(2, round(cap * share)) for share in (0.5, 0.65)})
    grid: list[Params] = [{"confidence": c, "final": f} for c, f in bounds]
    grid += [
        {"confidence": c, "final": f, "futility": futility, "patience": patience}
        for (c, f), futility, patience in product(bounds, (0.2, 0.3), patiences)
    ]
    return grid
