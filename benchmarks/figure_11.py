"""Figure 11: what certaindex, gang, SJF, aging and deadlines do to the rate at P90 attainment.

    scripts/bench figure_11 --json docs/online/figure_11.json --picture docs/online/figure_11.svg

math500-llama3.1-8b; the rows are those of figure 10. Rates are loads, fractions of even's measured
capacity: the highest at which 90 % of the programs are in time, and its ratio to that of `lpm`
under even, paired by seed. The mean latency is that at load 1.

Programs arrive for eight times the deadline's base. A star: in most seeds the number of live
programs still grew at that load, so that it would not have been held for longer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _ablation import POLICIES, bars, head, heading, over_seeds, total
from _figures import figure, save
from _online import Run, arguments, finish, measured, open_online, p90_load
from _online_rows import mark, means, ratios, text
from figure_10 import BASELINE, COLUMNS, ROWS, by_order

SETTING = "math500-llama3.1-8b"
BEGIN = {"even": 1.1, "threshold": 1.4, "sequential": 1.8}
"""Loads at which the search begins, by policy."""
LOAD = 1.0
AT_PEAK = ("load", "tokens", "accuracy")
AT_ONE = ("mean", "p90", "tokens", "accuracy", "attainment")
Runs = list[dict[str, Any]]


def measure(options: Any) -> dict[str, Any]:
    """Return every row's peak load, and its latency at load 1."""
    settings = open_online(options, names=(SETTING,))
    searches = {
        row: Run(SETTING, system, 0, BEGIN[system.policy.name]) for row, system in ROWS.items()
    }
    peaks = over_seeds(p90_load, settings, searches, options)
    runs = {row: Run(SETTING, system, 0, LOAD) for row, system in ROWS.items()}
    fixed = over_seeds(measured, settings, runs, options)
    return {
        SETTING: {
            **head(settings[SETTING], options.seeds),
            "rows": {
                row: {
                    "peak": at_peak(peaks[row], peaks[BASELINE]),
                    "at load 1": {
                        **means(fixed[row], AT_ONE),
                        "over lpm": ratios(fixed[row], fixed[BASELINE], ("mean",)),
                    },
                    "broken_promises": total([*peaks[row], *fixed[row]], "broken_promises"),
                }
                for row in ROWS
            },
        }
    }


def at_peak(found: Runs, base: Runs) -> dict[str, Any]:
    """Return a row at its peak load; None for its numbers where some seed has no such load.

    `verdicts` are those of the searches: where one is `all`, the load is only a bound.
    """
    verdicts = sorted({one["verdict"] for one in found})
    if "none" in verdicts:
        return {**dict.fromkeys(AT_PEAK), "over lpm": None, "verdicts": verdicts, "mark": ""}
    has_base = all(one["load"] is not None for one in base)
    return {
        **means(found, AT_PEAK),
        "over lpm": ratios(found, base, ("load",))["load"] if has_base else None,
        "verdicts": verdicts,
        "mark": mark(found),
    }


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    for one in found.values():
        print(heading(one))
        print(f"{'':26} {'load at 90 %':>14} {'over lpm':>14} {'accuracy, %':>14} ", end="")
        print(f"{'mean at load 1, s':>18} {'over lpm':>14}")
        for row, line in one["rows"].items():
            peak, fixed = line["peak"], line["at load 1"]
            verdicts = "" if peak["verdicts"] == ["found"] else " " + "/".join(peak["verdicts"])
            print(
                f"{row + peak['mark']:26} {text(peak['load']):>14} {text(peak['over lpm']):>14} "
                f"{text(peak['accuracy'], 2, 100):>14} {text(fixed['mean'], 1):>18} "
                f"{text(fixed['over lpm']['mean']):>14}{verdicts}"
            )


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw peak loads on the left, mean latencies at load 1 on the right."""
    (one,) = found.values()
    drawn, panels = figure(columns=2, size=(9.6, 4))
    for axes, part, name in zip(panels, ("peak", "at load 1"), ("load", "mean"), strict=True):
        rows = {row: line[part] for row, line in one["rows"].items()}
        bars(axes, COLUMNS, {policy: by_order(rows, policy, name) for policy in POLICIES})
    panels[0].set(title=one["title"], ylabel="load with 90 % in time")
    panels[1].set(title="at load 1", ylabel="mean latency, s")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save(drawn, path)


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments((__doc__ or "").split("\n", 1)[0]).parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
