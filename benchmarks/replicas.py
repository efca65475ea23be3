"""Replicas 1 to 8: does a scheduler in front of several engines keep what each of them can do?

    scripts/bench replicas --json docs/online/replicas.json --picture docs/online/replicas.svg

Arrivals grow with the replicas: loads are fractions of even's capacity, measured on each cluster,
and the table begins with that capacity for each replica. Two rows at load 0.9, which all carry:
`lpm` under even allocation, which the engines put in order, and our policy by remaining work. Two
more at a load that they cannot carry, for the tokens a second of a replica while calls wait; there
a star says that latency hangs on how long programs arrive.

The calls of a program share its prompt only on the replica where they run. The share of prompt
tokens found in the cache says how far they are kept together; what is not found has to be computed,
which counts where prompts are as long as answers (svamp). A decision is one event handled, by the
wall clock: it depends on what else the machine does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
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
from _online_rows import Measured, by_seed, each, mark, means, plot, ratios, text

REPLICAS = (1, 2, 4, 8)
LPM, OWN = make_system("lpm"), make_system("sjf", OURS)
ROWS = {
    "lpm, load 0.9": (LPM, 0.9),
    "sjf + sequential, load 0.9": (OWN, 0.9),
    "lpm, saturated": (LPM, 1.5),
    "sjf + sequential, saturated": (OWN, None),
}
"""Systems and their loads; None for that of `BEYOND`."""
BEYOND = {"svamp-codex": 4.0, "math500-llama3.1-8b": 2.0}
"""Loads that nobody carries with our policy, which saves more on one than on the other."""
MEASURES = ("attainment", "mean", "p90", "cached", "tokens", "accuracy", "decision_us", "rate")
SATURATES = 1.5
DRAWN = {
    "rate": "tokens/s of a replica",
    "p90": "P90 latency, s",
    "cached": "prompt tokens from the cache",
}
Found = dict[tuple[str, int, str], Measured]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every row on every number of replicas."""
    clusters = {count: open_online(options, replicas=count) for count in options.replicas}
    settings = {
        _on(name, count): replace(online, name=_on(name, count))
        for count, opened in clusters.items()
        for name, online in opened.items()
    }
    names = list(clusters[options.replicas[0]])
    places = list(product(names, options.replicas, ROWS))
    runs = [
        Run(_on(name, count), system, seed, load or BEYOND[name])
        for name, count, row in places
        for system, load in (ROWS[row],)
        for seed in range(options.seeds)
    ]
    done = run_all(measured, settings, runs, options)
    rated = [with_rate(one, run, settings) for one, run in zip(done, runs, strict=True)]
    found = dict(zip(places, by_seed(rated, options.seeds), strict=True))
    return {
        "seeds": options.seeds,
        "replicas": options.replicas,
        "settings": [
            _setting([clusters[count][name] for count in options.replicas], found) for name in names
        ],
    }


def _on(name: str, count: int) -> str:
    return f"{name} on {count}"


def with_rate(one: dict[str, Any], run: Run, settings: dict[str, Online]) -> dict[str, Any]:
    """Return a run's measures with `rate`: tokens a second of a replica while calls waited.

    None where the engines could carry the load: what they generate then says nothing of them.
    """
    replicas = settings[run.setting].experiment.cluster.replicas
    rate = one["saturated_tokens_per_second"]
    return {**one, "rate": rate / replicas if run.load >= SATURATES and rate > 0 else None}


def _setting(onlines: list[Online], found: Found) -> dict[str, Any]:
    counts = [online.experiment.cluster.replicas for online in onlines]
    return {
        "setting": onlines[0].name,
        "title": onlines[0].title,
        "capacities": [online.capacity for online in onlines],
        "rows": {
            row: [
                _point(found[onlines[0].name, count, row], found[onlines[0].name, counts[0], row])
                for count in counts
            ]
            for row in ROWS
        },
    }


def _point(found: Measured, fewest: Measured) -> dict[str, Any]:
    has_rate = all(one["rate"] is not None for one in (*found, *fewest))
    return {
        "saturated": mark(found),
        **means(found, MEASURES),
        "rate over fewest": ratios(found, fewest, ("rate",))["rate"] if has_rate else None,
        "broken_promises": sum(each(found, "broken_promises")),
    }


def show(found: dict[str, Any]) -> None:
    """Print one table a setting."""
    for one in found["settings"]:
        print(f"\n{one['title']}, {found['seeds']} seeds")
        counted = zip(found["replicas"], one["capacities"], strict=True)
        shown = ", ".join(f"{all_of / count:.2f} of {count}" for count, all_of in counted)
        print(f"even's capacity, programs/s of each replica: {shown}")
        print("\n".join(table(found["replicas"], one["rows"])))


def table(counts: list[int], rows: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one setting."""
    yield (
        f"{'':<27} {'replicas':>8} {'in time %':>13} {'mean s':>15} {'P90 s':>16} "
        f"{'tokens/s each':>15} {'over fewest':>12} {'cached %':>8} {'tokens':>7} {'µs':>6}"
    )
    for row, points in rows.items():
        for count, point in zip(counts, points, strict=True):
            yield (
                f"{row:<27} {count:>8} {text(point['attainment'], 1, 100):>13} "
                f"{text(point['mean']):>15} {text(point['p90']):>15}{point['saturated']:<1} "
                f"{text(point['rate'], 0):>15} {text(point['rate over fewest']):>12} "
                f"{100 * point['cached']['mean']:>8.1f} {point['tokens']['mean']:>7.0f} "
                f"{point['decision_us']['mean']:>6.1f}"
            )


def draw(found: dict[str, Any], target: Path) -> None:
    """Draw what a replica does, P90 latency and cached share, one row of panels a setting."""
    settings = found["settings"]
    drawn, panels = figure(columns=3, rows=len(settings), size=(11, 0.8 + 3 * len(settings)))
    for place, one in enumerate(settings):
        for column, (name, label) in enumerate(DRAWN.items()):
            _draw_measure(panels[3 * place + column], found["replicas"], one, name)
            panels[3 * place + column].set(ylabel=label, title=one["title"])
    handles, names = panels[2].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside lower center", ncols=len(ROWS), frameon=False)
    save(drawn, target)


def _draw_measure(axes: Any, counts: list[int], one: dict[str, Any], name: str) -> None:
    for place, (row, points) in enumerate(one["rows"].items()):
        values = [point[name] for point in points]
        if all(value is not None for value in values):
            plot(axes, counts, values, label=row, color=f"C{place}")
    axes.set(xlabel="replicas", xscale="log", ylim=(0, None))
    axes.minorticks_off()
    axes.set(xticks=counts, xticklabels=counts)


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--replicas", type=int, action="append", help="only so many")
    options = parser.parse_args()
    options.replicas = options.replicas or list(REPLICAS)
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
