"""Certaindex against samples needed: what figures 3, 4 and 5 compute and draw alike.

A question is *unsolvable* where the whole vote is worth nothing in more than half of the shuffles,
*early stoppable* where its vote has, on average over the others, settled on its final worth by the
detection step, and *solvable* otherwise. Numbers are means over shuffles, as in the paper: the
samples needed over those that solve the question, the certaindex over all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynasor.evaluate.paired import Interval
from dynasor.evaluate.recorded import Recorded, Trajectory, check_cap, trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "KINDS",
    "Paths",
    "Points",
    "correlate",
    "correlation",
    "legend_entries",
    "panel",
    "paths",
    "points",
    "resampled",
    "spoken",
    "written",
]

RESAMPLES = 1_000
FEWEST = 4
"""Questions below which a correlation says nothing."""

TICKS = (1, 2, 3, 5, 10, 20, 30)
KINDS = {
    "early": ("#4c9a6a", "o", "early stoppable"),
    "solvable": ("#1769aa", "D", "solvable"),
    "unsolvable": ("#b5534c", "s", "unsolvable"),
}

Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]
Places = np.ndarray[tuple[int], np.dtype[np.int64]]
Statistic = Callable[[Places], tuple[float, float] | None]
Intervals = dict[str, Interval]
Paths = list[list[Trajectory]]
"""The votes of every question on every shuffle: `[question][seed]`."""


@dataclass(frozen=True, slots=True)
class Points:
    """One point a question; `needed` is NaN where it is unsolvable."""

    certaindex: Numbers
    needed: Numbers
    is_early: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @property
    def is_solvable(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which questions are solvable, those that are early stoppable among them."""
        return ~np.isnan(self.needed)

    def of_kind(self, kind: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return which questions are of one of the `KINDS`."""
        if kind == "unsolvable":
            return ~self.is_solvable
        return self.is_solvable & (self.is_early if kind == "early" else ~self.is_early)


def paths(questions: Sequence[Recorded], cap: int, seeds: Iterable[int]) -> Paths:
    """Return the votes of every question on every shuffle; raises `UserError` for a bad cap."""
    check_cap(questions, cap)
    shuffles = list(seeds)
    return [[trajectory(one, cap, seed) for seed in shuffles] for one in questions]


def points(votes: Paths, detect: int) -> Points:
    """Return each question's mean certaindex after `detect` samples and mean samples needed."""
    rows = [_point(shuffles, detect) for shuffles in votes]
    certaindex, needed, settled = (np.array(column) for column in zip(*rows, strict=True))
    return Points(certaindex, needed, settled <= detect)


def _point(shuffles: Sequence[Trajectory], detect: int) -> tuple[float, float, float]:
    certaindex = float(np.mean([one.certaindex[detect - 1] for one in shuffles]))
    solved = [(one.needed, one.settled) for one in shuffles if one.needed is not None]
    if 2 * len(solved) < len(shuffles):
        return certaindex, np.nan, np.nan
    needed, settled = np.mean(solved, axis=0)
    return certaindex, float(needed), float(settled)


def correlation(left: Numbers, right: Numbers) -> tuple[float, float] | None:
    """Return Pearson's r and Kendall's tau-b; None where one side hardly varies."""
    from scipy.stats import kendalltau, pearsonr  # noqa: PLC0415 - slow to import

    if len(left) < FEWEST or np.ptp(left) < 1e-9 or np.ptp(right) < 1e-9:
        return None
    return float(pearsonr(left, right).statistic), float(kendalltau(left, right).statistic)


def correlate(left: Numbers, right: Numbers) -> Intervals | None:
    """Return both correlations with their intervals; None where one side hardly varies."""
    return resampled(lambda draw: correlation(left[draw], right[draw]), len(left), RESAMPLES)


def resampled(statistic: Statistic, count: int, resamples: int) -> Intervals | None:
    """Return what `statistic` says of `count` questions with 95 % intervals, bootstrap over them.

    It is given the places of the questions drawn and returns two correlations, or None; what
    resamples give none is left out. None where all the questions give none.
    """
    estimate = statistic(np.arange(count))
    if estimate is None:
        return None
    draws = np.random.default_rng(0).integers(0, count, size=(resamples, count))
    found = [one for draw in draws if (one := statistic(draw)) is not None]
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    return {
        name: Interval(estimate[at], float(low[at]), float(high[at]))
        for at, name in enumerate(("pearson", "kendall"))
    }


def written(found: Points) -> dict[str, Any]:
    """Return the points by kind as `[certaindex, needed, how many]`, rounded, without names."""
    listed: dict[str, Any] = {}
    for kind in KINDS:
        chosen = found.of_kind(kind)
        pairs = zip(
            found.certaindex[chosen].round(2).tolist(),
            np.nan_to_num(found.needed[chosen], nan=-1).round(1).tolist(),
            strict=True,
        )
        listed[kind] = [
            [certaindex, None if needed < 0 else needed, count]
            for (certaindex, needed), count in sorted(Counter(pairs).items())
        ]
    return listed


def panel(axes: Axes, one: dict[str, Any], title: str) -> None:
    """Draw one panel: `one` has its `points`, `cap`, `detect`, `threshold` and `correlation`."""
    never = 1.4 * one["cap"]
    axes.axvspan(1.18 * one["cap"], 1.65 * one["cap"], color="#eeeeee", zorder=0)
    axes.axhline(one["threshold"], color="#e08214", linestyle="--", linewidth=1.2)
    axes.axvline(one["detect"], color="#333333", linestyle=":", linewidth=1.2)
    for kind, (colour, marker, _) in KINDS.items():
        rows = one["points"][kind]
        axes.scatter(
            [never if needed is None else needed for _, needed, _ in rows],
            [certaindex for certaindex, _, _ in rows],
            s=[8 + 6 * (count - 1) ** 0.7 for _, _, count in rows],
            color=colour,
            marker=marker,
            alpha=0.6,
            rasterized=True,  # thousands of points: a picture of them is a tenth of the file
            linewidth=0,
        )
    axes.set_title(f"{title}\n{spoken(one['correlation'])}", fontsize=9)
    axes.set_xscale("log")
    axes.minorticks_off()
    ticks = [tick for tick in TICKS if tick <= 0.75 * one["cap"]]
    axes.set_xticks([*ticks, never], labels=[*map(str, ticks), "never"])
    axes.set(xlim=(0.9, 1.65 * one["cap"]), ylim=(-0.03, 1.07))


def spoken(found: dict[str, Any] | None) -> str:
    """Say a pair of correlations with their intervals in one line."""
    if found is None:
        return "no correlation: one side is constant"
    return ", ".join(
        f"{name} {one['estimate']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
        for name, one in ((name, found[name]) for name in ("pearson", "kendall"))
    )


def legend_entries() -> list[Any]:
    """Return what a figure's legend explains: the kinds, the threshold and the detection step."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - only where a picture is asked for

    kinds = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=label)
        for colour, marker, label in KINDS.values()
    ]
    lines = [
        Line2D([], [], color="#e08214", linestyle="--", label="threshold"),
        Line2D([], [], color="#333333", linestyle=":", label="detection step"),
    ]
    return [*kinds, *lines]
