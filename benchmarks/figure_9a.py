"""Figure 9 a: the arrival rate that a system carries with 90 % of its programs in time.

    scripts/bench figure_9a --json docs/online/figure_9a.json --picture docs/online/figure_9a.svg

Rates are loads: fractions of even's measured capacity. Ratios are paired by seed, geometric means
with 95 % intervals. Three groups: what others do, what allocation alone or ordering alone gives,
and both together. `cut` ends a program at its deadline with its best answer so far, which the
ordering `deadline` always does.

The policy `priced` gives up accuracy before deadlines, at any rate, so a rate says nothing of it
alone. Three rows are therefore searched once more: the highest rate with 90 % in time and at most
one point of accuracy less than lpm has at load 1 on the same seed.

`--row` makes only some rows, and keeps the others of an earlier `--json` file; name `lpm` with
them, as ratios are paired with it. A row with a star would not have held its load for longer than
programs arrived.

The bound: programs in time need their tokens, and the cluster generates S tokens a second when
saturated, from the first arrival to the last deadline. If the policy's tokens are spent on the
cheapest 90 % of the programs alone, none on the others, then

    rate <= S * (1 + longest deadline / duration of arrivals) / (0.9 * mean tokens of those 90 %)

No order can do much better with this policy, and none can know beforehand which programs those
are. It is a fluid bound: S is measured in overload, and the first tenth of the programs, which
attainment leaves out, is taken to be served like the others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from _figures import figure, save
from _online import (
    CROWDS,
    OURS,
    PAPER,
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
    spread,
)
from _online_rows import mark, percent, plot
from dynasor.core.types import PolicySpec

PRICED = PolicySpec("priced")
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
    "deadline + sequential for crowds": make_system("deadline", CROWDS),
}
"""What is compared; the first eight under even allocation."""
BEGIN = {
    "svamp-codex": {"even": 1.07, "threshold": 2.0, "sequential": 3.5},
    "math500-llama3.1-8b": {"even": 1.1, "threshold": 1.3, "sequential": 1.6},
}
"""Loads at which the search begins, by policy."""
WITHIN = {
    "deadline + sequential": (make_system("deadline", OURS), {"svamp-codex": 3.2}, 1.7),
    "deadline + sequential for crowds": (
        make_system("deadline", CROWDS), {"svamp-codex": 3.6}, 1.6,
    ),
    "deadline + priced": (make_system("deadline", PRICED), {"svamp-codex": 3.2}, 1.7),
}  # fmt: skip
"""What is searched once more with a bound on accuracy, and where that begins."""
POINT = 0.01
BASELINES = ("lpm", "fcfs", "app-fifo")
DRAWN = ("lpm", "sjf + threshold", "sjf + sequential", "deadline + sequential")
LOADS = (0.8, 1.0, 1.2, 1.5, 2.0, 2.7, 3.5, 4.5)
BOUNDED = "deadline + sequential"
IN_TIME = 0.9


def main() -> None:
    """Search for every row's rate, and draw attainment over rates for some of them."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--row", action="append", choices=ROWS, help="only this one; repeat it")
    options = parser.parse_args()
    settings = open_online(options)
    seeds = range(options.seeds)
    rows = {name: system for name, system in ROWS.items() if name in (options.row or ROWS)}
    searches = [
        Run(name, system, seed, BEGIN[name][system.policy.name])
        for name in settings
        for system in rows.values()
        for seed in seeds
    ]
    found = iter(run_all(p90_load, settings, searches, options))
    peaks = {name: {row: [next(found) for _ in seeds] for row in rows} for name in settings}
    again = [
        Run(name, system, seed, begin.get(name, other))
        for name in settings
        for system, begin, other in WITHIN.values()
        for seed in seeds
    ]
    found = iter(run_all(_within_a_point, settings, again, options))
    within = {name: {row: [next(found) for _ in seeds] for row in WITHIN} for name in settings}
    known = _known(options)
    rest = {} if options.row else _rest(settings, options, peaks)
    finish(
        options,
        {
            name: {
                "title": online.title,
                "capacity": online.capacity,
                "base_seconds": online.base_seconds,
                "seeds": options.seeds,
                **known.get(name, {}),
                **rest.get(name, {}),
                "rows": {**known.get(name, {}).get("rows", {}), **_rows(peaks[name])},
                "within a point": _rows({"lpm": peaks[name]["lpm"], **within[name]}),
            }
            for name, online in settings.items()
        },
        show,
        draw,
    )


def _known(options: Any) -> dict[str, Any]:
    """Return what an earlier run wrote, where only some rows are made."""
    if not options.row or options.json is None or not options.json.is_file():
        return {}
    return dict(json.loads(options.json.read_text()))


def _within_a_point(settings: dict[str, Online], run: Run) -> dict[str, Any]:
    """Search with a bound on accuracy: lpm's on the same seed at load 1, less a point."""
    other = measured(settings, Run(run.setting, ROWS["lpm"], run.seed, 1.0))
    return p90_load(settings, run, other["accuracy"] - POINT)


def _rest(settings: dict[str, Online], options: Any, peaks: dict[str, Any]) -> dict[str, Any]:
    """Return what takes all rows: curves, and the bound."""
    seeds = range(options.seeds)
    curves = _curves(settings, options)
    tasks = [(name, seed) for name in settings for seed in seeds]
    bounds = run_all(_bound, settings, tasks, options)
    by_setting = np.array(bounds).reshape(len(settings), -1)
    return {
        name: {"curves": curves[name], "bound": _bounded(peaks[name], bound)}
        for name, bound in zip(settings, by_setting, strict=True)
    }


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
    bases = [other for other in BASELINES if other in loads]
    return {
        row: {
            "load": interval(loads[row]),
            "verdicts": sorted({one["verdict"] for one in found}),
            "mark": mark([one for one in found if "is_saturated" in one]),
            "accuracy": interval([one.get("accuracy") for one in found]),
            "tokens": interval([one.get("tokens") for one in found]),
            **{f"over {other}": ratio(loads[row], loads[other]) for other in bases},
        }
        for row, found in peaks.items()
    }


def _bounded(peaks: dict[str, list[dict[str, Any]]], bounds: Any) -> dict[str, Any]:
    reached = [one["load"] for one in peaks[BOUNDED]]
    return {
        "row": BOUNDED,
        "load": interval(list(bounds)),
        "reached": ratio(reached, list(bounds)),
        "over lpm": ratio(list(bounds), [one["load"] for one in peaks["lpm"]]),
    }


def show(found: dict[str, Any]) -> None:
    """Print two tables a setting."""
    for one in found.values():
        print(
            f"\n{one['title']}: even's capacity {one['capacity']:.2f} programs/s, base "
            f"{one['base_seconds']:g} s, {one['seeds']} seeds"
        )
        _show_rows("load at 90 %", one["rows"])
        _show_rows("within a point of lpm", one["within a point"])
        if "bound" in one:
            bound = one["bound"]
            print(
                f"bound for {bound['row']}: {spread(bound['load'])}, {spread(bound['over lpm'])} "
                f"over lpm; reached {spread(bound['reached'])} of it"
            )


def _show_rows(title: str, rows: dict[str, Any]) -> None:
    print(f"{'':33} {title:>21} {'over lpm':>18} {'accuracy':>9} {'tokens':>7}")
    for row, line in rows.items():
        load = spread(line["load"]) + line.get("mark", "")
        load += "" if line["verdicts"] == ["found"] else " " + "/".join(line["verdicts"])
        accuracy, tokens = line["accuracy"], line["tokens"]
        print(
            f"{row:33} {load:>21} {spread(line['over lpm']):>18} "
            f"{'-' if accuracy is None else format(100 * accuracy['mean'], '.2f'):>9} "
            f"{'-' if tokens is None else format(tokens['mean'], '.0f'):>7}"
        )


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw attainment over load, one panel a setting."""
    drawn, axes = figure(columns=len(found), size=(4.6 * len(found), 3.4), sharey=True)
    for panel, one in zip(axes, found.values(), strict=True):
        for row, points in one.get("curves", {}).items():
            plot(panel, LOADS, percent(points), label=row)
        panel.axhline(100 * IN_TIME, color="grey", linewidth=0.7, linestyle=":")
        panel.set(xlabel="arrivals over even's capacity", title=one["title"], ylim=(0, 102))
    axes[0].set_ylabel("programs in time, %")
    if axes[-1].lines[:-1]:
        axes[-1].legend(frameon=False, fontsize=8, loc="upper right")
    save(drawn, path)


if __name__ == "__main__":
    main()
