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
from dynasor.cli.traces_given import prepare, sorting_from
from dynasor.evaluate.offline import with_width
from dynasor.evaluate.replay import Job, replay
from dynasor.profile import Behaviour, Profile, read_profile
from dynasor.traces import TraceError, open_trace

__all__ = ["drift"]

DUE = 3
"""Exit code for a profile that should be made anew, for scripts that ask every night."""


def drift(
    profile_path: Annotated[Path, typer.Argument(metavar="PROFILE", help="A profile.")],
    live: Annotated[
        Path,
        typer.Argument(
            metavar="LIVE", help="An output of `dynasor batch` under the profile, or a new trace."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Compare how live questions went with how they went at calibration.

    Looks at the certaindex at the stop, the share of the cap that was used, and the tokens of a
    branch. Exits with 0 where the profile still fits or too little was seen, with 3 where it is
    time to calibrate again.
    """
    profile = read_profile(profile_path)
    console = Console(stderr=True)
    now, misfits = _live(profile, live, console)
    for misfit in misfits:
        console.print(f"warning: {misfit}", style="yellow")
    found = compare_behaviour(profile, now)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        Console().print(summary(profile))
        Console().print(_table(found))
        Console().print(f"\n{found.live} live questions: {found.advice}")
    if found.is_due:
        raise typer.Exit(DUE)


def _live(profile: Profile, path: Path, console: Console) -> tuple[Behaviour, list[str]]:
    """Read live behaviour: of a batch's records, or of a trace replayed under the profile."""
    try:
        with open_trace(path, "sampling") as trace:
            header = trace.header
    except TraceError:
        found, names = read_behaviour(path)
        misfits = [
            misfit
            for what in ("model", "task")
            for name in sorted(names[what])
            for misfit in profile.misfits(**{what: name})
        ]
        return found, misfits
    # A replay does not need to know which answers are right.
    sorting = sorting_from("none", "task", None, run_code=False)
    _, questions = prepare(path, sorting, console, needs_quality=False)
    job = Job(with_width(profile.policy_spec(), profile.width), profile.cap, profile.program)
    misfits = profile.misfits(model=header.model, task=header.task, workload=header.workload)
    return behaviour(replay(questions, job, seed=0), profile.cap), misfits


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
