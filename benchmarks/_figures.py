"""Figures for the documents: one look, and files that stay the same when drawn again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure", "save"]

LOOK = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text: smaller files, and words can be searched
    "svg.hashsalt": "dynasor",  # else an SVG's ids are drawn anew each time
}


def figure(
    columns: int = 1, rows: int = 1, size: tuple[float, float] = (5.4, 3.2), **grid: Any
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure and its axes, row by row.

    `size` is the whole figure's width and height in inches; `grid` goes to matplotlib's
    `Figure.subplots` (`sharey=True`).
    """
    import matplotlib as mpl  # noqa: PLC0415 - only where a picture is asked for
    from matplotlib.figure import Figure  # noqa: PLC0415 - without pyplot: no window, no backend

    mpl.rcParams.update(LOOK)
    drawn = Figure(figsize=size, layout="constrained")
    return drawn, list(drawn.subplots(rows, columns, squeeze=False, **grid).flat)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the file's suffix names (.svg, .png)."""
    # An SVG carries its date unless told otherwise; a PNG has none and knows no such key.
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, metadata=metadata, dpi=120)
