"""Table 4, self-consistency: what finer allocation saves, chosen on one half, judged on the other.

    scripts/bench table_4 [--seeds 5] [--splits 10] [--json FILE] [--picture FILE]

Every row's parameters are chosen on a random half of the questions so that they save most and lose
at most 0.1 points there: once taking the losses as they are, as the paper does ("plain"), once
with two standard errors on top ("careful", the default of `dynasor calibrate`). Judged on the
other half against even allocation: mean over the splits, and the least and the most of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from _curves import over_splits, percent, shuffles
from _figures import figure, save
from _offline import Setting, arguments, finish, open_settings
from dynasor.calibrate import Aim, Chosen, Measurements, halves, measure
from dynasor.calibrate.fit import Indices, Tried, replay_specs
from dynasor.calibrate.skyline import fit_skyline
from dynasor.core.types import PolicySpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAPS = {"math500-llama3.1-8b": (20, 45), "svamp-codex": (30,)}
CAUTIONS = {"plain": 0.0, "careful": 2.0}
DETECT = 5
LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
COVERED = (1.0, 0.9)
"""Shares of the solvable questions that a curve promises enough."""
PAPER = {
    "static threshold": 0.110,
    "initial step curve": 0.119,
    "5-step threshold": 0.127,
    "single-step threshold": 0.127,
    "dynamic curve": 0.144,
}
"""Its savings on MATH with Llama-3.1-8B, by row."""
CURVES: dict[str, tuple[int | None, ...]] = {"initial step curve": (None,), "dynamic curve": (5, 1)}
"""How often each fitted row reads its curve."""


def single_step(at: float, cap: int) -> PolicySpec:
    """Return the threshold measured after every branch from the fifth on: a curve with one step.

    The policy `stepwise` with `every=1` would stop at two equal answers.
    """
    curve = [(at - 1e-9, cap), (1.0, DETECT)]
    return PolicySpec("skyline", {"curves": [curve], "detect": DETECT, "every": 1}, has_lock=False)


def thresholds(cap: int) -> dict[str, list[PolicySpec]]:
    """Return what is tried for the rows that have nothing to fit."""
    once = [PolicySpec("threshold", {"detect": DETECT, "at": at}, False) for at in LEVELS]
    by_five = [PolicySpec("stepwise", {"every": DETECT, "at": at}, False) for at in LEVELS]
    return {
        "static threshold": once,
        "5-step threshold": by_five,
        "single-step threshold": [single_step(at, cap) for at in LEVELS],
    }


def table(setting: Setting, aim: Aim, splits: int) -> dict[str, Any]:
    """Return one table: every row's savings and changes over the splits, for both cautions."""
    measured = measure(setting.questions, [], aim)
    fixed = {
        name: list(zip(specs, replay_specs(setting.questions, specs, aim), strict=True))
        for name, specs in thresholds(aim.cap).items()
    }
    chosen: dict[str, dict[str, list[Chosen]]] = {
        name: {caution: [] for caution in CAUTIONS} for name in PAPER
    }
    for seed in range(splits):
        fit, judge = halves(len(setting.questions), seed)
        tried = {**fixed, **curves(measured, fit)}
        for name, rows in chosen.items():
            for caution, found in rows.items():
                careful = replace(measured, aim=replace(aim, caution=CAUTIONS[caution]))
                found.append(careful.best(name, tried[name], fit, judge))
    return {
        "setting": setting.name,
        "title": setting.title,
        "cap": aim.cap,
        "seeds": aim.seeds,
        "questions": len(setting.questions),
        "rows": {
            name: {caution: over_splits(found) for caution, found in rows.items()}
            for name, rows in chosen.items()
        },
    }


def curves(measured: Measurements, fit: Indices) -> dict[str, list[Tried]]:
    """Fit the skylines of every row to one half, and replay them on all questions."""
    questions = [measured.questions[place] for place in fit]
    seeds = range(measured.aim.seeds)
    found: dict[str, list[Tried]] = {}
    for name, everies in CURVES.items():
        specs = [
            fit_skyline(questions, measured.aim.cap, seeds, every, covered)
            for every in everies
            for covered in COVERED
        ]
        outcomes = replay_specs(measured.questions, specs, measured.aim)
        found[name] = list(zip(specs, outcomes, strict=True))
    return found


def tables(options: argparse.Namespace) -> dict[str, Any]:
    """Return the tables of every setting that can be had."""
    found = []
    for setting in open_settings(tuple(CAPS), options):
        for cap in CAPS[setting.name]:
            seeds = shuffles(setting.questions, options.seeds)
            aim = Aim(cap, width=1, seeds=seeds, processes=options.processes)
            found.append(table(setting, aim, options.splits))
    return {"splits": options.splits, "in_flight": 1, "tables": found}


def show(found: dict[str, Any]) -> None:
    """Print the tables beside the paper's column."""
    for one in found["tables"]:
        size = f"{one['questions']} questions, {one['seeds']} shuffles"
        print(f"{one['title']}, cap {one['cap']}: {size}")
        head = "".join(f"{f'{name}: saved %':>26}{'change, points':>26}" for name in CAUTIONS)
        print(f"{'':<24}{'paper %':>8}{head}")
        for name, rows in one["rows"].items():
            cells = "".join(
                f"{percent(row['saved']):>26}{percent(row['accuracy_change'], '+'):>26}"
                for row in rows.values()
            )
            print(f"{name:<24}{100 * PAPER[name]:8.1f}{cells}")


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw savings as bars, with the least and the most of the splits, and the paper's."""
    drawn, panels = figure(
        columns=len(found["tables"]), size=(1 + 3.6 * len(found["tables"]), 3.6), sharey=True
    )
    for axes, one in zip(panels, found["tables"], strict=True):
        for place, (caution, colour) in enumerate(
            zip(CAUTIONS, ("#d99a2b", "#1769aa"), strict=True)
        ):
            _bars(
                axes,
                [row[caution]["saved"] for row in one["rows"].values()],
                place,
                caution,
                colour,
            )
        heights = range(len(PAPER))
        axes.plot(
            [100 * value for value in PAPER.values()],
            heights,
            "k|",
            markersize=14,
            label="paper, MATH",
        )
        axes.set(yticks=heights, yticklabels=list(PAPER), xlabel="tokens saved, %")
        axes.set_title(f"{one['title']}, cap {one['cap']}", fontsize=10)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    save(drawn, target)


def _bars(axes: Axes, saved: list[dict[str, float]], place: int, label: str, colour: str) -> None:
    means = np.array([100 * one["mean"] for one in saved])
    ends = np.array([[100 * one[key] for one in saved] for key in ("least", "most")])
    heights = np.arange(len(saved)) + 0.36 * (place - 0.5)
    reach = np.abs(ends - means)
    axes.barh(heights, means, 0.34, xerr=reach, color=colour, label=label, ecolor="#555555")


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.add_argument("--splits", type=int, default=10, help="random halves")
    parser.set_defaults(seeds=5)
    options = parser.parse_args()
    finish(options, tables(options), show, draw)


if __name__ == "__main__":
    main()
