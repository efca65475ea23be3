"""`dynasor evaluate`: what policies save on what was recorded, and what they cost in accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dynasor.cli.options import ProfileOption
from dynasor.cli.traces_given import (
    CacheOption,
    GroupingOption,
    LabelsOption,
    LossOption,
    RunCodeOption,
    SeedsOption,
    TracesArgument,
    WidthsOption,
    bar,
    parse_rows,
    parse_width,
    prepare,
    sorting_from,
    usual_rows,
    wide_console,
)
from dynasor.core.errors import ConfigError, DynasorError
from dynasor.evaluate.classes import Sorting
from dynasor.evaluate.coded import Made, made_by
from dynasor.evaluate.offline import Figures, Plan, evaluate_plan, steps
from dynasor.evaluate.paired import Interval
from dynasor.evaluate.recorded import Recorded, check_cap
from dynasor.profile import Profile, read_profile
from dynasor.programs import SelfConsistency
from dynasor.traces import Trace

__all__ = ["evaluate"]

DEFAULT_ROWS = ("threshold", "stepwise", "esc", "beta", "sequential", "even+lock")
DEFAULT_CAP = 20
LONGEST_NAME = 40
"""Columns for a policy; one with many parameters goes on in the next line."""

T = TypeVar("T")


def evaluate(
    traces: TracesArgument,
    cap: Annotated[
        list[int] | None,
        typer.Option(
            "--cap",
            help="Most branches, or units of the program; repeat it for a curve.",
            show_default="20; of searches and thoughts what was recorded",
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="NAME[+lock][:key=value,...]",
            help="A policy to evaluate; repeat it.",
            show_default=", ".join(DEFAULT_ROWS) + "; of searches and thoughts what suits them",
        ),
    ] = None,
    profile: ProfileOption = None,
    in_flight: WidthsOption = None,
    seeds: SeedsOption = 20,
    loss: LossOption = 0.1,
    labels: LabelsOption = "auto",
    grouping: GroupingOption = "task",
    cache: CacheOption = None,
    run_code: RunCodeOption = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file ('-': print).")
    ] = None,
) -> None:
    """Replay recordings under policies: tokens saved and accuracy, against even allocation.

    Every table has even, the length baseline tuned in hindsight to lose at most --loss points,
    and for independent samples an oracle that knows the answers. Searches and thoughts are
    replayed by the program that made them, with its parameters.
    """
    _check_json(json_path, traces)
    calibrated = None if profile is None else read_profile(profile)
    rows = parse_rows(policy or [])
    if calibrated is not None:
        rows["the profile's"] = calibrated.policy_spec()
    plan = Plan(
        rows=rows,
        caps=_once(cap or ([] if calibrated is None else [calibrated.cap])),
        widths=_once(parse_width(one) for one in in_flight or []),
        seeds=seeds,
        loss=loss / 100,
    )
    is_quiet = json_path is not None and str(json_path) == "-"
    how = _How(sorting_from(labels, grouping, cache, run_code), plan, calibrated, is_quiet)
    ready = [_ready(path, how) for path in traces]  # all of them before an hour's work on one
    found = [_one(*one, how) for one in ready]
    if json_path is not None:
        text = msgspec.json.format(msgspec.json.encode(found), indent=1).decode()
        if is_quiet:
            typer.echo(text)
        else:
            _write(json_path, text + "\n")


def _once(given: Iterable[T]) -> tuple[T, ...]:
    """Return what was given, each once: a repeated cap is no second table."""
    return tuple(dict.fromkeys(given))


def _check_json(path: Path | None, traces: Sequence[Path]) -> None:
    """Raise `ConfigError` for a file of figures that cannot be, before an hour's work."""
    if path is None or str(path) == "-":
        return
    if not path.parent.is_dir():
        raise ConfigError(f"--json {path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise ConfigError(f"--json {path} is a folder; name a file")
    if path.exists() and any(one.exists() and one.samefile(path) for one in traces):
        raise ConfigError(f"--json {path} is the trace itself; name another file")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as exc:
        raise DynasorError(f"--json {path} cannot be written: {exc.strerror}") from exc


@dataclass(frozen=True, slots=True)
class _How:
    """How to evaluate each trace, and whether to print no table."""

    sorting: Sorting
    plan: Plan
    profile: Profile | None
    is_quiet: bool


def _ready(path: Path, how: _How) -> tuple[Trace, list[Recorded], Plan]:
    """Read and sort a trace; raises `UserError` where it, or a cap, cannot be used."""
    trace, questions = prepare(path, how.sorting, Console(stderr=True))
    plan = _suited(how.plan, made_by(trace), has_rows=how.profile is not None)
    for cap in plan.caps:
        check_cap(questions, cap)
    return trace, questions, plan


def _suited(plan: Plan, made: Made, *, has_rows: bool) -> Plan:
    """Return a plan for what made a trace: its program, and what nobody has said otherwise."""
    is_own = made.cap is not None
    cap = made.cap or DEFAULT_CAP
    rows = plan.rows
    if not rows or (has_rows and len(rows) == 1):
        rows = parse_rows(usual_rows(made) if is_own else list(DEFAULT_ROWS)) | rows
    return msgspec.structs.replace(
        plan,
        rows=rows,
        caps=plan.caps or (cap,),
        widths=plan.widths or ((made.in_flight,) if is_own else (1,)),
        program=made.program.name,
        params=made.program.params,
        detect=made.detect or (max(1, cap // 4) if is_own else plan.detect),
    )


def _one(trace: Trace, questions: list[Recorded], plan: Plan, how: _How) -> dict[str, Any]:
    """Evaluate and show one trace; return its figures."""
    console, sorting = Console(stderr=True), how.sorting
    head = trace.header
    if how.profile is not None:
        for misfit in how.profile.misfits(
            model=head.model,
            task=head.task,
            workload=head.workload,
            grouping=sorting.grouping,
            program=plan.program,
        ):
            console.print(f"warning: {misfit}", style="yellow", markup=False)
    with bar(console) as progress:
        task = progress.add_task("replaying", total=steps(plan))
        lines = evaluate_plan(questions, plan, lambda: progress.advance(task))
    most = max((line.missing for line in lines), default=0.0)
    if most:
        console.print(
            f"{trace.path}: up to {most:.1%} of a row's generations asked for more than was "
            "recorded there, and got it once more",
            style="yellow",
            markup=False,
        )
    if not how.is_quiet:
        _show(trace, len(questions), plan, lines)
    return {
        "trace": trace.path.name,
        "digest": trace.digest,
        "workload": head.workload,
        "model": head.model,
        "program": plan.program,
        "questions": len(questions),
        "seeds": plan.seeds,
        "labels": sorting.labels,
        "grouping": sorting.grouping,
        "has_estimated_tokens": head.has_estimated_tokens,
        "rows": lines,
    }


def _show(trace: Trace, questions: int, plan: Plan, lines: list[Figures]) -> None:
    """Print one table a cap and width."""
    head = trace.header
    console = wide_console()
    console.print(
        f"[bold]{head.workload}, {head.model}[/bold]: {questions} questions, {plan.seeds} shuffles"
        + ("" if plan.program == SelfConsistency.name else f", {plan.program}")
        + (", token counts are estimates" if head.has_estimated_tokens else "")
    )
    units = "branches" if made_by(trace).cap is None else "units"
    for _, block in groupby(lines, key=lambda line: (line.cap, line.width)):
        console.print()
        console.print(_table(list(block), units))


def _table(lines: list[Figures], units: str) -> Table:
    width = f"all {units}" if lines[0].width is None else f"{lines[0].width} in flight"
    table = Table(box=None, pad_edge=False)
    table.add_column(f"cap {lines[0].cap}, {width}", overflow="fold", max_width=LONGEST_NAME)
    for name in ("saved %", "accuracy %", "change, points", units):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        is_even = line.policy == "even"
        table.add_row(
            line.policy,
            "" if is_even else _spread(line.saved, ".1f"),
            f"{100 * line.accuracy.estimate:.2f}",
            "" if is_even else _spread(line.accuracy_change, "+.2f"),
            f"{line.knob:.1f}",
        )
    return table


def _spread(interval: Interval, form: str) -> str:
    low, middle, high = (
        format(100 * value, form) for value in (interval.low, interval.estimate, interval.high)
    )
    return f"{middle} [dim]({low}, {high})[/dim]"
