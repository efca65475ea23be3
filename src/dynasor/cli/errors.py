"""One line for every error, and the exit code that goes with it."""

from __future__ import annotations

import click
from typer import Exit

from dynasor.core.errors import DynasorError, UserError

__all__ = ["exit_code", "one_line"]

INTERRUPTED = 130
"""What a shell reports for a program ended by Ctrl-C: 128 + SIGINT."""


def exit_code(error: BaseException) -> int | None:
    """Return the exit code; None for an error that is a bug and deserves its traceback."""
    if isinstance(error, UserError | click.UsageError):
        return 2
    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, DynasorError | click.ClickException | BrokenPipeError):
        return 1
    return None


def one_line(error: BaseException) -> str:
    """Return the line that tells the user what was given, what is known and what to do."""
    if isinstance(error, Exit | SystemExit | BrokenPipeError):
        return ""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "dynasor: interrupted"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message()
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    return "dynasor: " + " ".join((message + _known(error)).split())


def _known(error: BaseException) -> str:
    """List the options or commands that exist, where click only names the one that does not."""
    context = getattr(error, "ctx", None)
    if context is None:
        return ""
    if isinstance(error, click.NoSuchOption):
        names = [name for option in context.command.params for name in option.opts]
        return f" (known: {', '.join(sorted(n for n in names if n.startswith('-')))})"
    if isinstance(context.command, click.Group) and isinstance(error, click.UsageError):
        return f" (known: {', '.join(sorted(context.command.commands))})"
    return ""
