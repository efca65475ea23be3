"""Figure 12's and table 4's MCTS halves, of the states of recorded searches (`_searches`).

Figure 12: thresholds as entropies in nats and as rewards, measured once after three iterations,
over the caps. Table 4: finer allocation by one signal, chosen on random halves of the problems.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from _alternating import EVEN
from _curves import HEAD, Even, Outcomes, line, over_splits, percent, plot, point
from _searches import CAUTIONS, ENTROPIES, Question, curve, outcome, reward_levels
from dynasor.calibrate import Aim, Chosen, Measurements, halves
from dynasor.core.types import PolicySpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["figure_12", "plot_figure_12", "show_halves", "table_4"]

MCTS_DETECT = 3
"""The paper's (table 1)."""
MCTS_CAPS = (3, 7, 10, 15, 20)
NATS = (0.25, 0.5, 0.75, 1.0)
REWARDS = (0.05, 0.1, 0.4, 0.7)
"""The paper's thresholds in figure 12, but for entropies that three answers cannot have."""
PAPER = {
    "static threshold": 0.130,
    "initial step curve": 0.136,
    "5-step threshold": 0.133,
    "single-step threshold": 0.136,
    "dynamic curve": 0.158,
}
"""Its savings of MCTS on ASDiv (table 4)."""
COVERED = (1.0, 0.9)


def figure_12(questions: Sequence[Question], judge: Sequence[int]) -> dict[str, Any]:
    """Return savings over thresholds, measured once after three iterations."""
    judged = [questions[place] for place in judge]
    even = even_of(judged)
    thresholds = [("entropy", nats, 1 - nats / log(MCTS_DETECT)) for nats in NATS]
    thresholds += [("reward", reward, reward) for reward in REWARDS]
    lines = []
    for signal, shown, at in thresholds:
        params = {"detect": MCTS_DETECT, "at": {signal: max(0.0, at)}}
        spec = PolicySpec("threshold", params, has_lock=False)
        points = [
            point(outcomes(spec, judged, cap), even, cap) for cap in MCTS_CAPS if cap > MCTS_DETECT
        ]
        lines.append({"signal": signal, "threshold": shown, "points": points})
    return {
        "even": [point(even.at(cap), even, cap) for cap in MCTS_CAPS],
        "lines": lines,
    }


def even_of(questions: Sequence[Question]) -> Even:
    """Return what even allocation spends and reaches at every cap."""
    tokens, quality = (
        np.array(
            [[[getattr(state, name) for state in run] for run in one] for one in questions],
            dtype=float,
        ).swapaxes(0, 1)
        for name in ("tokens", "quality")
    )
    return Even(tokens, quality)


def outcomes(spec: PolicySpec, questions: Sequence[Question], cap: int) -> Outcomes:
    """Return what a policy makes of every search at a cap."""
    runs = range(len(questions[0]))
    found = [outcome(spec, [[one[run]] for one in questions], cap) for run in runs]
    return Outcomes(
        np.array([one.tokens for one in found]), np.array([one.quality for one in found])
    )


def table_4(questions: Sequence[Question], aim: Aim, splits: int, signal: str) -> dict[str, Any]:
    """Return what finer allocation by one signal saves, over random halves of all problems."""
    cap = aim.cap
    even = outcome(EVEN, questions)
    levels = ENTROPIES if signal == "entropy" else reward_levels(questions, MCTS_DETECT)
    fixed = {
        name: [(spec, outcome(spec, questions)) for spec in specs]
        for name, specs in thresholds_4(levels, signal, cap).items()
    }
    chosen: dict[str, dict[str, list[Chosen]]] = {
        name: {caution: [] for caution in CAUTIONS} for name in PAPER
    }
    for seed in range(splits):
        fit, judge = halves(len(questions), seed)
        fitted = {
            name: [(spec, outcome(spec, questions)) for spec in specs]
            for name, specs in curves_4([questions[place] for place in fit], signal, cap).items()
        }
        for name, caution in product(PAPER, CAUTIONS):
            careful = replace(aim, caution=CAUTIONS[caution])
            table = Measurements((), careful, even, (), ())
            tried = {**fixed, **fitted}[name]
            chosen[name][caution].append(table.best(name, tried, fit, judge))
    return {
        name: {caution: over_splits(found) for caution, found in rows.items()}
        for name, rows in chosen.items()
    }


def thresholds_4(levels: Sequence[float], signal: str, cap: int) -> dict[str, list[PolicySpec]]:
    """Return what is tried for the rows of table 4 that have nothing to fit."""
    once = [
        PolicySpec("threshold", {"detect": MCTS_DETECT, "at": {signal: at}}, False) for at in levels
    ]
    by_five = [PolicySpec("stepwise", {"every": 5, "at": {signal: at}}, False) for at in levels]
    every = [
        skyline([[[max(0.0, at - 1e-9), cap], [1.0, MCTS_DETECT]]], signal, 1) for at in levels
    ]
    return {
        "static threshold": once,
        "5-step threshold": by_five,
        "single-step threshold": every,
    }


def curves_4(known: Sequence[Question], signal: str, cap: int) -> dict[str, list[PolicySpec]]:
    """Fit the rows of table 4 that are curves."""
    initial = [
        skyline([curve(known, signal, MCTS_DETECT, covered)], signal, None) for covered in COVERED
    ]
    dynamic = [
        skyline(
            [curve(known, signal, reading, covered) for reading in range(MCTS_DETECT, cap, every)],
            signal,
            every,
        )
        for every, covered in product((5, 1), COVERED)
    ]
    return {"initial step curve": initial, "dynamic curve": dynamic}


def skyline(curves: list[list[list[float]]], signal: str, every: int | None) -> PolicySpec:
    """Return the policy that reads curves from the detection step on."""
    params = {"curves": curves, "detect": MCTS_DETECT, "signal": signal}
    return PolicySpec("skyline", params if every is None else {**params, "every": every}, False)


def show_halves(mcts: dict[str, Any]) -> None:
    """Print both."""
    print("\nfigure 12, MCTS, at the largest cap")
    print(HEAD)
    print(line("even", mcts["figure_12"]["even"][-1]))
    for row in mcts["figure_12"]["lines"]:
        print(line(label(row), row["points"][-1]))
    for signal, rows in mcts["table_4"].items():
        head = "".join(f"{f'{name}: saved %':>26}{'change, points':>26}" for name in CAUTIONS)
        print(f"\ntable 4, MCTS, by {signal}\n{'':<24}{'paper %':>8}{head}")
        for name, row in rows.items():
            cells = "".join(
                f"{percent(one['saved']):>26}{percent(one['accuracy_change'], '+'):>26}"
                for one in row.values()
            )
            print(f"{name:<24}{100 * PAPER[name]:8.1f}{cells}")


def plot_figure_12(axes: Axes, found: dict[str, Any], signal: str) -> None:
    """Draw the lines of one signal, and even's."""
    plot(axes, found["even"], label="even", color="#777777", marker="o", linestyle="--")
    for row in found["lines"]:
        if row["signal"] == signal:
            plot(axes, row["points"], label=label(row), marker="s")
    axes.set(title=f"MCTS, {signal}", xlabel="tokens a question", ylabel="accuracy, %")
    axes.legend(frameon=False, fontsize=8)


def label(row: dict[str, Any]) -> str:
    """Return what a line of figure 12 is called."""
    sign = "H ≤" if row["signal"] == "entropy" else "R ≥"
    return f"{sign} {row['threshold']:g}"
