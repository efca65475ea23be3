"""Figure 10: what certaindex, gang, SJF, aging and deadlines do to latency at a fixed rate.

    scripts/bench figure_10 --json docs/online/figure_10.json --picture docs/online/figure_10.svg

svamp-codex at 0.9, 1.0 and 1.1 of even's capacity (the paper: GSM8K at 16 programs a second).
Every order under every policy: `even`; `threshold`, the paper's certaindex; `sequential`, ours.
Orders without "aging" do without it; `deadline` ends programs at their deadlines with the best
answer so far, the others let all run to their end. Latency is from arrival to answer, without the
first tenth of the programs; ratios are to `lpm` under even, paired by seed. A star: saturated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _ablation import POLICIES, bars, grid, head, heading, over_seeds, total
from _figures import figure, save
from _online import Run, arguments, finish, measured, open_online
from _online_rows import mark, means, ratios, text

SETTING = "svamp-codex"
LOADS = (0.9, 1.0, 1.1)
COLUMNS = ("lpm", "gang", "gang, aging", "sjf", "sjf, aging", "deadline")
ROWS = grid(COLUMNS, POLICIES)
BASELINE = "lpm"
MEASURES = ("mean", "p90", "tokens", "accuracy", "attainment", "wait_over_solo", "crossings")


def measure(options: Any) -> dict[str, Any]:
    """Return every row's figures at every load."""
    settings = open_online(options, names=(SETTING,))
    loads = options.load or LOADS
    cells = {
        (load, row): Run(SETTING, system, 0, load) for load in loads for row, system in ROWS.items()
    }
    found = over_seeds(measured, settings, cells, options)
    return {
        SETTING: {
            **head(settings[SETTING], options.seeds),
            "loads": {
                f"{load:g}": compared({row: found[load, row] for row in ROWS}) for load in loads
            },
        }
    }


def compared(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the rows of one load: means over seeds, and ratios to the baseline."""
    return {
        row: {
            **means(runs, MEASURES),
            "over lpm": ratios(runs, found[BASELINE], ("mean", "p90")),
            "broken_promises": total(runs, "broken_promises"),
            "mark": mark(runs),
        }
        for row, runs in found.items()
    }


def show(found: dict[str, Any]) -> None:
    """Print one table a load."""
    for one in found.values():
        print(heading(one))
        for load, rows in one["loads"].items():
            print(f"\n{'load ' + load:26} {'mean, s':>14} {'over lpm':>12} {'P90, s':>14} ", end="")
            print(f"{'over lpm':>12} {'tokens':>14} {'accuracy, %':>14}")
            for row, line in rows.items():
                over = line["over lpm"]
                print(
                    f"{row + line['mark']:26} {text(line['mean']):>14} {text(over['mean']):>12} "
                    f"{text(line['p90']):>14} {text(over['p90']):>12} "
                    f"{text(line['tokens'], 0):>14} {text(line['accuracy'], 2, 100):>14}"
                )


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw mean latency, one panel a load."""
    (one,) = found.values()
    drawn, panels = figure(
        columns=len(one["loads"]), size=(1 + 3.6 * len(one["loads"]), 3.8), sharey=True
    )
    for axes, (load, rows) in zip(panels, one["loads"].items(), strict=True):
        bars(axes, COLUMNS, {policy: by_order(rows, policy, "mean") for policy in POLICIES})
        axes.set_title(f"{one['title']}, load {load}", fontsize=9)
    panels[0].set_ylabel("mean latency, s")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save(drawn, path)


def by_order(rows: dict[str, Any], policy: str, name: str) -> list[Any]:
    """Return a measure of every order under one policy."""
    return [rows[row][name] for row in grid(COLUMNS, [policy])]


def main() -> None:
    """Measure, print, write and draw."""
    parser = arguments((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--load", type=float, action="append", help="instead of 0.9, 1.0 and 1.1")
    options = parser.parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
