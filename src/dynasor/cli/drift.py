"""`dynasor drift`: say whether a profile still fits what programs do now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dynasor.calibrate import Drift, behaviour, compare_behaviour, read_behaviour
from dynasor.cli.calibrate import summary
from dynasor.cli.options import JsonOption
from dynasor.cli.traces_given import RunCodeOption, prepare, sorting_from, wide_console
from dynasor.config import format_policy, parse_policy, parse_program
from dynasor.evaluate.offline import with_width
from dynasor.evaluate.replay import Job, replay
from dynasor.profile import Behaviour, Profile, read_profile
from dynasor.traces.files import is_gzip, opened

__all__ = ["drift"]

DUE = 3
"""Exit code for a profile that should be made anew, for scripts that ask every night."""
LOOK = 4096
"""Bytes in which a trace's header says that it is one."""


def drift(
    profile_path: Annotated[Path, typer.Argument(metavar="PROFILE", help="A profile.")],
    live: Annotated[
        Path,
        typer.Argument(
            metavar="LIVE", help="An output of `dynasor batch` under the profile, or a new trace."
        ),
    ],
    run_code: RunCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare how live questions went with how they went at calibration.

    Looks at the certaindex at the stop, the share of the cap that was used, and the tokens of a
    branch. Exits with 0 where the profile still fits or too little was seen, with 3 where it is
    time to calibrate again.
    """
    profile = read_profile(profile_path)
    console = Console(stderr=True)
    now, misfits = _live(profile, live, console, run_code)
    for misfit in misfits:
        console.print(f"warning: {misfit}", style="yellow", markup=False)
    found = compare_behaviour(profile, now)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        shown = wide_console()
        shown.print(summary(profile), markup=False)
        if found.changes:
            shown.print(_table(found))
        counted = "" if found.is_due is None else f"{found.live} live questions: "
        shown.print(f"\n{counted}{found.advice}")
    if found.is_due:
        raise typer.Exit(DUE)


def _live(
    profile: Profile, path: Path, console: Console, run_code: bool
) -> tuple[Behaviour, list[str]]:
    """Read live behaviour: of a batch's records, or of a trace replayed under the profile."""
    if not _is_trace(path):
        found, names = read_behaviour(path)
        misfits = [
            misfit
            for what in ("model", "task")
            for name in sorted(names[what])
            for misfit in profile.misfits(**{what: name})
        ]
        own = profile.policy_spec()
        misfits += [
            f"the profile's policy is {format_policy(own)!r}, and {policy!r} ran: this alone "
            "changes when programs stop"
            for policy in sorted(names["policy"])
            if parse_policy(policy, has_lock=own.has_lock) != own
        ]
        return found, misfits
    # A replay does not need to know which answers are right.
    sorting = sorting_from("none", profile.grouping, None, run_code)
    trace, questions = prepare(path, sorting, console, needs_quality=False)
    program = parse_program(profile.program)
    policy = with_width(profile.policy_spec(), profile.width)
    job = Job(policy, profile.cap, program.name, params=program.params)
    head = trace.header
    misfits = profile.misfits(model=head.model, task=head.task, workload=head.workload)
    return behaviour(replay(questions, job, seed=0), profile.cap), misfits


def _is_trace(path: Path) -> bool:
    """Say whether a file wants to be a trace; raises `TraceError` where it cannot be read."""
    with opened(path) as file:
        beginning = file.read(LOOK)
    return is_gzip(path, beginning) or b'"dynasor_trace"' in beginning


def _table(found: Drift) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("measure", "then", "now", "distance", "p", ""):
        table.add_column(name, justify="left" if name in ("measure", "") else "right")
    for change in found.changes:
        table.add_row(
            change.measure.replace("_", " "),
            f"{change.then:.3g}",
            f"{change.now:.3g}",
            f"{change.distance:.2f}",
            f"{change.p_value:.2g}",
            "[yellow]changed[/yellow]" if change.has_changed else "",
        )
    return table
