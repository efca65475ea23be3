"""The options that several commands share, and the settings they make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dynasor.config import Settings, load_settings

__all__ = [
    "CapOption",
    "ConfigOption",
    "EngineOption",
    "JournalOption",
    "JsonOption",
    "LockOption",
    "ModelOption",
    "OrderingOption",
    "PolicyOption",
    "ProfileOption",
    "ProgramOption",
    "SeedOption",
    "SlotsOption",
    "TaskOption",
    "settings_from",
]

EngineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        "-e",
        metavar="URL",
        help="An OpenAI-compatible server (repeat for replicas), or a .gguf file; "
        "the embedded model if left out.",
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Model name to ask for; the server's first if unset.")
]
SlotsOption = Annotated[
    int | None,
    typer.Option("--slots", help="Calls the engine runs at once; asked from it if unset."),
]
ProgramOption = Annotated[
    str | None,
    typer.Option(
        "--program",
        metavar="NAME[:key=value,...]",
        help="Reasoning algorithm.",
        show_default="self-consistency",
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAME[:key=value,...]",
        help="Allocation policy.",
        show_default="the program's usual one, else beta",
    ),
]
ProfileOption = Annotated[
    Path | None,
    typer.Option("--profile", help="A calibrated policy, from `dynasor calibrate`."),
]
LockOption = Annotated[
    bool | None,
    typer.Option("--lock/--no-lock", help="Also stop when the leader cannot be overtaken."),
]
OrderingOption = Annotated[
    str | None,
    typer.Option("--ordering", metavar="NAME", help="Whose calls run next.", show_default="gang"),
]
CapOption = Annotated[
    int | None,
    typer.Option(
        "--cap", help="Most branches (paths, iterations ...) of one question.", show_default="20"
    ),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="Kind of question.", show_default="math")
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", help="Seed of all sampling.", show_default="0")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file.", show_default="dynasor.toml, if there is one"),
]
JournalOption = Annotated[
    Path | None, typer.Option("--journal", help="Write every event to this new file.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of text for people.")
]


def settings_from(config: Path | None, **flags: Any) -> Settings:
    """Return the settings; flags that are None, or empty lists, were not given."""
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    return load_settings(config, **given)
