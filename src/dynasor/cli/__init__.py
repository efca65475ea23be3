"""The command line. `main` is the one place where errors become one line and an exit code."""

from __future__ import annotations

import os
import sys

import typer
from typer.main import get_command

from dynasor.cli.ask import ask
from dynasor.cli.batch import batch
from dynasor.cli.bench import bench
from dynasor.cli.calibrate import calibrate
from dynasor.cli.chat import chat
from dynasor.cli.demo import demo
from dynasor.cli.drift import drift
from dynasor.cli.errors import exit_code, one_line
from dynasor.cli.evaluate import evaluate
from dynasor.cli.fit_engine import fit_engine
from dynasor.cli.keys import keys_app
from dynasor.cli.profile import profile
from dynasor.cli.record import record
from dynasor.cli.replay import replay
from dynasor.cli.serve import serve
from dynasor.cli.simulate import simulate
from dynasor.cli.trace import trace_app

__all__ = ["app", "main"]

app = typer.Typer(
    name="dynasor",
    help="Serve reasoning queries: compute where the answer is open, none where it is settled.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo)
app.command("ask")(ask)
app.command("chat")(chat)
app.command("serve")(serve)
app.add_typer(keys_app)
app.command("bench")(bench)
app.command("batch")(batch)
app.command("record")(record)
app.command("evaluate")(evaluate)
app.command("calibrate")(calibrate)
app.command("profile")(profile)
app.command("drift")(drift)
app.command("fit-engine")(fit_engine)
app.command("simulate")(simulate)
app.command("replay")(replay)
app.add_typer(trace_app)


@app.callback()
def common() -> None:
    """Let typer treat the commands as sub-commands."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 what was given cannot be used."""
    command = get_command(app)
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # Not `command.main`, which has an ending of its own for some errors.
        with command.make_context("dynasor", given) as context:
            command.invoke(context)
        sys.stdout.flush()
    except BaseException as exc:
        code = exit_code(exc)
        if code is None:
            raise
        if isinstance(exc, BrokenPipeError):  # nobody reads on; the interpreter would complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        line = one_line(exc)
        if line:
            typer.echo(line, err=True)
        sys.exit(code)
    sys.exit(0)
