"""Accuracy of the vote over tokens spent evenly, between its zones (paper, figure 1).

    scripts/bench figure_1 [--json FILE] [--picture FILE]

Zones are shares of questions, means over shuffles. *Settled early*: the vote is right from the
fifth sample on. *More samples help*: it is right in the end, but was not all that time. *Never
right*: the whole vote is wrong; either some sample is right and is outvoted, or none is. The band
around the curve is its 95 % interval, bootstrap over questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from _certaindex import Paths, paths
from _figures import figure, save
from _offline import Setting, arguments, finish, open_settings
from dynasor.evaluate.paired import Interval, paired_mean
from dynasor.evaluate.recorded import Recorded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EARLY = 5
NAMES = ("svamp-codex", "math500-llama3.1-8b")
ZONES = {
    "settled_early": ("#4c9a6a", f"right from sample {EARLY} on"),
    "more_help": ("#e8d9a8", "more samples help"),
    "outvoted": ("#d99a8f", "right samples, outvoted"),
    "hopeless": ("#b5534c", "no sample is right"),
}


def measure(settings: Sequence[Setting], seeds: int) -> dict[str, Any]:
    """Return every setting's curve and zones."""
    return {"seeds": seeds, "settings": {one.name: of_setting(one, seeds) for one in settings}}


def of_setting(setting: Setting, seeds: int) -> dict[str, Any]:
    """Return one setting's accuracy and mean tokens at every cap, and the shares of its zones."""
    cap = setting.default_cap
    votes = paths(setting.questions, cap, range(seeds))
    quality = np.mean([[one.quality for one in shuffles] for shuffles in votes], axis=1)
    tokens = np.mean([[one.tokens for one in shuffles] for shuffles in votes], axis=(0, 1))
    accuracy = [asdict(_mean(quality[:, at].tolist())) for at in range(cap)]
    return {
        "title": setting.title,
        "questions": len(setting.questions),
        "has_estimated_tokens": setting.header.has_estimated_tokens,
        "tokens": tokens.tolist(),
        "accuracy": accuracy,
        "zones": {name: asdict(one) for name, one in zones(setting.questions, votes).items()},
    }


def zones(questions: Sequence[Recorded], votes: Paths) -> dict[str, Interval]:
    """Return the share of each zone, in the order in which they are stacked; they sum to 1."""
    shares: dict[str, list[float]] = {name: [] for name in ZONES}
    for question, shuffles in zip(questions, votes, strict=True):
        solved = [one.settled for one in shuffles if one.needed is not None]
        right = len(solved) / len(shuffles)
        early = sum(settled <= EARLY for settled in solved) / len(shuffles)
        is_hopeless = not any(question.worth(group) > 0 for group in question.classes)
        shares["settled_early"].append(early)
        shares["more_help"].append(right - early)
        shares["outvoted"].append(0.0 if is_hopeless else 1 - right)
        shares["hopeless"].append(1 - right if is_hopeless else 0.0)
    return {name: _mean(values) for name, values in shares.items()}


def _mean(values: Sequence[float]) -> Interval:
    return paired_mean(values, [0.0] * len(values))


def show(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    for one in found["settings"].values():
        print(f"{one['title']}: {one['questions']} questions, {found['seeds']} shuffles")
        for name, share in one["zones"].items():
            told = ZONES[name][1]
            print(f"  {told:>24} {_percent(share)}")
        last = len(one["tokens"])
        for samples in sorted({1, 3, 5, 10, 20, last} & set(range(1, last + 1))):
            tokens, accuracy = one["tokens"][samples - 1], one["accuracy"][samples - 1]
            print(f"  {samples:>3} samples, {tokens:8.0f} tokens: {_percent(accuracy)} right")


def _percent(one: dict[str, float]) -> str:
    return f"{one['estimate']:6.1%} [{one['low']:.1%}, {one['high']:.1%}]"


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw one panel a setting."""
    settings = list(found["settings"].values())
    drawn, every = figure(len(settings), size=(5.2 * len(settings), 3.9), sharey=True)
    for axes, one in zip(every, settings, strict=True):
        _panel(axes, one)
    every[0].set_ylabel("share of questions; accuracy of the vote")
    drawn.legend(
        *every[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    save(drawn, target)


def _panel(axes: Axes, one: dict[str, Any]) -> None:
    bottom = 0.0
    for name, (colour, told) in ZONES.items():
        share = one["zones"][name]["estimate"]
        axes.axhspan(bottom, bottom + share, color=colour, alpha=0.45, linewidth=0, label=told)
        if share > 0.015:  # thinner than its text otherwise
            height, beside = bottom + share / 2, axes.get_yaxis_transform()
            axes.text(1.01, height, f"{share:.1%}", va="center", fontsize=9, transform=beside)
        bottom += share
    low, middle, high = ([at[end] for at in one["accuracy"]] for end in ("low", "estimate", "high"))
    axes.fill_between(one["tokens"], low, high, color="#1769aa", alpha=0.18, linewidth=0)
    axes.plot(one["tokens"], middle, color="#1769aa", marker="o", ms=3, label="vote, even")
    axes.axvline(
        one["tokens"][EARLY - 1], color="#333333", linestyle=":", lw=1.2, label=f"{EARLY} samples"
    )
    estimated = " (estimated)" if one["has_estimated_tokens"] else ""
    axes.set(title=one["title"], xlabel=f"tokens a question{estimated}", xlim=(0, None))
    axes.set_ylim(0, 1)


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments(__doc__.split("\n", 1)[0]).parse_args()
    finish(options, measure(open_settings(NAMES, options), options.seeds), show, draw)


if __name__ == "__main__":
    main()
