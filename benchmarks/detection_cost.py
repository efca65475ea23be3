"""What it costs to look at the certaindex more often (paper, section 6.4).

    scripts/bench detection_cost --json docs/online/detection_cost.json --picture FILE

Looking after every few branches saves tokens, and lets fewer branches of a program run at once: a
program that looks after each one runs its branches one by one. The paper's benchmark went from 289
to 366 seconds of mean latency with 5 branches at a time (500 programs, one rate, no order named).
Here both sides of that by load: while slots idle only the parallelism that is lost counts; when
programs queue the tokens that are saved come back as time.

Rows: even allocation (all branches at once); the paper's `threshold` once, after 5 branches;
the same rule (`stepwise`) after every 5, 2 or 1; `beta` and `sequential`, which look after each
branch and keep 4 in flight. Orders: calls as submitted (`fcfs`) and least remaining work (`sjf`).
Ratios are to even allocation in the same order at the same load, paired by seed. A star marks
runs that were saturated for most seeds: there latency hangs on how long programs arrive.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from _figures import figure, save
from _online import (
    EVEN,
    OURS,
    Online,
    Run,
    arguments,
    finish,
    make_system,
    measured,
    open_online,
    run_all,
)
from _online_rows import Measured, by_seed, logarithmic, mark, means, plot, ratios, text
from dynasor.core.types import PolicySpec

PAPERS_AT = 0.7
ROWS = {
    "even": EVEN,
    "threshold at 5": PolicySpec("threshold", {"detect": 5, "at": PAPERS_AT}, has_lock=False),
    **{
        f"stepwise by {every}": PolicySpec(
            "stepwise", {"every": every, "at": PAPERS_AT}, has_lock=False
        )
        for every in (5, 2, 1)
    },
    "beta, 4 in flight": PolicySpec("beta", {"in_flight": 4}),
    "sequential, 4 in flight": PolicySpec(OURS.name, {**OURS.params, "in_flight": 4}),
}
ORDERS = ("fcfs", "sjf")
LOADS = (0.5, 1.0, 1.5)
MEASURES = ("mean", "p90", "tokens", "accuracy", "attainment")
COMPARED = ("mean", "p90", "tokens")
BASELINE = "even"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every row in both orders at every load."""
    settings = open_online(options)
    places = list(product(settings, ORDERS, LOADS, ROWS))
    runs = [
        Run(name, make_system(order, ROWS[row]), seed, load)
        for name, order, load, row in places
        for seed in range(options.seeds)
    ]
    found = by_seed(run_all(measured, settings, runs, options), options.seeds)
    by_place = dict(zip(places, found, strict=True))
    return {
        "seeds": options.seeds,
        "loads": LOADS,
        "settings": [_setting(online, by_place) for online in settings.values()],
    }


def _setting(online: Online, found: dict[tuple[str, str, float, str], Measured]) -> dict[str, Any]:
    name = online.name
    return {
        "setting": name,
        "title": online.title,
        "capacity": online.capacity,
        "orders": {
            order: {
                row: [
                    _point(found[name, order, load, row], found[name, order, load, BASELINE])
                    for load in LOADS
                ]
                for row in ROWS
            }
            for order in ORDERS
        },
    }


def _point(found: Measured, base: Measured) -> dict[str, Any]:
    return {
        "saturated": mark(found),
        **means(found, MEASURES),
        "over even": ratios(found, base, COMPARED),
    }


def show(found: dict[str, Any]) -> None:
    """Print one table a setting, order and load."""
    for one in found["settings"]:
        print(
            f"\n{one['title']}: even's capacity {one['capacity']:.2f} programs/s, "
            f"{found['seeds']} seeds"
        )
        for order, place in product(ORDERS, range(len(found["loads"]))):
            print(f"\nload {found['loads'][place]:g}, {order}")
            print("\n".join(table(one["orders"][order], place)))


def table(rows: dict[str, Any], place: int) -> Iterator[str]:
    """Yield the lines of one order at the load of that place."""
    yield (
        f"{'':<24} {'mean s':>16} {'over even':>12} {'P90 s':>17} {'over even':>12} "
        f"{'tokens':>14} {'over even':>12} {'right %':>12} {'in time %':>13}"
    )
    for row, points in rows.items():
        point = points[place]
        over = point["over even"]
        yield (
            f"{row:<24} {text(point['mean']):>16} {text(over['mean']):>12} "
            f"{text(point['p90']):>16}{point['saturated']:<1} {text(over['p90']):>12} "
            f"{text(point['tokens'], 0):>14} {text(over['tokens']):>12} "
            f"{text(point['accuracy'], 1, 100):>12} {text(point['attainment'], 1, 100):>13}"
        )


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw mean latency over load, one column a setting and one row an order."""
    settings = found["settings"]
    size = (1 + 4 * len(settings), 3.2 * len(ORDERS))
    drawn, panels = figure(columns=len(settings), rows=len(ORDERS), size=size)
    places = product(ORDERS, settings)
    for axes, (order, one) in zip(panels, places, strict=True):
        for row, points in one["orders"][order].items():
            plot(axes, found["loads"], [point["mean"] for point in points], label=row)
        axes.set(title=f"{one['title']}, {order}", ylabel="mean latency, s")
        axes.set(xlabel="load, of even's capacity", xticks=found["loads"])
        logarithmic(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    save(drawn, target)


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments((__doc__ or "").split("\n", 1)[0]).parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
