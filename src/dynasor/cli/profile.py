"""`dynasor profile`: say in plain words what a profile is and what it was measured to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from dynasor.cli.calibrate import summary
from dynasor.cli.options import JsonOption
from dynasor.cli.traces_given import wide_console
from dynasor.profile import read_profile

__all__ = ["profile"]


def profile(
    path: Annotated[Path, typer.Argument(metavar="PROFILE", help="A profile.")],
    as_json: JsonOption = False,
) -> None:
    """Show a profile: which policy, made for what, and what it saved on questions not seen."""
    found = read_profile(path)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        wide_console().print(summary(found), markup=False)
