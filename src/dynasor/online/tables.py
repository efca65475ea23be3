"""Figures of runs as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynasor.online.report import Load, Served
from dynasor.online.seeds import over_seeds

__all__ = ["LOADS", "SERVED", "Row", "tables"]

T = TypeVar("T")
COUNT = "d"
"""The format of a count; a mean of counts is none."""
ANY_WIDTH = 10_000
"""Columns of a console on which any table is as wide as it wants to be."""


class Row(Struct, Generic[T], frozen=True):
    """One line of a table: a figure, times a factor, in a format; None is shown as a dash."""

    label: str
    figure: Callable[[T], float | None]
    form: str = ".1f"
    factor: float = 1.0


SERVED: tuple[Row[Served], ...] = (
    Row("programs", lambda one: one.programs, "d", 1),
    Row("answered by themselves", lambda one: one.answered, "d", 1),
    Row("ended by deadline", lambda one: one.at_deadline or None, "d", 1),
    Row("failed", lambda one: one.failed or None, "d", 1),
    Row("not ended", lambda one: one.unended or None, "d", 1),
    Row("attainment, %", lambda one: one.attainment, ".1f", 100),
    Row("tightest scale for 90 %", lambda one: one.tightest_scale, ".3f"),
    Row("latency, s: mean", lambda one: one.latency.mean),
    Row("  median", lambda one: one.latency.p50),
    Row("  90 %", lambda one: one.latency.p90),
    Row("  99 %", lambda one: one.latency.p99),
    Row("first start after, s: median", lambda one: one.first_start.p50),
    Row("  99 %", lambda one: one.first_start.p99),
    Row("latency a token at the full cap, ms: median", lambda one: one.fairness.p50, ".2f", 1000),
    Row("  90 %", lambda one: one.fairness.p90, ".2f", 1000),
    Row("  greatest", lambda one: one.fairness.most, ".2f", 1000),
    Row("  Jain's index", lambda one: one.jain, ".3f"),
    Row("longest wait over time alone: 99 %", lambda one: one.longest_wait.p99, ".2f"),
    Row("  greatest", lambda one: one.longest_wait.most, ".2f"),
    Row("accuracy, %", lambda one: one.accuracy, ".2f", 100),
    Row("tokens a program", lambda one: one.tokens, ".0f"),
    Row("  saved, % of the full cap's", lambda one: one.saved, ".1f", 100),
    Row("knob", lambda one: one.knob),
)

LOADS: tuple[Row[Load], ...] = (
    Row("simulated, s", lambda one: one.seconds),
    Row("programs a second", lambda one: one.programs_per_second, ".3f"),
    Row("tokens a second", lambda one: one.tokens_per_second, ".0f"),
    Row("  while calls waited", lambda one: one.saturated_tokens_per_second, ".0f"),
    Row("busy, %", lambda one: one.busy, ".1f", 100),
    Row("KV blocks in use, %: mean", lambda one: one.kv_mean, ".1f", 100),
    Row("  greatest", lambda one: one.kv_max, ".1f", 100),
    Row("prompt tokens cached, %", lambda one: one.cached, ".1f", 100),
    Row("preemptions", lambda one: one.preemptions, "d", 1),
    Row("prompts beyond memory", lambda one: one.refused or None, "d", 1),
    Row("calls waiting, mean", lambda one: one.waiting_mean),
    Row("scheduler, µs a decision", lambda one: one.decision_seconds, ".1f", 1e6),
    Row("raised by aging", lambda one: one.crossings, "d", 1),
    Row("broken promises", lambda one: one.broken_promises, "d", 1),
)


def tables(
    columns: Mapping[str, Sequence[T]], rows: Sequence[Row[T]], title: str, width: int
) -> Iterator[Text | Table]:
    """Yield columns beside one another, by name, an empty line before them: one figure a seed.

    Over several seeds a figure is a mean, with half the width of its 95 % interval. What does not
    fit into `width` columns of text comes in several tables.
    """
    table = _table(columns, rows, title)
    names = list(columns)
    if len(names) == 1 or Console(width=ANY_WIDTH).measure(table).maximum <= width:
        yield Text()
        yield table
        return
    half = (len(names) + 1) // 2
    for some in (names[:half], names[half:]):
        yield from tables({name: columns[name] for name in some}, rows, title, width)


def _table(columns: Mapping[str, Sequence[T]], rows: Sequence[Row[T]], title: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(Text(title), no_wrap=True)
    for name in columns:
        # A long name takes several lines: the system, its policy, a parameter each.
        heading = name.replace("/", "\n/", 1).replace(",", ",\n")
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for group in _groups(rows):
        values = [[[row.figure(one) for one in seen] for seen in columns.values()] for row in group]
        if any(value is not None for row in values for cell in row for value in cell):
            for row, cells in zip(group, values, strict=True):
                table.add_row(row.label, *(_cell(row, seen) for seen in cells))
    return table


def _groups(rows: Sequence[Row[T]]) -> Iterator[list[Row[T]]]:
    """Yield rows with those below them that are indented: they read as one."""
    group: list[Row[T]] = []
    for row in rows:
        if group and not row.label.startswith(" "):
            yield group
            group = []
        group.append(row)
    yield group


def _cell(row: Row[T], values: Sequence[float | None]) -> str:
    known = [0 if value is None and row.form == COUNT else value for value in values]
    scaled = [value * row.factor for value in known if value is not None]
    if len(scaled) < len(values):
        return "-"
    if len(scaled) == 1:
        return format(scaled[0], row.form)
    form = ".1f" if row.form == COUNT else row.form
    interval = over_seeds(scaled)
    return f"{interval.estimate:{form}} ± {interval.high - interval.estimate:{form}}"
