"""Branches in flight against latency and tokens, by load; and a policy that chooses for itself.

    scripts/bench in_flight_online --json docs/online/in_flight_online.json --picture FILE

`sequential` with 1, 2, 4, 8, 16 and all 20 branches of a program running at once, least remaining
work first. Few in flight save tokens, since fewer are under way when a program stops; many save
time, as long as slots idle. `priced` has no fixed width: it fills idle slots, and keeps 4 in flight
when there are none. It also goes on to the cap where slots idle, so compare its accuracy too.

The best width is the one with the lowest mean over the seeds. `priced over best` is paired by seed
with the width that was best over all of them. A star marks runs that were saturated for most
seeds: there latency hangs on how long programs arrive.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

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
    run_all,
)
from _online_rows import Measured, by_seed, logarithmic, mark, means, plot, ratios, text
from dynasor.core.types import PolicySpec

ORDER = "sjf"
PRICED = "priced"
WIDTHS = (1, 2, 4, 8, 16, None)
ROWS = {
    **{
        "all" if width is None else str(width): make_system(
            ORDER, PolicySpec(OURS.name, {**OURS.params, "in_flight": width})
        )
        for width in WIDTHS
    },
    PRICED: make_system(ORDER, PolicySpec(PRICED)),
}
LOADS = (0.5, 1.0, 2.0)
LATENCIES = ("mean", "p90")
MEASURES = (*LATENCIES, "tokens", "knob", "accuracy", "attainment")

Found = dict[tuple[str, float, str], Measured]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every width, and `priced`, at every load."""
    settings = open_online(options)
    places = list(product(settings, LOADS, ROWS))
    runs = [
        Run(name, ROWS[row], seed, load)
        for name, load, row in places
        for seed in range(options.seeds)
    ]
    found = by_seed(run_all(measured, settings, runs, options), options.seeds)
    by_place = dict(zip(places, found, strict=True))
    return {
        "seeds": options.seeds,
        "settings": [
            {
                "setting": online.name,
                "title": online.title,
                "capacity": online.capacity,
                "loads": [_load(online, load, by_place) for load in LOADS],
            }
            for online in settings.values()
        ],
    }


def _load(online: Online, load: float, found: Found) -> dict[str, Any]:
    here = {row: found[online.name, load, row] for row in ROWS}
    rows = {row: {"saturated": mark(runs), **means(runs, MEASURES)} for row, runs in here.items()}
    best = {name: best_width(rows, name) for name in LATENCIES}
    return {
        "load": load,
        "rows": rows,
        "best": best,
        "priced over best": {
            name: ratios(here[PRICED], here[best[name]], (name,))[name] for name in LATENCIES
        },
    }


def best_width(rows: dict[str, Any], name: str) -> str:
    """Return the width whose mean of a measure is lowest; the narrower one among equals."""
    return min((row for row in rows if row != PRICED), key=lambda row: rows[row][name]["mean"])


def show(found: dict[str, Any]) -> None:
    """Print one table a setting and load."""
    for one in found["settings"]:
        print(
            f"\n{one['title']}: even's capacity {one['capacity']:.2f} programs/s, "
            f"{found['seeds']} seeds"
        )
        for load in one["loads"]:
            print("\n".join(table(load)))


def table(load: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one load."""
    title = f"load {load['load']:g}, in flight"
    yield (
        f"\n{title:<22} {'mean s':>16} {'P90 s':>17} "
        f"{'tokens':>14} {'branches':>8} {'right %':>12} {'in time %':>13}"
    )
    for row, line in load["rows"].items():
        yield (
            f"{row:<22} {text(line['mean']):>16} {text(line['p90']):>16}{line['saturated']:<1} "
            f"{text(line['tokens'], 0):>14} {line['knob']['mean']:>8.1f} "
            f"{text(line['accuracy'], 1, 100):>12} {text(line['attainment'], 1, 100):>13}"
        )
    over, best = load["priced over best"], load["best"]
    yield (
        f"best: {best['mean']} by the mean, {best['p90']} by P90; priced takes "
        f"{text(over['mean'])} and {text(over['p90'])} times as long"
    )


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw mean latency and tokens over the branches in flight, one column a setting."""
    settings = found["settings"]
    columns = len(settings)
    drawn, panels = figure(columns=columns, rows=2, size=(1 + 4 * columns, 6), sharex=True)
    for place, one in enumerate(settings):
        seconds, tokens = panels[place], panels[columns + place]
        for load in one["loads"]:
            for axes, name in ((seconds, "mean"), (tokens, "tokens")):
                _draw_load(axes, load, name)
        seconds.set(title=one["title"], ylabel="mean latency, s")
        logarithmic(seconds)
        tokens.set(xlabel="branches in flight; right: priced", ylabel="tokens a question")
        tokens.set(xticks=range(len(ROWS)), xticklabels=[*list(ROWS)[:-1], "priced"])
        tokens.set_ylim(0, None)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(LOADS), frameon=False)
    save(drawn, target)


def _draw_load(axes: Any, load: dict[str, Any], name: str) -> None:
    widths = [line[name] for row, line in load["rows"].items() if row != PRICED]
    plot(axes, range(len(widths)), widths, label=f"load {load['load']:g}")
    colour = axes.lines[-1].get_color()
    plot(axes, [len(widths)], [load["rows"][PRICED][name]], color=colour, marker="D")


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments((__doc__ or "").split("\n", 1)[0]).parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
