"""`dynasor trace`: check traces, make them of other files, and say what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynasor.cli.options import JsonOption
from dynasor.core.errors import UserError
from dynasor.traces import About, Report, Summary, TraceError, validate
from dynasor.traces import convert as convert_file
from dynasor.traces.lines import shown

__all__ = ["trace_app"]

trace_app = typer.Typer(
    name="trace",
    help="Check recorded outputs of models, make them of other files, show what is in them.",
    no_args_is_help=True,
)


@trace_app.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Traces.")],
    as_json: JsonOption = False,
) -> None:
    """Read traces to their ends and say all that is wrong with them."""
    reports = [validate(path) for path in files]
    if as_json:
        typer.echo(msgspec.json.encode(reports).decode())
    else:
        for report in reports:
            _print(report)
    bad = sum(not report.is_usable for report in reports)
    if bad:
        raise UserError(f"{bad} of {_count(len(files), 'trace')} cannot be used")


@trace_app.command("show")
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A trace.")],
    as_json: JsonOption = False,
) -> None:
    """Say what is in a trace."""
    report = validate(file, most=1)
    if report.summary is None:
        raise TraceError(report.problems[0].message)
    if as_json:
        typer.echo(msgspec.json.encode(report.summary).decode())
        return
    Console().print(_table(report.summary))
    _warn(report)


@trace_app.command("convert")
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Recorded samples, beams or searches, JSONL.")
    ],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A new trace, or a folder.")],
    questions: Annotated[
        Path | None,
        typer.Option("--questions", help="JSONL of id and question; the texts that were asked."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Model that answered.")] = None,
    workload: Annotated[
        str | None, typer.Option("--workload", help="Data set the questions are from.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="Kind of question.", show_default="by layout")
    ] = None,
    origin: Annotated[
        str | None, typer.Option("--origin", help="Where the data come from, and their licence.")
    ] = None,
    estimated: Annotated[
        bool | None, typer.Option("--estimated/--counted", help="What the token counts are.")
    ] = None,
) -> None:
    """Make a trace of another file; its layout is told by its fields."""
    about = About(
        model=model, workload=workload, task=task, source=origin, has_estimated_tokens=estimated
    )
    for path in convert_file(source, target, about, questions):
        typer.echo(shown(path))


def _print(report: Report) -> None:
    """Print one line that says if a trace can be used, then what is wrong or doubtful."""
    if report.summary is not None:
        typer.echo(f"{report.path}: {_headline(report.summary)}")
        _warn(report)
        return
    typer.echo(f"{report.path}: cannot be used")
    for problem in report.problems:
        said = problem.message.removeprefix(f"trace {report.path}")
        typer.echo(f"  {said.lstrip(', ')}")
    if report.omitted:
        typer.echo(f"  and {report.omitted:,} more")


def _warn(report: Report) -> None:
    for warning in report.warnings:
        typer.echo(f"  warning: {warning}")


def _headline(found: Summary) -> str:
    tokens = "tokens (estimated)" if found.has_estimated_tokens else "tokens"
    return (
        f"fine: {found.kind}, {_count(found.questions, 'question')}, "
        f"{_count(found.samples, _part(found))}, {found.tokens:,} {tokens}"
    )


def _table(found: Summary) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    each = f"{found.least:,}" if found.least == found.most else f"{found.least:,} to {found.most:,}"
    rows = {
        "kind": found.kind,
        "workload": found.workload,
        "model": found.model,
        "task": found.task,
        "questions": f"{found.questions:,}, {found.without_reference:,} without a reference",
        f"{_part(found)}s": f"{found.samples:,}, {each} a question",
        "answers": f"{found.answers:,}, {found.null_share:.1%} null",
        "recorded": _recorded(found),
        "tokens": f"{found.tokens:,}, {'estimated' if found.has_estimated_tokens else 'counted'}",
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _recorded(found: Summary) -> str:
    """Say what was recorded beside answers and tokens."""
    parts = {
        "verdicts": found.verdicts,
        "rewards": found.rewards,
        "log-probabilities": found.logprobs,
    }
    return (
        ", ".join(f"{count:,} {name}" for name, count in parts.items() if count) or "nothing else"
    )


def _part(found: Summary) -> str:
    return "sample" if found.kind == "sampling" else found.kind


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
