"""Figure 13: certaindex against output length, and against a predictor that reads the prompt.

    scripts/bench figure_13 [--seeds 5] [--splits 10] [--run-code] [--json FILE] [--picture FILE]

Each method's own parameter is swept at the full cap, one branch in flight. The predictor (see
_predictor.py) is trained on a random half of the questions; what it predicts for a question, times
a factor that is swept, is the question's own cap under even allocation. All are judged on the
other half: curves are means over the splits. The table chooses each parameter on the first half
too, so that it saves most and loses at most 0.1 points there, and judges it on the other; for even
allocation that is a smaller cap for all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from _curves import LINES, Even, even_outcomes, over_splits, percent, plot, shuffles
from _figures import figure, save
from _offline import Setting, arguments, finish, open_settings
from _predictor import Numbers, embed, log_needed, predict
from dynasor.calibrate import Aim, Chosen, Measurements, halves
from dynasor.calibrate.fit import Indices, Tried, replay_specs
from dynasor.core.errors import ConfigError
from dynasor.core.types import PolicySpec
from dynasor.evaluate.offline import length_specs

NAMES = ("svamp-codex", "math500-llama3.1-8b", "humaneval-codegen16b")
LEVELS = (0.1, 0.3, 0.4, 0.5, 0.6, 0.7)
CONFIDENCES = (0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.99)
FACTORS = 16
Row = dict[str, Any]


def sweeps(setting: Setting) -> dict[str, list[PolicySpec]]:
    """Return the parameters that are swept, by method."""
    lengths = length_specs(setting.questions, setting.default_cap)
    return {
        "length": lengths,
        "threshold": [PolicySpec("threshold", {"at": at}, has_lock=False) for at in LEVELS],
        "sequential": [
            PolicySpec("sequential", {"confidence": one, "final": min(0.6, one)}, has_lock=False)
            for one in CONFIDENCES
        ],
    }


def predicted(even: Even, units: Numbers) -> list[Tried]:
    """Return what becomes of every question if its cap is its predicted units times a factor."""
    cap = even.tokens.shape[2]
    found: list[Tried] = []
    for factor in np.geomspace(0.5, 2 * cap, FACTORS):
        caps = np.clip(np.rint(factor * units), 1, cap).astype(int)
        found.append((PolicySpec("even", {"factor": float(factor)}), even.means(caps)))
    return found


def setting_figures(setting: Setting, options: argparse.Namespace) -> Row:
    """Return the curves and choices of one setting."""
    questions, cap = setting.questions, setting.default_cap
    seeds = shuffles(questions, options.seeds)
    aim = Aim(cap, width=1, caution=0.0, seeds=seeds, processes=options.processes)
    even = even_outcomes(questions, cap, seeds)
    fixed = {
        name: list(zip(specs, replay_specs(questions, specs, aim), strict=True))
        for name, specs in sweeps(setting).items()
    }
    fixed["even"] = [(PolicySpec("even"), even.means(one)) for one in range(1, cap + 1)]
    measured = Measurements(tuple(questions), aim, even.means(cap), (), ())
    vectors = _vectors(setting)
    target = log_needed(questions, cap, seeds)
    rows: list[tuple[dict[str, list[Tried]], Indices, Indices]] = []
    fits: list[float] = []
    for seed in range(options.splits):
        fit, judge = halves(len(questions), seed)
        tried = dict(fixed)
        if vectors is not None:
            guess = predict(vectors, target, fit)
            fits.append(float(np.corrcoef(guess[judge], target[judge])[0, 1]))
            tried["predictor"] = predicted(even, np.exp(guess))
        rows.append((tried, fit, judge))
    names = [name for name in LINES if name in rows[0][0]]
    return {
        "setting": setting.name,
        "title": setting.title,
        "questions": len(questions),
        "cap": cap,
        "seeds": seeds,
        "predictor_correlation": fmean(fits) if fits else None,
        "lines": {
            name: _curve([(tried[name], judge) for tried, _, judge in rows]) for name in names
        },
        "chosen": {name: over_splits(_choices(measured, name, rows)) for name in names},
    }


def _choices(
    measured: Measurements,
    name: str,
    rows: Sequence[tuple[dict[str, list[Tried]], Indices, Indices]],
) -> list[Chosen]:
    return [measured.best(name, tried[name], fit, judge) for tried, fit, judge in rows]


def _curve(splits: Sequence[tuple[list[Tried], Indices]]) -> list[Row]:
    """Return a method's points: means over the halves judged."""
    judged = [[outcome.at(judge) for _, outcome in tried] for tried, judge in splits]
    return [
        {
            "tokens": fmean(float(one.tokens.mean()) for one in column),
            "accuracy": fmean(float(one.quality.mean()) for one in column),
        }
        for column in zip(*judged, strict=True)
    ]


def _vectors(setting: Setting) -> Numbers | None:
    try:
        return embed(setting.questions)
    except ConfigError as exc:
        print(f"{setting.name}: no predictor: {exc}", file=sys.stderr)
        return None


def measure(options: argparse.Namespace) -> Row:
    """Return the figures of every setting that can be had."""
    found = [setting_figures(setting, options) for setting in open_settings(NAMES, options)]
    return {"splits": options.splits, "in_flight": 1, "settings": found}


def show(found: Row) -> None:
    """Print what each method saves on the halves judged."""
    for one in found["settings"]:
        size = f"{one['questions']} questions, {one['seeds']} shuffles"
        print(f"{one['title']}, cap {one['cap']}: {size}")
        if one["predictor_correlation"] is not None:
            print(f"predictor with the samples needed: r = {one['predictor_correlation']:.2f}")
        print(f"{'':<12}{'saved %':>26}{'change, points':>26}")
        for name, row in one["chosen"].items():
            cells = f"{percent(row['saved']):>26}{percent(row['accuracy_change'], '+'):>26}"
            print(f"{name:<12}{cells}")


def draw(found: Row, target: Path) -> None:
    """Draw one panel a setting."""
    settings = found["settings"]
    drawn, panels = figure(columns=len(settings), size=(2 + 3.4 * len(settings), 3.9))
    for axes, one in zip(panels, settings, strict=True):
        for name, points in one["lines"].items():
            colour, marker = LINES[name]
            # Even has a point for every cap: a line without marks.
            plot(axes, points, label=name, color=colour, marker="" if name == "even" else marker)
        axes.set(title=one["title"], xlabel="tokens a question", ylabel="accuracy, %")
        axes.set_xlim(0, None)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.add_argument("--splits", type=int, default=10, help="random halves")
    parser.set_defaults(seeds=5)
    options = parser.parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
