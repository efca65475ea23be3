"""Figure 14: finish-time fairness, latency over the tokens that a program uses at its full cap.

    scripts/bench figure_14 --json docs/online/figure_14.json --picture docs/online/figure_14.svg

The paper's sections 5.3.1 and 6.6: milliseconds a token, the lower the better. Orders alone, under
even, at even's capacity; with certaindex (`sequential`) there and at twice that. Orders without
"aging" do without it. Percentiles are over programs, without the first tenth, and figures are
means of them over seeds. Jain's index is that of tokens a second, the inverse: 1 where all
programs are served at the same speed. Ratios are to the first row, paired by seed: `lpm` under
even, and at the higher load, which even cannot carry, `lpm` with the policy. A star: saturated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from _ablation import grid, head, heading, over_seeds, total
from _figures import figure, save
from _online import Online, Run, arguments, finish, open_online, simulated
from _online_rows import mark, means, ratios, text
from dynasor.online.measures import (
    WARM_UP,
    fairness,
    is_saturated,
    jain,
    rank_quantile,
    waits_over_solo,
)

ALONE = grid(("lpm", "app-fifo", "plas", "gang", "gang, aging", "sjf", "sjf, aging"), ["even"])
CERTAIN = grid(("lpm", "gang", "gang, aging", "sjf", "sjf, aging"), ["sequential"])
LOADS = {1.0: ALONE | CERTAIN, 2.0: CERTAIN}
"""The rows at every load, the baseline first."""
MEASURES = ("p50", "p90", "p99", "most", "mean", "jain", "wait_over_solo")
RATIOS = ("p50", "p90", "p99")
SHARES = tuple(place / 20 for place in range(1, 21))
LOOKS = {
    "lpm": ("#777777", "-"),
    "app-fifo": ("#b5534c", "-"),
    "plas": ("#9467a8", "-"),
    "gang": ("#4c9a6a", "-"),
    "gang, aging": ("#4c9a6a", "--"),
    "sjf": ("#1769aa", "-"),
    "sjf, aging": ("#1769aa", "--"),
}
"""Every order's colour and line, which is thicker under a policy."""


def fair(settings: dict[str, Online], run: Run) -> dict[str, Any]:
    """Make a run and return how fair it was, in milliseconds a token.

    `quantiles` are those at `SHARES`.
    """
    found = simulated(settings, run)
    counted = found.after(WARM_UP)
    unfair = 1000 * fairness(counted)
    return {
        "p50": rank_quantile(unfair, 0.5),
        "p90": rank_quantile(unfair, 0.9),
        "p99": rank_quantile(unfair, 0.99),
        "most": float(unfair.max()),
        "mean": float(unfair.mean()),
        "jain": jain(1 / unfair),
        "wait_over_solo": float(waits_over_solo(counted).max()),
        "broken_promises": found.totals.broken_promises,
        "is_saturated": is_saturated(found),
        "quantiles": [rank_quantile(unfair, share) for share in SHARES],
    }


def measure(options: Any) -> dict[str, Any]:
    """Return every row's figures at every load."""
    settings = open_online(options)
    cells = {
        (name, load, row): Run(name, system, 0, load)
        for name in settings
        for load, rows in LOADS.items()
        for row, system in rows.items()
    }
    found = over_seeds(fair, settings, cells, options)
    return {
        name: {
            **head(online, options.seeds),
            "loads": {
                f"{load:g}": compared({row: found[name, load, row] for row in rows})
                for load, rows in LOADS.items()
            },
        }
        for name, online in settings.items()
    }


def compared(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the rows of one load; the first of them is the baseline."""
    base = next(iter(found.values()))
    return {
        row: {
            **means(runs, MEASURES),
            "over lpm": ratios(runs, base, RATIOS),
            "quantiles": np.mean([one["quantiles"] for one in runs], axis=0).tolist(),
            "broken_promises": total(runs, "broken_promises"),
            "mark": mark(runs),
        }
        for row, runs in found.items()
    }


def show(found: dict[str, Any]) -> None:
    """Print one table a setting and load."""
    for one in found.values():
        print(heading(one))
        for load, rows in one["loads"].items():
            print(f"\n{'load ' + load + ', ms a token':26} ", end="")
            print(" ".join(f"{name.upper():>13} {'over lpm':>11}" for name in RATIOS), end="")
            print(f" {'worst':>15} {'Jain':>11} {'wait over solo':>14}")
            for row, line in rows.items():
                cells = (
                    f"{text(line[name]):>13} {text(line['over lpm'][name]):>11}" for name in RATIOS
                )
                print(
                    f"{row + line['mark']:26} {' '.join(cells)} {text(line['most'], 1):>15} "
                    f"{text(line['jain']):>11} {text(line['wait_over_solo'], 1):>14}"
                )


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw fairness over the share of the programs, one row a setting, one column a load."""
    drawn, panels = figure(
        columns=len(LOADS), rows=len(found), size=(10, 0.9 + 3.3 * len(found)), sharey="row"
    )
    places = [(one, load) for one in found.values() for load in one["loads"]]
    for axes, (one, load) in zip(panels, places, strict=True):
        for row, line in one["loads"][load].items():
            order, _, policy = row.partition(" + ")
            colour, style = LOOKS[order]
            look = {"color": colour, "linestyle": style, "linewidth": 2.0 if policy else 0.9}
            axes.plot([100 * share for share in SHARES], line["quantiles"], label=row, **look)
        axes.set(title=f"{one['title']}, load {load}", yscale="log", xlabel="programs, %")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    for axes in panels[:: len(LOADS)]:
        axes.set_ylabel("ms a token at the full cap")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    save(drawn, path)


def main() -> None:
    """Measure, print, write and draw."""
    options = arguments((__doc__ or "").split("\n", 1)[0]).parse_args()
    finish(options, measure(options), show, draw)


if __name__ == "__main__":
    main()
