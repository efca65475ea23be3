"""`dynasor keys`: the API keys of a gateway; their secrets are shown once and kept nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dynasor.cli.options import JsonOption
from dynasor.core.errors import ConfigError
from dynasor.gateway.keys import PERIODS, Key, list_keys, new_key, remove_key

__all__ = ["keys_app"]

keys_app = typer.Typer(
    name="keys",
    help="Make, list and remove the API keys of `dynasor serve --keys FILE`.",
    no_args_is_help=True,
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The file of the keys.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="What logs and metrics call the key's owner.")
]


@keys_app.command("add")
def add(
    file: FileArgument,
    name: NameArgument,
    weight: Annotated[
        float, typer.Option("--weight", help="Share of the engines beside the other keys'.")
    ] = 1.0,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", help="Requests that may wait or run at once.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", help="Tokens that may be spent in a period.")
    ] = None,
    period: Annotated[
        str, typer.Option("--period", metavar="|".join(PERIODS), help="The period of --tokens.")
    ] = "day",
    operator: Annotated[
        bool, typer.Option("--operator", help="May take engines out and in (/v1/replicas).")
    ] = False,
) -> None:
    """Make a key, in a new file if there is none, and print its secret, this once."""
    known = next((one for one in PERIODS if one == period), None)
    if known is None:
        raise ConfigError(f"--period is {period!r}; choose one of {', '.join(PERIODS)}")
    secret = new_key(
        file,
        name,
        weight=weight,
        concurrency=concurrency,
        tokens=tokens,
        period=known,
        operator=operator,
    )
    typer.echo(secret)


@keys_app.command("list")
def show(file: FileArgument, as_json: JsonOption = False) -> None:
    """List the keys of a file with their limits, without their hashes."""
    keys = list_keys(file)
    if as_json:
        typer.echo(msgspec.json.encode([_limits(key) for key in keys]).decode())
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("name", "weight", "concurrency", "tokens", "operator"):
        table.add_column(heading, justify="left" if heading == "name" else "right")
    for key in keys:
        tokens = "any" if key.tokens is None else f"{key.tokens:,} a {key.period}"
        at_once = "any" if key.concurrency is None else str(key.concurrency)
        table.add_row(key.name, f"{key.weight:g}", at_once, tokens, "yes" if key.operator else "no")
    Console().print(table)


@keys_app.command("remove")
def remove(file: FileArgument, name: NameArgument) -> None:
    """Take a key out of a file; a gateway that runs refuses it from the next second on."""
    remove_key(file, name)


def _limits(key: Key) -> dict[str, object]:
    return {
        "name": key.name,
        "weight": key.weight,
        "concurrency": key.concurrency,
        "tokens": key.tokens,
        "period": key.period,
        "operator": key.operator,
    }
