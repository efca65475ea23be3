"""Pictures: one look for all of them, files that stay the same when drawn again, and a run's.

matplotlib is an optional dependency, imported where a picture is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynasor.core.errors import ConfigError, DynasorError, UserError
from dynasor.online.measures import latencies
from dynasor.online.outcome import Simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "figure", "save"]

LOOK: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text: smaller files, and words can be searched
    "svg.hashsalt": "dynasor",  # else an SVG's ids are drawn anew each time
}
COLOURS = ("#1769aa", "#d99a2b", "#4c9a6a", "#b5534c", "#9467a8", "#12305c", "#777777", "#222222")
SHARES_TOP = 104
"""End of an axis of percents: a line at 100 is seen whole."""
POINTS = 20
"""Points of attainment over time: each is the share of a twentieth of the programs."""


def figure(
    columns: int = 1, rows: int = 1, size: tuple[float, float] = (5.4, 3.2), **grid: Any
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure and its axes, row by row.

    `size` is the whole figure's width and height in inches; `grid` goes to matplotlib's
    `Figure.subplots` (`sharey=True`). Raises `ConfigError` where matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - only where a picture is asked for
        from matplotlib.figure import Figure  # noqa: PLC0415 - without pyplot: no window
    except ImportError as exc:
        raise ConfigError(
            "a picture needs matplotlib: install it with pip install 'dynasor-serve[eval]'"
        ) from exc
    with mpl.rc_context(LOOK):
        drawn = Figure(figsize=size, layout="constrained")
        return drawn, list(drawn.subplots(rows, columns, squeeze=False, **grid).flat)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the file's suffix names (.svg, .png).

    Raises `UserError` for a suffix that names no format, and `DynasorError` where the file cannot
    be written.
    """
    import matplotlib as mpl  # noqa: PLC0415 - there, for it made the figure

    known = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in known:
        raise UserError(f"{path} names no format of pictures; end it in .svg, .png or .pdf")
    # An SVG carries its date unless told otherwise; a PNG has none and knows no such key.
    metadata = {"Date": None} if path.suffix == ".svg" else None
    try:
        with mpl.rc_context(LOOK):
            figure.savefig(path, metadata=metadata, dpi=120)
    except OSError as exc:
        raise DynasorError(f"the picture {path} cannot be written: {exc.strerror}") from exc


def draw(runs: Mapping[str, Simulated], path: Path) -> None:
    """Draw runs by their names into one file: latency, attainment, live programs and KV use.

    Latency is a distribution over all programs, whose curve ends below 100 % where some had not
    ended; attainment stands over the time of arrival. Raises as `figure` and `save` do.
    """
    drawn, panels = figure(columns=2, rows=2, size=(9, 6.2))
    for place, (name, sim) in enumerate(runs.items()):
        look = {"color": COLOURS[place % len(COLOURS)], "label": name, "linewidth": 1.2}
        for plot, axes in zip((_latency, _attainment, _live, _kv), panels, strict=True):
            plot(axes, sim, look)
    titles = ("latency", "attainment", "live programs", "memory")
    across = ("seconds from arrival", "arrived after, s", "time, s", "time, s")
    upwards = ("programs, %", "in time, %", "programs", "KV blocks in use, %")
    for axes, title, xlabel, ylabel in zip(panels, titles, across, upwards, strict=True):
        top = SHARES_TOP if "%" in ylabel else None
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(0, None), ylim=(0, top))
    if len(runs) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    save(drawn, path)


def _latency(axes: Axes, sim: Simulated, look: dict[str, Any]) -> None:
    seconds = np.sort(latencies(sim))
    shares = 100 * np.arange(1, len(seconds) + 1) / max(len(seconds), 1)
    ended = np.isfinite(seconds)
    axes.step(seconds[ended], shares[ended], where="post", **look)


def _attainment(axes: Axes, sim: Simulated, look: dict[str, Any]) -> None:
    due = sim.where(np.isfinite(sim.deadline))
    count = min(POINTS, len(due))
    if not count:
        return
    blocks = zip(np.array_split(due.arrived, count), np.array_split(due.is_met, count), strict=True)
    points = [(arrived.mean(), 100 * is_met.mean()) for arrived, is_met in blocks]
    axes.plot(*zip(*points, strict=True), marker="o", markersize=3, **look)


def _live(axes: Axes, sim: Simulated, look: dict[str, Any]) -> None:
    axes.plot(sim.course.seconds, sim.course.live, **look)


def _kv(axes: Axes, sim: Simulated, look: dict[str, Any]) -> None:
    axes.plot(sim.course.seconds, 100 * sim.course.kv, **look)
