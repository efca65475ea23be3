"""Figure 9 a: the arrival rate that a system carries with 90 % of its programs in time.

    scripts/bench figure_9a --json docs/online/figure_9a.json --picture docs/online/figure_9a.svg

Rates are loads: fractions of even's measured capacity. Ratios are paired by seed, geometric means
with 95 % intervals. Three groups: what others do, what allocation alone or ordering alone gives,
and both together. `cut` ends a program at its deadline with its best answer so far, which the
ordering `deadline` always does. The policy `priced` is not here: it gives up accuracy where others
miss deadlines, and stands in figure 9 c.

The bound: programs in time need their tokens, and the cluster generates S tokens a second when
saturated, from the first arrival to the last deadline. If the policy's tokens are spent on the
cheapest 90 % of the programs alone, none on the others, then

    rate <= S * (1 + longest deadline / duration of arrivals) / (0.9 * mean tokens of those 90 %)

No order can do better with this policy; none can know beforehand which programs those are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from _figures import figure, save
from _online import (
    OURS,
    Online,
    Run,
    arguments,
    finish,
    interval,
    make_system,
    measured,
    open_online,
    p90_load,
    ratio,
    run_all,
    simulated,
)
from dynasor.core.types import PolicySpec

PAPER = PolicySpec("threshold", has_lock=False)
ROWS = {
    "fcfs": make_system("fcfs"),
    "lpm": make_system("lpm"),
    "lpm-128": make_system("lpm-128"),
    "app-fifo": make_system("app-fifo"),
    "plas": make_system("plas"),
    "lpm, cut": make_system("lpm", enforces_deadlines=True),
    "sjf": make_system("sjf"),
    "deadline": make_system("deadline"),
    "lpm + threshold": make_system("lpm", PAPER),
    "lpm + sequential": make_system("lpm", OURS),
    "sjf + threshold": make_system("sjf", PAPER),
    "sjf + sequential": make_system("sjf", OURS),
    "deadline + threshold": make_system("deadline", PAPER),
    "deadline + sequential": make_system("deadline", OURS),
}
"""What is compared; the first eight under even allocation."""
BEGIN = {
    "svamp-codex": {"even": 1.07, "threshold": 2.0, "sequential": 3.5},
    "math500-llama3.1-8b": {"even": 1.1, "threshold": 1.3, "sequential": 1.6},
}
"""Loads at which the search begins, by policy."""
BASELINES = ("lpm", "fcfs", "app-fifo")
DRAWN = ("lpm", "sjf + threshold", "sjf + sequential", "deadline + sequential")
LOADS = (0.8, 1.0, 1.2, 1.5, 2.0, 2.7, 3.5, 4.5)
BOUNDED = "deadline + sequential"
IN_TIME = 0.9


def main() -> None:
    """Search for every row's rate, and draw attainment over rates for some of them."""
    options = arguments(__doc__ or "").parse_args()
    settings = open_online(options)
    seeds = range(options.seeds)
    searches = [
        Run(name, system, seed, BEGIN[name][system.policy.name])
        for name in settings
        for system in ROWS.values()
        for seed in seeds
    ]
    found = iter(run_all(p90_load, settings, searches, options))
    peaks = {name: {row: [next(found) for _ in seeds] for row in ROWS} for name in settings}
    curves = _curves(settings, options)
    bounds = run_all(
        _bound, settings, [(name, seed) for name in settings for seed in seeds], options
    )
    by_setting = iter(np.array(bounds).reshape(len(settings), -1))
    finish(
        options,
        {
            name: {
                "title": online.title,
                "capacity": online.capacity,
                "base_seconds": online.base_seconds,
                "seeds": options.seeds,
                "rows": _rows(peaks[name]),
                "bound": _bounded(peaks[name], next(by_setting)),
                "curves": curves[name],
            }
            for name, online in settings.items()
        },
        show,
        draw,
    )


def _curves(settings: dict[str, Online], options: Any) -> dict[str, Any]:
    runs = [
        Run(name, ROWS[row], seed, load)
        for name in settings
        for row in DRAWN
        for load in LOADS
        for seed in range(options.seeds)
    ]
    attained = [one["attainment"] for one in run_all(measured, settings, runs, options)]
    shape = (len(settings), len(DRAWN), len(LOADS), options.seeds)
    table = np.array(attained).reshape(shape)
    return {
        name: {
            row: [interval(list(table[place, line, column])) for column in range(len(LOADS))]
            for line, row in enumerate(DRAWN)
        }
        for place, name in enumerate(settings)
    }


def _bound(settings: dict[str, Online], task: tuple[str, int]) -> float:
    """Return the load that no order exceeds with the bounded row's policy."""
    name, seed = task
    online, system = settings[name], ROWS[BOUNDED]
    calm = simulated(settings, Run(name, make_system("fcfs", system.policy), seed, 0.5))
    cheapest = np.sort(calm.tokens)[: round(IN_TIME * len(calm))]
    full = measured(settings, Run(name, system, seed, 5.0))
    duration = online.experiment.workload.duration_seconds
    assert duration is not None  # `open_online` sets it
    deadlines = [part.deadline for part in online.experiment.workload.parts]
    longest = max(one.seconds(max(one.factors)) for one in deadlines if one is not None)
    tokens = full["saturated_tokens_per_second"] * (1 + longest / duration)
    return float(tokens / (IN_TIME * cheapest.mean()) / online.capacity)


def _rows(peaks: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    loads = {row: [one["load"] for one in found] for row, found in peaks.items()}
    rows = {}
    for row, found in peaks.items():
        rows[row] = {
            "load": interval(loads[row]),
            "verdicts": sorted({one["verdict"] for one in found}),
            "accuracy": interval([one["accuracy"] for one in found]),
            "tokens": interval([one["tokens"] for one in found]),
            "broken_promises": sum(one["broken_promises"] for one in found),
            **{f"over {other}": ratio(loads[row], loads[other]) for other in BASELINES},
        }
    return rows


def _bounded(peaks: dict[str, list[dict[str, Any]]], bounds: Any) -> dict[str, Any]:
    reached = [one["load"] for one in peaks[BOUNDED]]
    return {
        "row": BOUNDED,
        "load": interval(list(bounds)),
        "reached": ratio(reached, list(bounds)),
        "over lpm": ratio(list(bounds), [one["load"] for one in peaks["lpm"]]),
    }


def show(found: dict[str, Any]) -> None:
    """Print one table a setting."""
    for one in found.values():
        print(
            f"\n{one['title']}: even's capacity {one['capacity']:.2f} programs/s, base "
            f"{one['base_seconds']:g} s, {one['seeds']} seeds"
        )
        print(f"{'':24} {'load at 90 %':>20} {'over lpm':>20} {'accuracy':>9} {'tokens':>7}")
        for row, line in one["rows"].items():
            print(
                f"{row:24} {_spread(line['load']):>20} {_spread(line['over lpm']):>20} "
                f"{100 * line['accuracy']['mean']:9.2f} {line['tokens']['mean']:7.0f}"
            )
        bound = one["bound"]
        print(
            f"bound for {bound['row']}: {_spread(bound['load'])}, {_spread(bound['over lpm'])} "
            f"over lpm; reached {100 * bound['reached']['mean']:.0f} % of it"
        )


def _spread(one: dict[str, float]) -> str:
    return f"{one['mean']:.2f} ({one['low']:.2f}, {one['high']:.2f})"


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw attainment over load, one panel a setting."""
    drawn, axes = figure(columns=len(found), size=(4.6 * len(found), 3.4), sharey=True)
    for panel, one in zip(axes, found.values(), strict=True):
        for row, points in one["curves"].items():
            low, middle, high = (
                [100 * point[key] for point in points] for key in ("low", "mean", "high")
            )
            (line,) = panel.plot(LOADS, middle, label=row, marker=".", linewidth=1.2)
            panel.fill_between(LOADS, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        panel.axhline(100 * IN_TIME, color="grey", linewidth=0.7, linestyle=":")
        panel.set(xlabel="arrivals over even's capacity", title=one["title"], ylim=(0, 102))
    axes[0].set_ylabel("programs in time, %")
    axes[0].legend(frameon=False, fontsize=8)
    save(drawn, path)


if __name__ == "__main__":
    main()
