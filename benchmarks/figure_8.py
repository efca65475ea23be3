"""Figures 8 and 16: accuracy over tokens, over caps, for even, length and certaindex policies.

    scripts/bench figure_8 [--seeds 10] [--run-code] [--json FILE] [--picture FILE]

One branch after the other. Curves over the caps 5, 10, ... on the same shuffles; bars are standard
deviations over shuffles, as in the paper. "Saved at the accuracy" compares with even's own curve
where it reaches the policy's accuracy; intervals are 95 %, bootstrap over questions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from _curves import (
    HEAD,
    LINES,
    WIDE,
    Even,
    Outcomes,
    caps,
    even_outcomes,
    line,
    plot,
    point,
    replayed,
    shuffles,
)
from _figures import figure, save
from _offline import Setting, arguments, finish, open_settings
from dynasor.core.types import PolicySpec
from dynasor.evaluate.offline import Plan, tune_length
from dynasor.evaluate.oracle import oracle

NAMES = ("svamp-codex", "math500-llama3.1-8b", "humaneval-codegen16b", "game24-gpt4")
THRESHOLD, CODE_THRESHOLD = 0.7, 0.4
"""Table 1 of the paper: mathematics and code."""
TUNING = 2
"""Shuffles on which length is tuned: twelve replays for every cap."""
SHOWN = 20
"""The cap that is printed besides the largest: even's curve still rises there."""


def policies(task: str) -> dict[str, PolicySpec]:
    """Return the policies whose curves are drawn; the parameters are the paper's and ours."""
    at = CODE_THRESHOLD if task == "code" else THRESHOLD
    return {
        "threshold": PolicySpec("threshold", {"detect": 5, "at": at}, has_lock=False),
        "beta": PolicySpec("beta", {"confidence": 0.95}, has_lock=False),
        "sequential": PolicySpec("sequential", has_lock=False),
    }


def curves(setting: Setting, seeds: int, processes: int | None) -> dict[str, Any]:
    """Return every curve of a setting; length is tuned in hindsight at every cap."""
    questions, over = setting.questions, caps(setting.default_cap)
    seeds = shuffles(questions, seeds)
    even = even_outcomes(questions, setting.default_cap, max(WIDE, seeds))
    plan = Plan({}, tuple(over), seeds=min(seeds, TUNING), processes=processes)
    lengths = [tune_length(questions, plan, cap, 1) for cap in over]
    work = [(spec, cap) for spec in policies(setting.header.task).values() for cap in over]
    work += list(zip(lengths, over, strict=True))
    found = replayed(questions, work, seeds, processes)
    names = [*policies(setting.header.task), "length"]
    lines = {
        name: _points(found[place * len(over) : (place + 1) * len(over)], over, even)
        for place, name in enumerate(names)
    }
    lines["even"] = _points([even.at(cap, seeds) for cap in over], over, even)
    lines["oracle"] = _points([_oracle(setting, cap, seeds) for cap in over], over, even)
    return {
        "setting": setting.name,
        "title": setting.title,
        "questions": len(questions),
        "seeds": seeds,
        "has_estimated_tokens": setting.header.has_estimated_tokens,
        "threshold": policies(setting.header.task)["threshold"].params["at"],
        "lines": {name: lines[name] for name in LINES if name in lines},
    }


def _points(found: list[Outcomes], over: list[int], even: Even) -> list[dict[str, Any]]:
    return [point(own, even, cap=cap) for own, cap in zip(found, over, strict=True)]


def _oracle(setting: Setting, cap: int, seeds: int) -> Outcomes:
    rows = [oracle(setting.questions, cap, seed) for seed in range(seeds)]
    return Outcomes(np.array([one.tokens for one in rows]), np.array([one.quality for one in rows]))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the curves of every setting that can be had."""
    settings = open_settings(NAMES, options)
    found = [curves(setting, options.seeds, options.processes) for setting in settings]
    return {"in_flight": 1, "settings": found}


def show(found: dict[str, Any]) -> None:
    """Print the curves at two caps."""
    for one in found["settings"]:
        most = one["lines"]["even"][-1]["cap"]
        print(f"{one['title']}: {one['questions']} questions, {one['seeds']} shuffles")
        for cap in (SHOWN, most):
            print(f"cap {cap:<2} {HEAD[7:]}")
            for name, points in one["lines"].items():
                print(line(name, next(each for each in points if each["cap"] == cap)))


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw one panel a setting."""
    settings = found["settings"]
    rows = (len(settings) + 1) // 2
    drawn, panels = figure(columns=2, rows=rows, size=(9, 0.6 + 3.1 * rows))
    for axes, one in zip(panels, settings, strict=False):
        for name, points in one["lines"].items():
            colour, marker = LINES[name]
            plot(axes, points, label=name, color=colour, marker=marker)
        axes.set_xscale("log")
        axes.set(title=one["title"], xlabel="tokens a question", ylabel="accuracy, %")
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_formatter("")
    for axes in panels[len(settings) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.set_defaults(seeds=10)
    options = parser.parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
