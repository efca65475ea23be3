"""What foretells the samples a question needs: certaindex, length, log-probability (figure 5).

    scripts/bench figure_5 [--json FILE] [--picture FILE]

Every measure is of the first 5 samples, and turned so that more of it should mean more samples:
uncertainty (1 - entropy certaindex), mean output length, mean log-probability with its sign
changed. Combinations are linear, by least squares on z-scores, and judged only on questions that
they were not fitted to: five random halvings, each half foretold from the other, the mean of the
ten correlations. Solvable questions only; 95 % intervals, bootstrap over questions. Measures and
samples needed are means over shuffles, as in the paper; `one run` takes the measure from one
shuffle, as a scheduler must (a mean over shuffles).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from _certaindex import Intervals, Numbers, Places, correlate, correlation, paths, points, resampled
from _figures import figure, save
from _offline import OWN, Setting, arguments, finish, open_settings
from dynasor.calibrate.fit import halves
from dynasor.evaluate.recorded import Recorded

DETECT = 5
SPLITS = 5
RESAMPLES = 500
"""For combinations, each of which takes ten correlations a resample."""
NAMES = ("svamp-codex", "math500-llama3.1-8b", OWN)
UNCERTAINTY, LENGTH, LOGPROB = "uncertainty", "length", "-log-probability"
COMBINED = (
    (UNCERTAINTY, LENGTH),
    (UNCERTAINTY, LOGPROB),
    (LENGTH, LOGPROB),
    (UNCERTAINTY, LENGTH, LOGPROB),
)
COLOURS = {"pearson": "#1769aa", "kendall": "#e0a34e"}


def measure(settings: Sequence[Setting], seeds: int) -> dict[str, Any]:
    """Return every setting's correlations, measure by measure."""
    return {"seeds": seeds, "settings": {one.name: of_setting(one, seeds) for one in settings}}


def of_setting(setting: Setting, seeds: int) -> dict[str, Any]:
    """Return one setting's correlations with the samples needed."""
    votes = paths(setting.questions, setting.default_cap, range(seeds))
    found = points(votes, DETECT)
    solvable = np.flatnonzero(found.is_solvable)
    needed = found.needed[solvable]
    uncertainty = [[1 - one.certaindex[DETECT - 1] for one in shuffles] for shuffles in votes]
    runs = {UNCERTAINTY: np.array(uncertainty)[solvable]} | {
        name: values[solvable] for name, values in of_samples(setting.questions, seeds).items()
    }
    means = {name: values.mean(axis=1) for name, values in runs.items()}
    bars = {
        name: {**intervals(correlate(means[name], needed)), "one_run": one_run(runs[name], needed)}
        for name in runs
    }
    for names in COMBINED:
        if all(name in means for name in names):
            columns = np.column_stack([means[name] for name in names])
            bars[" + ".join(names)] = intervals(combined(foretold(columns, needed), needed))
    return {
        "title": setting.title,
        "cap": setting.default_cap,
        "solvable": len(solvable),
        "measures": bars,
    }


def of_samples(questions: Sequence[Recorded], seeds: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return lengths and log-probabilities of the first samples: arrays `[question, seed]`."""
    firsts = [[one.order(seed)[:DETECT] for seed in range(seeds)] for one in questions]
    sources = {LENGTH: [one.tokens for one in questions]}
    if all(one.logprobs for one in questions):
        sources[LOGPROB] = [tuple(-value for value in one.logprobs) for one in questions]
    return {
        name: np.array(
            [
                [np.mean(np.array(values)[first]) for first in shuffles]
                for values, shuffles in zip(rows, firsts, strict=True)
            ]
        )
        for name, rows in sources.items()
    }


def foretold(columns: np.ndarray[Any, Any], needed: Numbers) -> list[Numbers]:
    """Return what least squares on z-scores says of each half, fitted to the other half.

    Each array has NaN for the questions it was fitted to.
    """
    found = []
    for split in range(SPLITS):
        one, other = halves(len(needed), split)
        for fit, judge in ((one, other), (other, one)):
            centre, spread = columns[fit].mean(axis=0), columns[fit].std(axis=0) + 1e-12
            scores = np.column_stack([np.ones(len(needed)), (columns - centre) / spread])
            weights, *_ = np.linalg.lstsq(scores[fit], needed[fit], rcond=None)
            says = np.full(len(needed), np.nan)
            says[judge] = scores[judge] @ weights
            found.append(says)
    return found


def combined(halved: Sequence[Numbers], needed: Numbers) -> Intervals | None:
    """Return the mean correlation within the halves, each foretold from the other one.

    Not of all halves together: two fits differ in their offset, which would untie equal questions.
    """

    def statistic(draw: Places) -> tuple[float, float] | None:
        found = []
        for says in halved:
            judged = draw[~np.isnan(says[draw])]
            found.append(correlation(says[judged], needed[judged]))
        usable = [one for one in found if one is not None]
        return tuple(np.mean(usable, axis=0).tolist()) if usable else None

    return resampled(statistic, len(needed), RESAMPLES)


def one_run(runs: np.ndarray[Any, Any], needed: Numbers) -> dict[str, float] | None:
    """Return the correlations of a measure `[question, seed]` in one shuffle, means over them."""
    found = [one for run in runs.T if (one := correlation(run, needed)) is not None]
    return dict(zip(COLOURS, np.mean(found, axis=0).tolist(), strict=True)) if found else None


def intervals(found: Intervals | None) -> dict[str, Any]:
    """Return correlations as they are written; nothing where there are none."""
    return {name: asdict(one) for name, one in (found or {}).items()}


def show(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    for one in found["settings"].values():
        print(f"{one['title']}: {one['solvable']} solvable questions, {found['seeds']} shuffles")
        for name, values in one["measures"].items():
            told = [
                f"{kind} {v['estimate']:5.2f} [{v['low']:5.2f}, {v['high']:5.2f}]"
                for kind in COLOURS
                if (v := values.get(kind))
            ]
            single = values.get("one_run")
            seen = "" if single is None else f"  one run {single['pearson']:.2f}"
            print(f"  {name:>38} {'  '.join(told)}{seen}")


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw one panel of bars a setting."""
    settings = list(found["settings"].values())
    drawn, every = figure(len(settings), size=(4.6 * len(settings), 4.6), sharex=True)
    for axes, one in zip(every, settings, strict=True):
        names = list(one["measures"])
        for offset, (kind, colour) in zip((-0.19, 0.19), COLOURS.items(), strict=True):
            for place, name in enumerate(names):
                values = one["measures"][name]
                if kind not in values:
                    continue
                middle, low, high = (values[kind][end] for end in ("estimate", "low", "high"))
                height = place + offset
                axes.barh(height, middle, 0.36, color=colour, label="" if place else kind)
                axes.plot([low, high], [height, height], color="#333333", linewidth=1)
                if values.get("one_run"):
                    axes.plot(values["one_run"][kind], height, "wD", mec="#333333", ms=4)
        axes.set_yticks(range(len(names)), labels=[name.replace(" + ", " +\n") for name in names])
        axes.tick_params(axis="y", labelsize=8)
        axes.invert_yaxis()
        axes.axvline(0, color="#333333", linewidth=0.8)
        axes.set_title(f"{one['title']}\n{one['solvable']} solvable questions", fontsize=10)
        axes.set_xlabel("correlation with samples needed")
    every[0].plot([], [], "wD", mec="#333333", ms=4, label="measured in one run")
    handles, labels = every[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments(__doc__.split("\n", 1)[0]).parse_args()
    finish(options, measure(open_settings(NAMES, options), options.seeds), show, draw)


if __name__ == "__main__":
    main()
