"""Token-to-accuracy curves: what policies spend and reach, and what even allocation needs for it.

Even allocation is read off the votes after each sample (`dynasor.evaluate.recorded.trajectory`):
the same numbers as its replays, one branch in flight, at every cap at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from dynasor.calibrate import Chosen
from dynasor.core.types import PolicySpec
from dynasor.evaluate import Interval
from dynasor.evaluate.offline import Means, with_width
from dynasor.evaluate.recorded import Recorded, trajectory
from dynasor.evaluate.replay import Job, replay_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "HEAD",
    "LINES",
    "WIDE",
    "Even",
    "Outcomes",
    "caps",
    "even_outcomes",
    "line",
    "over_splits",
    "percent",
    "plot",
    "point",
    "replayed",
    "saved_at_accuracy",
    "shuffles",
]

RESAMPLES = 1000
WIDE = 50
"""Shuffles of even's curve, which costs little."""
MANY = 500
"""Questions beyond which shuffles are saved; replays then take minutes a shuffle and figure."""
LINES = {
    "even": ("#777777", "o"),
    "length": ("#b5534c", "v"),
    "predictor": ("#9467a8", "D"),
    "threshold": ("#d99a2b", "s"),
    "beta": ("#4c9a6a", "^"),
    "sequential": ("#1769aa", "P"),
    "oracle": ("#222222", "*"),
}
"""Every method's colour and marker, the same in all figures."""

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of every question under every shuffle: arrays of shape (shuffles, questions)."""

    tokens: Numbers
    quality: Numbers


@dataclass(frozen=True, slots=True)
class Even:
    """Even allocation at every cap from 1: arrays of shape (shuffles, questions, caps)."""

    tokens: Numbers
    quality: Numbers

    def at(self, cap: int, shuffles: int | None = None) -> Outcomes:
        """Return what becomes of every question at one cap, under the first shuffles or all."""
        return Outcomes(self.tokens[:shuffles, :, cap - 1], self.quality[:shuffles, :, cap - 1])

    def means(self, units: Numbers | int) -> Means:
        """Return every question's means over the shuffles, each at its own number of units."""
        knob = np.broadcast_to(np.asarray(units), self.tokens.shape[1:2])
        rows = np.arange(len(knob))
        tokens, quality = (
            each.mean(axis=0)[rows, knob - 1] for each in (self.tokens, self.quality)
        )
        knobs = knob.astype(float)
        return Means(tokens, knobs, knobs, quality, np.zeros(len(knobs)))


def shuffles(questions: Sequence[Recorded], seeds: int) -> int:
    """Return how many shuffles to replay: many questions need fewer for the same precision."""
    return seeds if len(questions) <= MANY else max(3, round(seeds * MANY / len(questions)))


def caps(most: int) -> list[int]:
    """Return the caps of a curve: by fives, as in the paper."""
    return list(range(5, most + 1, 5))


def even_outcomes(questions: Sequence[Recorded], cap: int, seeds: int) -> Even:
    """Return what even allocation spends and reaches at every cap up to this one."""
    paths = [[trajectory(one, cap, seed) for one in questions] for seed in range(seeds)]
    return Even(
        np.array([[path.tokens for path in row] for row in paths], dtype=float),
        np.array([[path.quality for path in row] for row in paths]),
    )


def replayed(
    questions: Sequence[Recorded],
    work: Sequence[tuple[PolicySpec, int]],
    seeds: int,
    processes: int | None = 1,
) -> list[Outcomes]:
    """Replay policies at caps, one branch in flight."""
    jobs = [Job(with_width(spec, 1), cap) for spec, cap in work]
    return [
        Outcomes(np.array([one.tokens for one in row]), np.array([one.quality for one in row]))
        for row in replay_all(questions, jobs, range(seeds), processes)
    ]


def point(own: Outcomes, even: Even, cap: int, **knob: float) -> dict[str, Any]:
    """Return one point of a curve: means a question, deviations over shuffles, and what it saves.

    It is compared with even allocation at the same cap on the same shuffles, which are the first
    of `even`, and with even's curve at the same accuracy.
    """
    by_shuffle = {"tokens": own.tokens.mean(axis=1), "accuracy": own.quality.mean(axis=1)}
    full = even.at(cap, len(own.tokens))
    return {
        "cap": cap,
        **knob,
        **{name: float(values.mean()) for name, values in by_shuffle.items()},
        **{f"{name}_std": float(values.std()) for name, values in by_shuffle.items()},
        "saved_at_cap": 1 - float(own.tokens.mean() / full.tokens.mean()),
        "change_at_cap": float(own.quality.mean() - full.quality.mean()),
        "saved_at_accuracy": asdict(saved_at_accuracy(own, even, cap)),
    }


def saved_at_accuracy(own: Outcomes, even: Even, cap: int, seed: int = 0) -> Interval:
    """Return the share of even's tokens that a policy saves at the accuracy that it reaches.

    Even's curve is made to rise throughout (isotonic regression: where it is flat, its wiggles are
    noise), and read where it first gets to that accuracy, between two caps in proportion; where it
    never does, where it first gets to its best, which is in even's favour. `even` may have more
    shuffles: the policy is then placed by its difference to even on the shuffles that it has (a
    control variate). The interval is 95 %, bootstrap over questions.
    """
    count = own.tokens.shape[1]
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    weights = np.vstack([np.ones(count), draws]) / count
    same = even.at(cap, len(own.tokens))
    tokens, curves = (weights @ each.mean(axis=0) for each in (even.tokens, even.quality))
    spent = weights @ (own.tokens - same.tokens).mean(axis=0) + tokens[:, cap - 1]
    reached = weights @ (own.quality - same.quality).mean(axis=0) + curves[:, cap - 1]
    needed = [_read(*row) for row in zip(tokens, curves, reached, strict=True)]
    saved = 1 - spent / np.array(needed)
    low, high = np.quantile(saved[1:], [0.025, 0.975])
    return Interval(float(saved[0]), float(low), float(high))


def _read(tokens: Numbers, curve: Numbers, accuracy: float) -> float:
    """Return the tokens at which a curve first gets to an accuracy, or to its best."""
    from scipy.optimize import isotonic_regression  # noqa: PLC0415 - half a second to import

    rising = isotonic_regression(curve).x
    asked = min(accuracy, rising[-1])
    place = int(np.searchsorted(rising, asked - 1e-9))
    if place == 0:
        return float(tokens[0])
    share = (asked - rising[place - 1]) / (rising[place] - rising[place - 1])
    return float(tokens[place - 1] + share * (tokens[place] - tokens[place - 1]))


def over_splits(chosen: Sequence[Chosen]) -> dict[str, Any]:
    """Return what was saved and lost on the questions judged: mean and range over splits."""
    return {
        name: _spread([getattr(one.judged, name).estimate for one in chosen])
        for name in ("saved", "accuracy_change")
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": fmean(values), "least": min(values), "most": max(values)}


def percent(spread: dict[str, float], sign: str = "") -> str:
    """Write a spread over splits in percent."""
    mean, least, most = (f"{100 * spread[key]:{sign}.1f}" for key in ("mean", "least", "most"))
    return f"{mean:>6} ({least} to {most})"


HEAD = f"{'':<26}{'tokens':>9} {'accuracy %':>12}  saved at the cap %  saved at the accuracy %"


def line(name: str, entry: dict[str, Any]) -> str:
    """Return one line of a table, as `HEAD` names its columns."""
    saved = entry["saved_at_accuracy"]
    return (
        f"{name:<26}{entry['tokens']:9.1f} {100 * entry['accuracy']:6.2f} ± "
        f"{100 * entry['accuracy_std']:.2f}  {100 * entry['saved_at_cap']:5.1f} "
        f"({100 * entry['change_at_cap']:+.2f} points)  {100 * saved['estimate']:6.1f} "
        f"({100 * saved['low']:.1f} to {100 * saved['high']:.1f})"
    )


def plot(axes: Axes, points: Sequence[dict[str, Any]], **look: Any) -> None:
    """Draw a curve; bars are deviations over shuffles."""
    axes.errorbar(
        [one["tokens"] for one in points],
        [100 * one["accuracy"] for one in points],
        [100 * one.get("accuracy_std", 0.0) for one in points],
        markersize=4,
        linewidth=1.2,
        elinewidth=0.7,
        **look,
    )
