"""Rows of online figures: means over seeds, ratios paired by seed, and how both are printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from _online import Spread, interval, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Measured",
    "by_seed",
    "each",
    "logarithmic",
    "mark",
    "means",
    "percent",
    "plot",
    "ratios",
    "text",
]

Measured = Sequence[Mapping[str, Any]]
"""The measures of one row's runs, one a seed."""


def by_seed(found: Sequence[Any], seeds: int) -> Iterator[Sequence[Any]]:
    """Yield the runs of each row, where every row's seeds stand side by side."""
    for begin in range(0, len(found), seeds):
        yield found[begin : begin + seeds]


def each(found: Measured, name: str) -> list[float]:
    """Return one measure, a value a seed."""
    return [float(one[name]) for one in found]


def means(found: Measured, names: Sequence[str]) -> dict[str, Spread | None]:
    """Return measures' means over the seeds; None for one that these runs do not have."""
    return {
        name: None if any(one[name] is None for one in found) else interval(each(found, name))
        for name in names
    }


def ratios(found: Measured, base: Measured, names: Sequence[str]) -> dict[str, Spread]:
    """Return measures over those of a baseline with the same seeds."""
    return {name: ratio(each(found, name), each(base, name)) for name in names}


def percent(points: Sequence[Spread]) -> list[Spread]:
    """Return shares as per cent."""
    return [
        {name: None if value is None else 100 * value for name, value in point.items()}
        for point in points
    ]


def mark(found: Measured) -> str:
    """Return a star where most runs were saturated: their latencies grow with a run's length."""
    return "*" if 2 * sum(bool(one["is_saturated"]) for one in found) > len(found) else ""


def text(one: Spread | None, digits: int = 2, scale: float = 1.0) -> str:
    """Return a mean and half of its interval's width; a dash where there is none."""
    if one is None or one["mean"] is None:
        return "-"
    mean = f"{scale * one['mean']:,.{digits}f}"
    if one["low"] is None or one["high"] is None:
        return mean
    return f"{mean} ±{scale * (one['high'] - one['low']) / 2:,.{digits}f}"


def plot(axes: Axes, across: Sequence[float], points: Sequence[Spread], **look: Any) -> None:
    """Draw means over what they depend on, with their intervals as a band."""
    middles = [point["mean"] for point in points]
    (line,) = axes.plot(across, middles, **{"marker": ".", "linewidth": 1.2, **look})
    if all(point["low"] is not None for point in points):
        lows, highs = ([point[end] for point in points] for end in ("low", "high"))
        axes.fill_between(across, lows, highs, color=line.get_color(), alpha=0.15, linewidth=0)


def logarithmic(axes: Axes) -> None:
    """Let an axes' values stand on a logarithmic scale, marked in plain numbers."""
    from matplotlib.ticker import LogLocator  # noqa: PLC0415 - there, for it made the axes

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
