"""What systems make of one rate: programs in time, accuracy, tokens, latency.

    scripts/bench one_load --json docs/online/one_load.json

`--load` gives another rate, in even's capacities. Without it: on svamp-codex 3.3 times the rate
that lpm carries with 90 % in time (figure 9 a), the paper's best; on math500-llama3.1-8b 0.8 of the
bound for `deadline + sequential` (the same figure).
"""

from __future__ import annotations

from typing import Any

from _online import (
    CROWDS,
    OURS,
    Run,
    arguments,
    finish,
    interval,
    make_system,
    measured,
    open_online,
    run_all,
    spread,
)
from dynasor.core.types import PolicySpec

LOADS = {"svamp-codex": 3.63, "math500-llama3.1-8b": 2.03}
ROWS = {
    "lpm": make_system("lpm"),
    "deadline + sequential": make_system("deadline", OURS),
    "deadline + sequential for crowds": make_system("deadline", CROWDS),
    "deadline + priced": make_system("deadline", PolicySpec("priced")),
}
MEASURES = ("attainment", "accuracy", "tokens", "p50", "p90")


def main() -> None:
    """Run every row at one rate."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--load", type=float, help="the rate, over even's capacity")
    options = parser.parse_args()
    settings = open_online(options)
    loads = {name: options.load or LOADS[name] for name in settings}
    tasks = [
        Run(name, system, seed, loads[name])
        for name in settings
        for system in ROWS.values()
        for seed in range(options.seeds)
    ]
    found = iter(run_all(measured, settings, tasks, options))
    tables = {
        name: {row: [next(found) for _ in range(options.seeds)] for row in ROWS}
        for name in settings
    }
    finish(
        options,
        {
            name: {
                "title": online.title,
                "load": loads[name],
                "seeds": options.seeds,
                "rows": {
                    row: {one: interval([run[one] for run in runs]) for one in MEASURES}
                    for row, runs in tables[name].items()
                },
            }
            for name, online in settings.items()
        },
        show,
    )


def show(found: dict[str, Any]) -> None:
    """Print one table a setting."""
    for one in found.values():
        print(f"\n{one['title']}, load {one['load']:g}, {one['seeds']} seeds")
        print(f"{'':33} {'in time':>20} {'accuracy':>26} {'tokens':>8}")
        for row, line in one["rows"].items():
            print(
                f"{row:33} {spread(line['attainment'], 3):>20} {spread(line['accuracy'], 4):>26} "
                f"{line['tokens']['mean']:8.0f}"
            )


if __name__ == "__main__":
    main()
