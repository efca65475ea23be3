"""`dynasor replay`: feed a journal to a fresh scheduler and compare what it decides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from dynasor.cli.options import JsonOption
from dynasor.core.errors import DynasorError
from dynasor.journal import read_journal
from dynasor.journal import replay as replay_journal
from dynasor.wiring import build_id, grouped, make_catalog

__all__ = ["replay"]


def replay(
    journal: Annotated[Path, typer.Argument(help="A file written with --journal.")],
    as_json: JsonOption = False,
) -> None:
    """Replay a journal: the same events must cause the same commands in the same order."""
    header, _ = read_journal(journal)
    catalog = grouped(make_catalog(), header.task, header.grouping)
    found = replay_journal(journal, catalog)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        typer.echo(
            f"{found.events:,} events, {found.commands:,} commands, {found.programs:,} programs, "
            f"{found.tokens:,} tokens{'; the last line is torn' if found.is_torn else ''}"
        )
    if found.first_difference is not None:
        builds = "" if header.build == build_id() else f" (written by build {header.build})"
        raise DynasorError(
            f"{journal}, line {found.first_difference}: other commands than recorded{builds}"
        )
    if not as_json:
        typer.echo("the same commands in the same order")
