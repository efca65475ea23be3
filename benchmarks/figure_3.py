"""Certaindex against the samples that a question needs, setting by setting (paper, figure 3).

    scripts/bench figure_3 [--run-code] [--json FILE] [--picture FILE]

Self-consistency: the entropy certaindex after 5 samples, and the least number of samples whose
vote is worth what the whole vote is. Beams with rewards: the highest reward of the first beams,
and the first beam that is right; unsolvable is where none is. Correlations are over solvable
questions, with 95 % intervals, bootstrap over questions. `one run` is the correlation in a single
shuffle, a mean over shuffles: what a scheduler sees, which has one run and no mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from _certaindex import (
    KINDS,
    Paths,
    Points,
    correlate,
    correlation,
    legend_entries,
    panel,
    paths,
    points,
    spoken,
    written,
)
from _figures import figure, save
from _offline import BEAMS, SETTINGS, Setting, arguments, finish, open_settings
from dynasor.evaluate.recorded import Recorded

DETECT = 5
THRESHOLDS = {"humaneval-codegen16b": 0.4}
THRESHOLD, REWARD_THRESHOLD = 0.7, 0.99
"""The paper's (table 1): SC on mathematics, Rebase's rewards, and above SC on code."""


def measure(settings: Sequence[Setting], options: argparse.Namespace) -> dict[str, Any]:
    """Return every setting's points and correlations."""
    seeds = range(options.seeds)
    return {
        "seeds": options.seeds,
        "settings": {
            one.name: {
                "title": one.title,
                "questions": len(one.questions),
                "cap": one.default_cap,
                **(of_beams if one.name in BEAMS else of_votes)(one, seeds),
            }
            for one in settings
        },
    }


def of_votes(setting: Setting, seeds: range) -> dict[str, Any]:
    """Return the figures of self-consistency."""
    votes = paths(setting.questions, setting.default_cap, seeds)
    found = points(votes, DETECT)
    threshold = THRESHOLDS.get(setting.name, THRESHOLD)
    return {
        "signal": "entropy certaindex",
        "detect": DETECT,
        **summary(found, threshold),
        "one_run": one_run(votes, DETECT),
    }


def summary(found: Points, threshold: float) -> dict[str, Any]:
    """Return shares of the kinds, shares above the threshold, the correlations and the points."""
    solvable = found.is_solvable
    both = correlate(found.certaindex[solvable], found.needed[solvable])
    chosen = {kind: found.of_kind(kind) for kind in KINDS}
    return {
        "threshold": threshold,
        "shares": {kind: float(which.mean()) for kind, which in chosen.items()},
        "above_threshold": {
            kind: float((found.certaindex[which] >= threshold).mean()) if which.any() else None
            for kind, which in chosen.items()
        },
        "correlation": both and {name: asdict(one) for name, one in both.items()},
        "points": written(found),
    }


def one_run(votes: Paths, detect: int) -> float | None:
    """Return Pearson's r of certaindex and samples needed in one shuffle, a mean over shuffles."""
    found = []
    for seed in range(len(votes[0])):
        solved = [one[seed] for one in votes if one[seed].needed is not None]
        certaindex = np.array([one.certaindex[detect - 1] for one in solved])
        found.append(correlation(certaindex, np.array([one.needed for one in solved], float)))
    usable = [one[0] for one in found if one is not None]
    return float(np.mean(usable)) if usable else None


def of_beams(setting: Setting, seeds: range) -> dict[str, Any]:
    """Return the figures of beams: the highest reward of the first ones, and the mean's too."""
    detect = max(2, setting.default_cap // 4)
    forms = {name: beam_points(setting.questions, detect, seeds, name) for name in ("max", "mean")}
    return {
        "signal": f"highest reward of the first {detect}",
        "detect": detect,
        **summary(forms["max"], REWARD_THRESHOLD),
        "mean_reward": summary(forms["mean"], REWARD_THRESHOLD)["correlation"],
    }


def beam_points(
    questions: Sequence[Recorded], detect: int, seeds: Sequence[int], form: str
) -> Points:
    """Return each question's reward over its first beams, and the first beam that is right."""
    rewards, needed = np.zeros(len(questions)), np.full(len(questions), np.nan)
    for place, question in enumerate(questions):
        orders = [np.array(question.order(seed)) for seed in seeds]
        reward = np.array(question.rewards)
        right = np.array([question.worth(group) > 0 for group in question.classes])
        rewards[place] = np.mean([getattr(np, form)(reward[order[:detect]]) for order in orders])
        if right.any():
            needed[place] = np.mean([np.argmax(right[order]) + 1 for order in orders])
    return Points(rewards, needed, needed <= detect)


def show(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(f"{found['seeds']} shuffles; correlations over solvable questions")
    for one in found["settings"].values():
        shares = ", ".join(f"{kind} {share:.1%}" for kind, share in one["shares"].items())
        print(f"{one['title']}: {one['questions']} questions, cap {one['cap']}, {shares}")
        print(f"    {one['signal']} at {one['detect']}: {spoken(one['correlation'])}")
        if one.get("one_run") is not None:
            print(f"    in one run: pearson {one['one_run']:.2f}")
        if "mean_reward" in one:
            print(f"    mean reward: {spoken(one['mean_reward'])}")
        print(f"    at the threshold {one['threshold']} or above: {one['above_threshold']}")


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw one panel a setting."""
    settings: list[dict[str, Any]] = list(found["settings"].values())
    columns = min(3, len(settings))
    rows = -(-len(settings) // columns)
    drawn, every = figure(columns, rows, size=(4.4 * columns, 3.1 * rows + 0.4))
    for axes, one in zip(every, settings, strict=False):
        panel(axes, one, one["title"])
        axes.set(xlabel="samples needed", ylabel=one["signal"])
    for axes in every[len(settings) :]:
        axes.set_axis_off()
    drawn.legend(handles=legend_entries(), loc="outside lower center", ncols=5, frameon=False)
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments(__doc__.split("\n", 1)[0]).parse_args()
    finish(options, measure(open_settings(tuple(SETTINGS), options), options), show, draw)


if __name__ == "__main__":
    main()
