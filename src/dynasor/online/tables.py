"""Figures of runs as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynasor.online.report import Load, Report, Served

__all__ = ["show", "show_systems"]

T = TypeVar("T")


class _Row(Struct, Generic[T], frozen=True):
    """One line of a table: a figure, times a factor, in a format; None is shown as a dash."""

    label: str
    figure: Callable[[T], float | None]
    form: str = ".1f"
    factor: float = 1.0

    def cells(self, columns: Sequence[T]) -> list[str]:
        """Return the figures of all columns; none where no column has one."""
        found = [self.figure(one) for one in columns]
        if all(value is None for value in found):
            return []
        return ["-" if value is None else format(value * self.factor, self.form) for value in found]


SERVED: tuple[_Row[Served], ...] = (
    _Row("programs", lambda one: one.programs, "d", 1),
    _Row("answered by themselves", lambda one: one.answered, "d", 1),
    _Row("ended by deadline", lambda one: one.at_deadline or None, "d", 1),
    _Row("failed", lambda one: one.failed or None, "d", 1),
    _Row("not ended", lambda one: one.unended or None, "d", 1),
    _Row("attainment, %", lambda one: one.attainment, ".1f", 100),
    _Row("tightest scale for 90 %", lambda one: one.tightest_scale, ".3f"),
    _Row("latency, s: mean", lambda one: one.latency.mean),
    _Row("  median", lambda one: one.latency.p50),
    _Row("  90 %", lambda one: one.latency.p90),
    _Row("  99 %", lambda one: one.latency.p99),
    _Row("first start after, s: median", lambda one: one.first_start.p50),
    _Row("  99 %", lambda one: one.first_start.p99),
    _Row("latency a token at the full cap, ms: median", lambda one: one.fairness.p50, ".2f", 1000),
    _Row("  90 %", lambda one: one.fairness.p90, ".2f", 1000),
    _Row("  greatest", lambda one: one.fairness.most, ".2f", 1000),
    _Row("  Jain's index", lambda one: one.jain, ".3f"),
    _Row("longest wait over time alone: 99 %", lambda one: one.longest_wait.p99, ".2f"),
    _Row("  greatest", lambda one: one.longest_wait.most, ".2f"),
    _Row("accuracy, %", lambda one: one.accuracy, ".2f", 100),
    _Row("tokens a program", lambda one: one.tokens, ".0f"),
    _Row("  saved, % of the full cap's", lambda one: one.saved, ".1f", 100),
    _Row("knob", lambda one: one.knob),
)

LOADS: tuple[_Row[Load], ...] = (
    _Row("simulated, s", lambda one: one.seconds),
    _Row("programs a second", lambda one: one.programs_per_second, ".3f"),
    _Row("tokens a second", lambda one: one.tokens_per_second, ".0f"),
    _Row("  while calls waited", lambda one: one.saturated_tokens_per_second, ".0f"),
    _Row("busy, %", lambda one: one.busy, ".1f", 100),
    _Row("KV blocks in use, %: mean", lambda one: one.kv_mean, ".1f", 100),
    _Row("  greatest", lambda one: one.kv_max, ".1f", 100),
    _Row("prompt tokens cached, %", lambda one: one.cached, ".1f", 100),
    _Row("preemptions", lambda one: one.preemptions, "d", 1),
    _Row("prompts beyond memory", lambda one: one.refused or None, "d", 1),
    _Row("calls waiting, mean", lambda one: one.waiting_mean),
    _Row("scheduler, µs a decision", lambda one: one.decision_seconds, ".1f", 1e6),
    _Row("raised by aging", lambda one: one.crossings, "d", 1),
    _Row("broken promises", lambda one: one.broken_promises, "d", 1),
)


def show(found: Report, console: Console) -> None:
    """Print a run's figures: what the programs got, also by part, and what the engines did."""
    console.print(_table({"all": found.all, **found.parts}, SERVED))
    console.print()
    console.print(_table({"": found.load}, LOADS))
    _warn({"this run": found}, console)


def show_systems(found: Mapping[str, Report], console: Console) -> None:
    """Print runs beside one another, each under its name; parts are left out."""
    console.print(_table({name: one.all for name, one in found.items()}, SERVED))
    console.print()
    console.print(_table({name: one.load for name, one in found.items()}, LOADS))
    _warn(found, console)


def _table(columns: Mapping[str, T], rows: Sequence[_Row[T]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(columns))
    table.add_column(no_wrap=True)
    for name in columns:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for row in rows:
        cells = row.cells(list(columns.values()))
        if cells:
            table.add_row(row.label, *cells)
    return table


def _warn(found: Mapping[str, Report], console: Console) -> None:
    """Name the runs whose figures are not those of a system that keeps up."""
    for name, one in found.items():
        if one.load.is_saturated:
            line = f"{name} is saturated: programs arrive faster than they are served"
            console.print(line, style="yellow", markup=False)
        if one.load.is_cut:
            line = (
                f"{name} was cut at {one.load.seconds:.0f} s with {one.all.unended} of the "
                "programs counted still live: each has missed its deadline"
            )
            console.print(line, style="yellow", markup=False)
        if one.load.broken_promises:
            line = f"{name} broke the promise of aging {one.load.broken_promises} times"
            console.print(line, style="yellow", markup=False)
