"""Figure 12: certaindex thresholds, as entropies in nats, measured once or every five branches.

    scripts/bench figure_12 [--seeds 5] [--json FILE] [--picture FILE]

A certaindex c of n = 5 answers is an entropy of (1 - c) ln 5 nats. Curves over the caps
5, 10, ..., one branch after the other; the columns are those of figure 8.
"""

from __future__ import annotations

import argparse
from math import log
from pathlib import Path
from typing import Any

from _curves import HEAD, WIDE, caps, even_outcomes, line, plot, point, replayed, shuffles
from _figures import figure, save
from _offline import Setting, arguments, finish, open_settings
from dynasor.core.types import PolicySpec

NAMES = ("svamp-codex", "math500-llama3.1-8b")
ENTROPIES = (0.25, 0.5, 0.75, 1.0, 1.5)
"""The paper's and two stricter ones. Its 2 is beyond the largest that five answers can have."""
DETECT = 5
COLOURS = ("#12305c", "#1769aa", "#4c9a6a", "#d99a2b", "#b5534c")
FORMS = {"once": "measured once, at 5", "every": "measured every 5"}


def certaindex(entropy: float) -> float:
    """Return the certaindex of five answers whose classes have this entropy, in nats."""
    return 1 - entropy / log(DETECT)


def policy(form: str, entropy: float) -> PolicySpec:
    """Return the policy that stops at or below this entropy."""
    at = certaindex(entropy)
    if form == "once":
        return PolicySpec("threshold", {"detect": DETECT, "at": at}, has_lock=False)
    return PolicySpec("stepwise", {"every": DETECT, "at": at}, has_lock=False)


def curves(setting: Setting, seeds: int, processes: int | None) -> dict[str, Any]:
    """Return the curves of every form and entropy, and even's."""
    over = caps(setting.default_cap)
    seeds = shuffles(setting.questions, seeds)
    even = even_outcomes(setting.questions, setting.default_cap, max(WIDE, seeds))
    rows = [(form, entropy) for form in FORMS for entropy in ENTROPIES]
    work = [(policy(*row), cap) for row in rows for cap in over]
    found = iter(replayed(setting.questions, work, seeds, processes))
    return {
        "setting": setting.name,
        "title": setting.title,
        "questions": len(setting.questions),
        "seeds": seeds,
        "even": [point(even.at(cap, seeds), even, cap) for cap in over],
        "lines": [
            {
                "form": form,
                "entropy": entropy,
                "certaindex": certaindex(entropy),
                "points": [point(next(found), even, cap) for cap in over],
            }
            for form, entropy in rows
        ],
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the curves of every setting that can be had."""
    settings = open_settings(NAMES, options)
    found = [curves(setting, options.seeds, options.processes) for setting in settings]
    return {"in_flight": 1, "settings": found}


def name(row: dict[str, Any]) -> str:
    """Return what a line is called: its entropy, and the certaindex that this is."""
    return f"H ≤ {row['entropy']:g} (c ≥ {row['certaindex']:.2f})"


def show(found: dict[str, Any]) -> None:
    """Print every curve's end, at the largest cap."""
    for one in found["settings"]:
        cap = one["even"][-1]["cap"]
        print(f"{one['title']}: {one['questions']} questions, {one['seeds']} shuffles, cap {cap}")
        print(HEAD)
        print(line("even", one["even"][-1]))
        for form, words in FORMS.items():
            print(words)
            for row in one["lines"]:
                if row["form"] == form:
                    print(line(f"  {name(row)}", row["points"][-1]))


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw one row a setting, one column a form."""
    settings = found["settings"]
    drawn, panels = figure(
        columns=2, rows=len(settings), size=(9, 0.8 + 3.1 * len(settings)), sharey="row"
    )
    places = [(one, form) for one in settings for form in FORMS]
    for axes, (one, form) in zip(panels, places, strict=True):
        plot(axes, one["even"], label="even", color="#777777", marker="o", linestyle="--")
        rows = [row for row in one["lines"] if row["form"] == form]
        for row, colour in zip(rows, COLOURS, strict=True):
            plot(axes, row["points"], label=name(row), color=colour, marker="s")
        axes.set(title=f"{one['title']}: {FORMS[form]}", xlabel="tokens a question")
        axes.set(xlim=(0, None), ylabel="accuracy, %" if form == "once" else "")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.set_defaults(seeds=5)
    options = parser.parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
