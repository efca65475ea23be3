"""Figure 9 c: accuracy against attainment over caps, at a fixed rate and fixed deadlines.

    scripts/bench figure_9c --json docs/online/figure_9c.json --picture docs/online/figure_9c.svg

A system that cannot carry the rate lowers its cap: fewer branches for everyone, more programs in
time, less accuracy. The gain of a row is its accuracy less lpm's at the same attainment, 90 %,
each read off its own curve over caps (linear between neighbours), paired by seed. Where every cap
attains more, the largest one counts: no row gets credit for what it was not asked for.
Accuracy is that of all programs. Where deadlines end programs, an answer so far counts as it is,
and none as wrong; elsewhere a late answer counts like any other.
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
    finish,
    interval,
    make_system,
    measured,
    open_online,
    run_all,
)
from dynasor.core.types import PolicySpec

PRICED = PolicySpec("priced")
ROWS = {
    "lpm": make_system("lpm"),
    "lpm + threshold": make_system("lpm", PAPER),
    "sjf + threshold": make_system("sjf", PAPER),
    "deadline + sequential": make_system("deadline", OURS),
    "deadline + priced": make_system("deadline", PRICED),
}
CAPS = (3, 5, 7, 10, 15, 20)
LOADS = {"svamp-codex": (4.0,), "math500-llama3.1-8b": (2.0,)}
"""Fractions of even's capacity at cap 20: more than certaindex alone saves."""
AT = 0.9


def main() -> None:
    """Run every row with every cap, and read the curves off at one attainment."""
    options = arguments(__doc__ or "").parse_args()
    settings = open_online(options)
    seeds = range(options.seeds)
    tasks = [
        (Run(name, system, seed, load), cap)
        for name in settings
        for load in LOADS[name]
        for system in ROWS.values()
        for cap in CAPS
        for seed in seeds
    ]
    found = iter(run_all(_capped, settings, tasks, options))
    tables = {
        name: {
            f"{load:g}": {row: [[next(found) for _ in seeds] for _ in CAPS] for row in ROWS}
            for load in LOADS[name]
        }
        for name in settings
    }
    finish(
        options,
        {
            name: {
                "title": online.title,
                "seeds": options.seeds,
                "loads": {load: _rows(rows) for load, rows in tables[name].items()},
            }
            for name, online in settings.items()
        },
        show,
        draw,
    )


def _capped(settings: dict[str, Any], task: tuple[Run, int]) -> tuple[float, float, float]:
    """Return attainment, accuracy and tokens of a run with another cap, its deadlines as they are.

    How hard a question is, and so its deadline, stays that of cap 20.
    """
    run, cap = task
    found = measured(settings, run, cap)
    return found["attainment"], found["accuracy"], found["tokens"]


def _rows(found: dict[str, list[list[tuple[float, float, float]]]]) -> dict[str, Any]:
    tables = {row: np.array(by_cap) for row, by_cap in found.items()}  # [cap, seed, measure]
    seeds = range(next(iter(tables.values())).shape[1])
    at = {row: [_read(table[:, seed]) for seed in seeds] for row, table in tables.items()}
    rows = {}
    for row, table in tables.items():
        gains = [own - other for own, other in zip(at[row], at["lpm"], strict=True)]
        rows[row] = {
            "accuracy": interval(at[row]) if np.isfinite(at[row]).all() else None,
            "gain": interval(gains) if np.isfinite(gains).all() else None,
            "caps": [
                {
                    "cap": cap,
                    **{
                        name: interval(list(table[place, :, column]))
                        for column, name in enumerate(("attainment", "accuracy", "tokens"))
                    },
                }
                for place, cap in enumerate(CAPS)
            ],
        }
    return rows


def _read(table: Any) -> float:
    """Return the accuracy at the wanted attainment, by the largest caps that still reach it."""
    attained, accuracy = table[:, 0], table[:, 1]
    places = np.flatnonzero(attained >= AT)
    if not len(places):
        return float("nan")
    last = places[-1]
    if last == len(CAPS) - 1:
        return float(accuracy[last])
    share = (attained[last] - AT) / (attained[last] - attained[last + 1])
    return float(accuracy[last] + share * (accuracy[last + 1] - accuracy[last]))


def show(found: dict[str, Any]) -> None:
    """Print one table a setting and rate."""
    for one in found.values():
        for load, rows in one["loads"].items():
            print(f"\n{one['title']}, load {load}, {one['seeds']} seeds: accuracy at 90 % in time")
            for row, line in rows.items():
                print(f"{row:24} {_percent(line['accuracy']):>24} {_percent(line['gain']):>24}")


def _percent(one: dict[str, float] | None) -> str:
    if one is None:
        return "never 90 %"
    return f"{100 * one['mean']:.2f} ({100 * one['low']:.2f}, {100 * one['high']:.2f})"


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw accuracy over attainment, one panel a setting and rate; a point is a cap."""
    panels = [
        (f"{one['title']}, load {load}", rows)
        for one in found.values()
        for load, rows in one["loads"].items()
    ]
    drawn, axes = figure(columns=2, rows=(len(panels) + 1) // 2, size=(9.2, 3.3 * len(panels) / 2))
    for panel, (title, rows) in zip(axes, panels, strict=False):
        for row, line in rows.items():
            attained = [100 * one["attainment"]["mean"] for one in line["caps"]]
            accuracy = [100 * one["accuracy"]["mean"] for one in line["caps"]]
            panel.plot(attained, accuracy, label=row, marker=".", linewidth=1.2)
        panel.axvline(100 * AT, color="grey", linewidth=0.7, linestyle=":")
        panel.set(xlabel="programs in time, %", ylabel="accuracy, %", title=title)
    axes[0].legend(frameon=False, fontsize=8)
    save(drawn, path)


if __name__ == "__main__":
    main()
