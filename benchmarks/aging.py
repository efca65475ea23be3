"""Aging: the longest wait over solo time with and without it, what it costs, and its promise.

    scripts/bench aging --json docs/online/aging.json --picture docs/online/aging.svg

Under `gang` and `sjf` with `sequential`, near saturation: the load is 0.95 times the highest at
which 90 % of the programs are in time without aging, as a search with the first seed finds it
(`--load` gives another one), so that it is the same for all factors of an order. A program crosses
above the others when it has been here for so many times its estimated time alone. Factor 0 is
without aging. A wait is the longest time that a program stood still while calls waited, over its
time alone on an idle engine.

The promise, that nobody starts a call before one of a program that crossed earlier, is watched
from outside on every run. The script ends with an error if it was broken once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from _ablation import head, heading, over_seeds, total
from _figures import figure, save
from _online import (
    OURS,
    Online,
    Run,
    arguments,
    finish,
    make_system,
    measured,
    open_online,
    p90_load,
    run_all,
)
from _online_rows import means, plot, ratios, text

ORDERS = ("gang", "sjf")
FACTORS = (0.0, 20.0, 10.0, 5.0)
"""Without aging first: the others are compared with it. The default is 10."""
BELOW_PEAK = 0.95
BEGIN = {"gang": 1.6, "sjf": 2.2}
"""Loads at which the search for the peak begins."""
MEASURES = (
    "wait_over_solo", "longest_wait", "mean", "p90", "p99", "attainment", "unfair_p99", "crossings",
)  # fmt: skip
RATIOS = ("wait_over_solo", "mean", "p90")
COLOURS = {"gang": "#4c9a6a", "sjf": "#1769aa"}
DRAWN = {
    "wait_over_solo": ("longest wait over time alone", {"bottom": 0}),
    "p90": ("P90 latency, s", {"bottom": 0}),
    "attainment": ("share of programs in time", {"top": 1.01}),
}
"""What is drawn, one column each: the axis, and where it ends."""


def measure(options: Any) -> dict[str, Any]:
    """Return the figures of every order and factor."""
    settings = open_online(options)
    loads = _loads(settings, options)
    cells = {
        (*place, factor): Run(
            place[0], make_system(place[1], OURS, aging_factor=factor), 0, loads[place]
        )
        for place in loads
        for factor in FACTORS
    }
    found = over_seeds(measured, settings, cells, options)
    return {
        name: {
            **head(online, options.seeds),
            "orders": {
                order: {
                    "load": loads[name, order],
                    "factors": compared({one: found[name, order, one] for one in FACTORS}),
                }
                for order in ORDERS
            },
        }
        for name, online in settings.items()
    }


def _loads(settings: dict[str, Online], options: Any) -> dict[tuple[str, str], float]:
    """Return the load of every setting and order."""
    places = [(name, order) for name in settings for order in ORDERS]
    if options.load is not None:
        return dict.fromkeys(places, options.load)
    runs = [
        Run(name, make_system(order, OURS, aging_factor=0.0), 0, BEGIN[order])
        for name, order in places
    ]
    peaks = [one["load"] for one in run_all(p90_load, settings, runs, options)]
    for (name, order), peak in zip(places, peaks, strict=True):
        if peak is None:
            raise SystemExit(f"{name}, {order}: no load has 90 % in time; give one with --load")
    return {place: BELOW_PEAK * peak for place, peak in zip(places, peaks, strict=True)}


def compared(found: dict[float, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the rows of one order: means over seeds, and ratios to the row without aging."""
    return {
        f"{factor:g}": {
            **means(runs, MEASURES),
            "over none": ratios(runs, found[FACTORS[0]], RATIOS),
            "broken_promises": total(runs, "broken_promises"),
        }
        for factor, runs in found.items()
    }


def show(found: dict[str, Any]) -> None:
    """Print one table a setting and order."""
    for one in found.values():
        print(heading(one))
        for order, at in one["orders"].items():
            name = f"{order}, load {at['load']:.2f}"
            print(f"\n{name:16} {'wait over solo':>16} {'over none':>12} {'mean, s':>14} ", end="")
            print(f"{'over none':>12} {'P90, s':>14} {'over none':>12} {'in time, %':>12} ", end="")
            print(f"{'crossed':>8} {'broken':>6}")
            for factor, line in at["factors"].items():
                over = line["over none"]
                print(
                    f"{'none' if factor == '0' else 'factor ' + factor:16} "
                    f"{text(line['wait_over_solo']):>16} {text(over['wait_over_solo']):>12} "
                    f"{text(line['mean']):>14} {text(over['mean']):>12} "
                    f"{text(line['p90']):>14} {text(over['p90']):>12} "
                    f"{text(line['attainment'], 1, 100):>12} "
                    f"{line['crossings']['mean']:8.0f} {line['broken_promises']:6}"
                )


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw every measure over the factor, one row a setting."""
    drawn, panels = figure(columns=len(DRAWN), rows=len(found), size=(11, 0.6 + 3 * len(found)))
    places = [(one, name) for one in found.values() for name in DRAWN]
    labels = ["none", *(f"{factor:g}" for factor in FACTORS[1:])]
    for axes, (one, name) in zip(panels, places, strict=True):
        words, limit = DRAWN[name]
        for order, at in one["orders"].items():
            points = [line[name] for line in at["factors"].values()]
            plot(axes, range(len(FACTORS)), points, label=order, color=COLOURS[order])
        axes.set_xticks(range(len(FACTORS)), labels=labels)
        axes.set(title=one["title"], xlabel="aging factor", ylabel=words)
        axes.set_ylim(**limit)
    panels[0].legend(frameon=False, fontsize=8)
    save(drawn, path)


def broken(found: dict[str, Any]) -> int:
    """Return how many calls started against the promise, in all runs."""
    return sum(
        line["broken_promises"]
        for one in found.values()
        for at in one["orders"].values()
        for line in at["factors"].values()
    )


def main() -> None:
    """Measure, print, write and draw; end with an error where the promise was broken."""
    parser = arguments((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--load", type=float, help="of even's capacity, instead of a search")
    options = parser.parse_args()
    found = measure(options)
    finish(options, found, show, draw)
    if times := broken(found):
        sys.exit(f"the promise of aging was broken {times} times")


if __name__ == "__main__":
    main()
