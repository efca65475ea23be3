"""Certaindex against samples needed, detected at six steps (paper, figure 4).

    scripts/bench figure_4 [--setting NAME] [--json FILE] [--picture FILE]

Self-consistency on SVAMP, the setting with the most questions. Correlations are over solvable
questions, with 95 % intervals, bootstrap over questions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _certaindex import Paths, legend_entries, panel, paths, points, spoken
from _figures import figure, save
from _offline import SETTINGS, Setting, arguments, finish, open_settings
from figure_3 import THRESHOLD, THRESHOLDS, one_run, summary

STEPS = (5, 10, 15, 20, 25, 30)
SETTING = "svamp-codex"


def measure(setting: Setting, seeds: int) -> dict[str, Any]:
    """Return the points and correlations of every detection step below or at the cap."""
    votes = paths(setting.questions, setting.default_cap, range(seeds))
    steps = [detect for detect in STEPS if detect <= setting.default_cap]
    threshold = THRESHOLDS.get(setting.name, THRESHOLD)
    return {
        "seeds": seeds,
        "setting": setting.name,
        "title": setting.title,
        "questions": len(setting.questions),
        "cap": setting.default_cap,
        "steps": {str(detect): at_step(votes, detect, threshold) for detect in steps},
    }


def at_step(votes: Paths, detect: int, threshold: float) -> dict[str, Any]:
    """Return the figures of one detection step; `stopped` is the share at the threshold or above.

    `stopped` is of runs, not of questions' means: what a policy would do.
    """
    above = [one.certaindex[detect - 1] >= threshold for shuffles in votes for one in shuffles]
    return {
        "detect": detect,
        "stopped": sum(map(float, above)) / len(above),
        **summary(points(votes, detect), threshold),
        "one_run": one_run(votes, detect),
    }


def show(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(f"{found['title']}: {found['questions']} questions, cap {found['cap']}")
    print("step  stopped  early stoppable  solvable  unsolvable  one run  correlation")
    for step, one in found["steps"].items():
        shares = one["shares"]
        seen = "   -" if one["one_run"] is None else f"{one['one_run']:.2f}"
        print(
            f"{step:>4}  {one['stopped']:7.1%}  {shares['early']:15.1%}  "
            f"{shares['solvable']:8.1%}  {shares['unsolvable']:10.1%}  {seen:>7}  "
            f"{spoken(one['correlation'])}"
        )


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw one panel a detection step."""
    drawn, every = figure(3, 2, size=(13.2, 6.6), sharex=True, sharey=True)
    for place, (axes, (step, one)) in enumerate(zip(every, found["steps"].items(), strict=False)):
        panel(axes, {**one, "cap": found["cap"]}, f"{found['title']}: detection at {step}")
        axes.set(
            xlabel="samples needed" if place > 2 else "",
            ylabel="" if place % 3 else "entropy certaindex",
        )
    for axes in every[len(found["steps"]) :]:
        axes.set_axis_off()
    drawn.legend(handles=legend_entries(), loc="outside lower center", ncols=5, frameon=False)
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments(__doc__.split("\n", 1)[0]).parse_args()
    names = tuple(SETTINGS) if options.setting else (SETTING,)
    finish(options, measure(open_settings(names, options)[0], options.seeds), show, draw)


if __name__ == "__main__":
    main()
