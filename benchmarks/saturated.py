"""Equal tokens a second with and without our scheduler, when the cluster is saturated.

    scripts/bench saturated --json docs/online/saturated.json --picture docs/online/saturated.svg

Even allocation for all, at 1.5 times even's capacity. With `fcfs` and `lpm` the engine owns the
order and is sent every call at once; with the others the scheduler does, and the engine gets what
it can run and a tenth more. Tokens a second count only while calls waited, over the whole
cluster; ratios are to `fcfs`, paired by seed.

`deadline` is run twice: with deadlines a hundred times as wide, so that it orders by them and ends
no program, and as it is meant, ending programs at their deadlines: tokens of calls that are
aborted then count as generated. A star: saturated.

Also the scheduler's own wall time, an event and as a share of the time simulated: what one core
would have been busy had the engines been real. It hangs on the machine and on what else runs:
measure it with `--processes 1`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _ablation import bars, grid, head, heading, over_seeds
from _figures import figure, save
from _online import Online, Run, arguments, finish, make_system, open_online, simulated
from _online_rows import mark, means, ratios, text
from dynasor.online.measures import is_saturated, saturated_throughput

LOAD = 1.5
WIDE = 100.0
"""Scale of deadlines that nobody misses: the base is an eighth of the time of arrivals."""
BASELINE = "fcfs"
ALL = grid(("lpm", "app-fifo", "plas", "gang", "gang, aging", "sjf", "sjf, aging"), ["even"])
ROWS = {
    BASELINE: (make_system("fcfs"), 1.0),
    **{row: (system, 1.0) for row, system in ALL.items()},
    "deadline, wide": (make_system("deadline"), WIDE),
    "deadline": (make_system("deadline"), 1.0),
}
"""Every row's system, and the scale of its deadlines."""
MEASURES = ("tokens_per_second", "cached", "preemptions", "decision_us", "scheduler_percent")
RATE = "tokens_per_second"


def throughput(settings: dict[str, Online], run: Run) -> dict[str, Any]:
    """Make a run and return its tokens a second, and what the scheduler took."""
    found = simulated(settings, run)
    totals = found.totals
    last = float(found.finished[found.has_ended].max())  # the run's end is its last timer
    return {
        "tokens_per_second": saturated_throughput(found),
        "cached": totals.cached_tokens / max(1, totals.cached_tokens + totals.prefill_tokens),
        "preemptions": totals.preemptions,
        "is_saturated": is_saturated(found),
        "decision_us": 1e6 * totals.scheduler_seconds / totals.decisions,
        "scheduler_percent": 100 * totals.scheduler_seconds / last,
    }


def measure(options: Any) -> dict[str, Any]:
    """Return every row's figures."""
    settings = open_online(options)
    cells = {
        (name, row): Run(name, system, 0, LOAD, scale)
        for name in settings
        for row, (system, scale) in ROWS.items()
    }
    found = over_seeds(throughput, settings, cells, options)
    return {
        name: {
            **head(online, options.seeds),
            "load": LOAD,
            "rows": compared({row: found[name, row] for row in ROWS}),
        }
        for name, online in settings.items()
    }


def compared(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return every row: means over seeds, and the ratio to the baseline."""
    return {
        row: {
            **means(runs, MEASURES),
            "over fcfs": ratios(runs, found[BASELINE], (RATE,))[RATE],
            "mark": mark(runs),
        }
        for row, runs in found.items()
    }


def show(found: dict[str, Any]) -> None:
    """Print one table a setting."""
    for one in found.values():
        print(f"{heading(one)}, load {one['load']:g}")
        print(f"{'':16} {'tokens/s':>14} {'over fcfs':>14} {'cached, %':>12} ", end="")
        print(f"{'us an event':>14} {'% of the time':>14}")
        for row, line in one["rows"].items():
            print(
                f"{row + line['mark']:16} {text(line[RATE], 0):>14} "
                f"{text(line['over fcfs'], 4):>14} {text(line['cached'], 1, 100):>12} "
                f"{text(line['decision_us'], 1):>14} {text(line['scheduler_percent']):>14}"
            )


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw tokens a second over those of the baseline, one panel a setting."""
    drawn, panels = figure(columns=len(found), size=(5 * len(found), 3.6), sharey=True)
    for axes, one in zip(panels, found.values(), strict=True):
        bars(axes, list(one["rows"]), {"": [row["over fcfs"] for row in one["rows"].values()]})
        axes.axhline(1, color="grey", linewidth=0.7, linestyle=":")
        axes.set_title(f"{one['title']}, load {one['load']:g}", fontsize=9)
    panels[0].set_ylabel("tokens a second over fcfs's")
    save(drawn, path)


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments((__doc__ or "").split("\n", 1)[0]).parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
