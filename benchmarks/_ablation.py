"""Every order under every policy: the systems, their runs over seeds, and bars of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, Any, TypeVar

from _online import EVEN, OURS, PAPER, Online, Run, make_system, run_all
from dynasor.online.systems import System

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ORDERS", "POLICIES", "bars", "grid", "head", "heading", "over_seeds", "total"]

POLICIES = {"even": EVEN, "threshold": PAPER, "sequential": OURS}
COLOURS = {"even": "#777777", "threshold": "#d99a2b", "sequential": "#1769aa"}
NO_AGING = 0.0
ORDERS = {
    "lpm": ("lpm", None),
    "app-fifo": ("app-fifo", None),
    "plas": ("plas", None),
    "gang": ("gang", NO_AGING),
    "gang, aging": ("gang", None),
    "sjf": ("sjf", NO_AGING),
    "sjf, aging": ("sjf", None),
    "deadline": ("deadline", None),
}
"""The system that each stands for, and its aging factor: None is the system's default."""

Key = TypeVar("Key")
Measures = dict[str, Any]


def grid(orders: Iterable[str], policies: Iterable[str]) -> dict[str, System]:
    """Return the systems of all these orders under all these policies, by name.

    Under even allocation a system has the name of its order, else "order + policy".
    """
    found: dict[str, System] = {}
    for policy in policies:
        for order in orders:
            name, factor = ORDERS[order]
            system = make_system(name, POLICIES[policy], aging_factor=factor)
            found[order if policy == "even" else f"{order} + {policy}"] = system
    return found


def over_seeds(
    work: Callable[[dict[str, Online], Run], Measures],
    settings: dict[str, Online],
    cells: Mapping[Key, Run],
    options: argparse.Namespace,
) -> dict[Key, list[Measures]]:
    """Return what `work` says of every cell's run, which is made once a seed, in their order."""
    seeds = range(options.seeds)
    tasks = [replace(run, seed=seed) for run in cells.values() for seed in seeds]
    done = iter(run_all(work, settings, tasks, options))
    return {key: [next(done) for _ in seeds] for key in cells}


def total(found: Sequence[Measures], name: str) -> int:
    """Return the sum over seeds of a count; runs that do not have it count nothing."""
    return sum(int(one.get(name, 0)) for one in found)


def head(online: Online, seeds: int) -> dict[str, Any]:
    """Return what a setting's figures begin with."""
    return {
        "title": online.title,
        "capacity": online.capacity,
        "base_seconds": online.base_seconds,
        "seeds": seeds,
    }


def heading(one: dict[str, Any]) -> str:
    """Return the line above a setting's tables."""
    return (
        f"\n{one['title']}: even's capacity {one['capacity']:.2f} programs/s, base "
        f"{one['base_seconds']:g} s, {one['seeds']} seeds"
    )


def bars(axes: Axes, groups: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> None:
    """Draw one bar a row in every group, with its interval; a number that is None leaves a gap."""
    width = 0.8 / len(rows)
    for place, (name, estimates) in enumerate(rows.items()):
        across = [at + width * (place - (len(rows) - 1) / 2) for at in range(len(groups))]
        heights = [nan if one is None else one["mean"] for one in estimates]
        axes.bar(across, heights, width, color=COLOURS.get(name, "#1769aa"), label=name)
        for at, one in zip(across, estimates, strict=True):
            if one is not None and one["low"] is not None:
                axes.plot([at, at], [one["low"], one["high"]], color="#222222", linewidth=0.9)
    axes.set_xticks(range(len(groups)), labels=groups, rotation=30, ha="right")
