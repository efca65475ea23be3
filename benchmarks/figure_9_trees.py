"""Figure 9 for searches: rates and deadlines of recorded Rebase and MCTS trees, in virtual time.

    scripts/bench figure_9_trees --from docs/searches/savings_mcts.json
                                 [--setting mcts-20] [--row lpm --row "sjf + certaindex"]
                                 [--json FILE] [--picture FILE] [--work build/search_savings]

The trees are those that `scripts/bench search_savings` records of the embedded model, and the
policy is the one that it chose on other problems (`any certaindex`, plain). The engine is the
modelled one of figure 9 a; a deadline is 3 times the mean time of a search on an engine that is
nearly idle, longer for harder questions. Baselines use up the cap in the rounds that were
recorded: MCTS one iteration after the other, Rebase in two searches. `load` is the highest arrival
rate with 90 % in time, over even's capacity; `tighter` the scale of the deadlines that lpm needs at
`--at` of that capacity over the row's. Ratios are paired by seed, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _alternating
from _figures import figure, save
from _offline import Setting
from _online import (
    PRESET,
    Online,
    Rounds,
    Run,
    interval,
    make_system,
    online_of,
    p90_load,
    ratio,
    run_all,
    spread,
    tightest_at,
)
from _recorded import open_recording, places
from _script import finish
from _searches import REWARDS
from dynasor.config import parse_policy
from dynasor.core.types import PolicySpec
from dynasor.evaluate.coded import made_by
from dynasor.evaluate.offline import with_width
from dynasor.evaluate.processes import cores
from dynasor.online.cluster import Cluster
from dynasor.online.systems import System
from dynasor.programs import Mcts
from dynasor.sim.presets import preset
from search_savings import RECORDINGS, search_spec

ORDERS = ("lpm", "fcfs", "app-fifo", "sjf", "deadline")
CERTAIN = {f"{order} + certaindex": order for order in ("lpm", "sjf", "deadline")}
BEGIN, BEGIN_SCALE = 1.05, 0.5
BASE_OVER_ALONE = 3.0
"""A search of twenty rounds takes long alone: a multiple of twenty would be minutes."""


def opened(name: str, options: argparse.Namespace) -> tuple[Online, dict[str, System]]:
    """Return a recording on the cluster, and the systems that serve it."""
    one = RECORDINGS[name]
    spec = search_spec(one, options)
    trace, recorded = open_recording(options, name, spec, one.cap, options.recorded, one.policy)
    _, judge = places(options)
    questions = [recorded[place] for place in judge]
    made = made_by(trace).program
    setting = Setting(name, f"{one.program}, {one.cap}", trace.header, questions, one.cap, made)
    even = one.policy or PolicySpec("even", {"in_flight": 1}, has_lock=False)
    cluster = Cluster(preset(options.preset).model(0.9), 1)
    online = online_of(setting, one.cap, cluster, options.programs, Rounds(even, BASE_OVER_ALONE))
    settings = json.loads(options.chosen.read_text())["settings"]
    said = settings[name]["rows"]["any certaindex"]["plain"]["policy"]
    chosen = parse_policy(said, has_lock=False)
    if one.program == Mcts.name:
        chosen = with_width(chosen, 1)
    rows = {order: make_system(order, even) for order in ORDERS}
    rows |= {row: make_system(order, chosen) for row, order in CERTAIN.items()}
    return online, {row: rows[row] for row in rows if row in {"lpm", *(options.row or rows)}}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Search for every row's rate and for its tightest deadlines."""
    named = options.setting or [name for name, one in RECORDINGS.items() if _is_search(one)]
    both = {name: opened(name, options) for name in named}
    settings = {name: online for name, (online, _) in both.items()}
    seeds = range(options.seeds)
    tasks = [
        (name, row, seed) for name, (_, rows) in both.items() for row in rows for seed in seeds
    ]
    rates = [Run(name, both[name][1][row], seed, BEGIN) for name, row, seed in tasks]
    scales = [
        Run(name, both[name][1][row], seed, options.at, BEGIN_SCALE) for name, row, seed in tasks
    ]
    carried = dict(zip(tasks, run_all(p90_load, settings, rates, options), strict=True))
    tight = dict(zip(tasks, run_all(tightest_at, settings, scales, options), strict=True))
    return {
        name: {
            "title": online.title,
            "capacity": online.capacity,
            "base_seconds": online.base_seconds,
            "seeds": options.seeds,
            "at": options.at,
            "rows": {
                row: _row(
                    [carried[name, row, seed] for seed in seeds],
                    [carried[name, "lpm", seed] for seed in seeds],
                    [tight[name, row, seed] for seed in seeds],
                    [tight[name, "lpm", seed] for seed in seeds],
                )
                for row in rows
            },
        }
        for name, (online, rows) in both.items()
    }


def _is_search(one: Any) -> bool:
    return one.program != "self-consistency"


Found = list[dict[str, Any]]


def _row(carried: Found, lpm: Found, tight: Found, lpm_tight: Found) -> dict[str, Any]:
    return {
        "load": interval([one["load"] for one in carried]),
        "over lpm": ratio([one["load"] for one in carried], [one["load"] for one in lpm]),
        "accuracy": interval([one.get("accuracy") for one in carried]),
        "tokens": interval([one.get("tokens") for one in carried]),
        "verdicts": sorted({one["verdict"] for one in carried}),
        "scale": interval([one["scale"] for one in tight]),
        "tighter": ratio([one["scale"] for one in lpm_tight], [one["scale"] for one in tight]),
        "accuracy when tight": interval([one.get("accuracy") for one in tight]),
    }


def show(found: Mapping[str, Any]) -> None:
    """Print a table a setting."""
    for one in found.values():
        print(
            f"\n{one['title']}: even's capacity {one['capacity']:.2f} programs/s, base "
            f"{one['base_seconds']:g} s, {one['seeds']} seeds, deadlines at load {one['at']:g}\n"
        )
        heads = ("", "load at 90 %", "over lpm", "accuracy %", "tokens", "scale", "times tighter")
        print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
        for row, line in one["rows"].items():
            accuracy, tokens = line["accuracy"], line["tokens"]
            cells = (
                row,
                spread(line["load"]),
                spread(line["over lpm"]),
                "-" if accuracy is None else f"{100 * accuracy['mean']:.1f}",
                "-" if tokens is None else f"{tokens['mean']:.0f}",
                spread(line["scale"], 3),
                spread(line["tighter"]),
            )
            print(f"| {' | '.join(cells)} |")


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw rates as bars, one panel a setting."""
    drawn, axes = figure(columns=len(found), size=(5 * len(found), 3.4))
    for panel, one in zip(axes, found.values(), strict=True):
        rows = [(row, line["load"]) for row, line in one["rows"].items() if line["load"]]
        panel.barh([row for row, _ in rows], [load["mean"] for _, load in rows], color="#1769aa")
        panel.invert_yaxis()
        panel.set(xlabel="arrivals over even's capacity, 90 % in time", title=one["title"])
    save(drawn, path)


def main() -> None:
    """Measure, print, write and draw."""
    parser = _alternating.arguments((__doc__ or "").split("\n", 1)[0], "search_savings")
    searches = [name for name, one in RECORDINGS.items() if _is_search(one)]
    parser.add_argument("--from", dest="chosen", type=Path, required=True, help="chosen policies")
    parser.add_argument(
        "--rewards", choices=REWARDS, default="model", help="where rewards came from"
    )
    parser.add_argument("--calibration", type=int, default=150, help="other held-out problems")
    parser.add_argument("--recorded", type=int, default=3, help="searches of a question")
    parser.add_argument("--setting", action="append", choices=searches, help="only this one")
    parser.add_argument(
        "--row", action="append", choices=(*ORDERS, *CERTAIN), help="only this, beside lpm"
    )
    parser.add_argument("--at", type=float, default=1.0, help="load of the tightest deadlines")
    parser.add_argument("--programs", type=int, help="at most so many a run, for a first look")
    parser.add_argument("--processes", type=int, default=cores())
    parser.add_argument("--preset", default=PRESET, help="the engine to model")
    options = parser.parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
