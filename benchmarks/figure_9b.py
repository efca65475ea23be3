"""Figure 9 b: how tight deadlines may be at a fixed rate, with 90 % of the programs in time.

    scripts/bench figure_9b --json docs/online/figure_9b.json --picture docs/online/figure_9b.svg

A scale multiplies every deadline. Rates are fractions of even's measured capacity; at 1.07 or so
`lpm` itself comes to need scale 1 (figure 9 a), beyond capacity its queue grows for as long as
programs arrive. Ratios are lpm's scale over the row's: how many times tighter, paired by seed.
`deadline` ends programs at their deadline, so that every scale is a run of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from _figures import figure, save
from _online import (
    OURS,
    PAPER,
    Run,
    arguments,
    attained_at,
    finish,
    interval,
    make_system,
    open_online,
    ratio,
    run_all,
    spread,
    tightest_at,
)
from _online_rows import percent, plot
from dynasor.core.types import PolicySpec

EIGHT = PolicySpec("sequential", {"in_flight": 8})
PRICED = PolicySpec("priced")
ROWS = {
    "fcfs": make_system("fcfs"),
    "lpm": make_system("lpm"),
    "app-fifo": make_system("app-fifo"),
    "sjf": make_system("sjf"),
    "deadline": make_system("deadline"),
    "lpm + threshold": make_system("lpm", PAPER),
    "lpm + sequential, 4": make_system("lpm", OURS),
    "sjf + threshold": make_system("sjf", PAPER),
    "sjf + sequential, 8": make_system("sjf", EIGHT),
    "deadline + sequential, 8": make_system("deadline", EIGHT),
    "deadline + priced": make_system("deadline", PRICED),
}
"""What is compared; the number is how many branches are in flight."""
LOADS = (1.0, 1.1)
DRAWN = ("lpm", "sjf + threshold", "sjf + sequential, 8", "deadline + sequential, 8")
DRAWN_LOAD = 1.0
SCALES = (0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2)
BEGIN = {"svamp-codex": 0.12, "math500-llama3.1-8b": 0.15}
"""Scale at which the searches begin."""


def main() -> None:
    """Find the tightest scale of every row at every rate, and draw one rate."""
    options = arguments(__doc__ or "").parse_args()
    settings = open_online(options)
    seeds = range(options.seeds)
    tasks = [
        Run(name, system, seed, load, BEGIN[name])
        for name in settings
        for load in LOADS
        for system in ROWS.values()
        for seed in seeds
    ]
    found = iter(run_all(tightest_at, settings, tasks, options))
    tables = {
        name: {load: _rows({row: [next(found) for _ in seeds] for row in ROWS}) for load in LOADS}
        for name in settings
    }
    curves = [
        (Run(name, ROWS[row], seed, DRAWN_LOAD), SCALES)
        for name in settings
        for row in DRAWN
        for seed in seeds
    ]
    attained = iter(run_all(attained_at, settings, curves, options))
    finish(
        options,
        {
            name: {
                "title": online.title,
                "base_seconds": online.base_seconds,
                "seeds": options.seeds,
                "loads": {f"{load:g}": rows for load, rows in tables[name].items()},
                "curves": {row: _curve([next(attained) for _ in seeds]) for row in DRAWN},
            }
            for name, online in settings.items()
        },
        show,
        draw,
    )


def _rows(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    scales = {row: [one["scale"] for one in runs] for row, runs in found.items()}
    return {
        row: {
            "scale": interval(scales[row]),
            "tighter": ratio(scales["lpm"], scales[row]),
            "tighter than app-fifo": ratio(scales["app-fifo"], scales[row]),
            "tighter than fcfs": ratio(scales["fcfs"], scales[row]),
            "p90": interval([one.get("p90") for one in runs]),
            "accuracy": interval([one.get("accuracy") for one in runs]),
            "tokens": interval([one.get("tokens") for one in runs]),
            "verdicts": sorted({one["verdict"] for one in runs}),
        }
        for row, runs in found.items()
    }


def _curve(attained: list[list[float]]) -> list[dict[str, float]]:
    return [interval(list(values)) for values in np.array(attained).T]


def show(found: dict[str, Any]) -> None:
    """Print one table a setting and rate."""
    for one in found.values():
        print(f"\n{one['title']}: base {one['base_seconds']:g} s, {one['seeds']} seeds")
        for load, rows in one["loads"].items():
            print(
                f"{'load ' + load:26} {'tightest scale':>24} {'times tighter than lpm':>24} acc. %"
            )
            for row, line in rows.items():
                print(
                    f"{row:26} {spread(line['scale'], 3):>24} {spread(line['tighter']):>24} "
                    f"{spread(line['accuracy'], 4)}"
                )


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw attainment over the scale at one rate, one panel a setting."""
    drawn, axes = figure(columns=len(found), size=(4.6 * len(found), 3.4), sharey=True)
    for panel, one in zip(axes, found.values(), strict=True):
        for row, points in one["curves"].items():
            plot(panel, SCALES, percent(points), label=row)
        panel.axhline(90, color="grey", linewidth=0.7, linestyle=":")
        panel.set(xscale="log", xlabel="scale of the deadlines", title=one["title"], ylim=(0, 102))
    axes[0].set_ylabel(f"programs in time, %, at load {DRAWN_LOAD:g}")
    axes[0].legend(frameon=False, fontsize=8)
    save(drawn, path)


if __name__ == "__main__":
    main()
