"""The policies that a calibration tries: a grid of parameters for each policy that has some."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from dynasor.core.errors import UnknownName
from dynasor.core.types import PolicySpec
from dynasor.evaluate.offline import length_specs
from dynasor.evaluate.recorded import Recorded

__all__ = ["CALIBRATED", "FITTED", "candidates"]

Params = dict[str, object]

FITTED = ("skyline",)
"""Policies whose parameters are fitted to the questions: `dynasor.calibrate.skyline`."""
CALIBRATED = ("threshold", "stepwise", "esc", "beta", "sequential", "length", *FITTED)
"""Policies that have parameters worth choosing."""

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(11))
"""Certaindex from where classes begin to agree up to where all of them do."""
CONFIDENCES = (0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)


def candidates(
    policy: str, questions: Sequence[Recorded], cap: int, has_lock: bool
) -> list[PolicySpec]:
    """Return what to try of a policy; raises `UnknownName` for one that has nothing to try."""
    grids = _grids(cap)
    if policy == "length":
        params = [spec.params for spec in length_specs(questions, cap)]
    elif policy in grids:
        params = grids[policy]
    else:
        raise UnknownName("policy to calibrate:", policy, CALIBRATED)
    return [PolicySpec(policy, one, has_lock) for one in params]


def _grids(cap: int) -> dict[str, list[Params]]:
    """Return the grids; what would first look beyond the cap is left out."""
    detects = [detect for detect in (3, 5, 8, 10) if detect < cap] or [1]
    windows = [window for window in (2, 3, 4, 5, 6, 8, 10) if window < cap] or [1]
    block = min(5, cap)
    return {
        "threshold": [{"detect": d, "at": at} for d, at in product(detects, THRESHOLDS)],
        "stepwise": [
            {"every": every, "at": at}
            for every, levels in ((block, THRESHOLDS), (1, THRESHOLDS[4::2]))
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
