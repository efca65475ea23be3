"""One line for every error, and the exit code that goes with it."""

from __future__ import annotations

from pydantic import ValidationError
from typer import Abort, BadParameter, Exit

from dynasor.core.errors import DynasorError, UserError

__all__ = ["INTERRUPTED", "exit_code", "one_line"]

# typer carries a copy of click in some versions and imports click in others; the errors of either
# are the bases of the one that typer names.
UsageError, ClickException = BadParameter.__mro__[1:3]

INTERRUPTED = 130
"""What a shell reports for a program ended by Ctrl-C: 128 + SIGINT."""


def exit_code(error: BaseException) -> int | None:
    """Return the exit code; None for an error that is a bug and deserves its traceback."""
    if isinstance(error, (UserError, UsageError)):
        return 2
    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | Abort):
        return INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, (DynasorError, ClickException, OSError)):
        return 1  # an OSError: standard output is full or gone
    return None


def one_line(error: BaseException) -> str:
    """Return the line that tells the user what was given, what is known and what to do."""
    if isinstance(error, Exit | SystemExit | BrokenPipeError):
        return ""
    if isinstance(error, KeyboardInterrupt | Abort):
        return "dynasor: interrupted"
    message = str(getattr(error, "format_message", error.__str__)())
    if type(error).__name__ == "NoArgsIsHelpError":
        return message
    return "dynasor: " + " ".join((message + _given(error) + _known(error)).split())


def _given(error: BaseException) -> str:
    """Quote the value that cannot be used, where typer only says what was expected."""
    cause = error.__cause__
    if isinstance(error, UsageError) and isinstance(cause, ValidationError):
        return f" (given: {cause.errors()[0]['input']!r})"
    return ""


def _known(error: BaseException) -> str:
    """List the options or commands that exist, where click only names the one that does not."""
    context = getattr(error, "ctx", None)
    if context is None:
        return ""
    if type(error).__name__ == "NoSuchOption":
        names = [name for option in context.command.params for name in option.opts]
        return f" (known: {', '.join(sorted(n for n in names if n.startswith('-')))})"
    commands = getattr(context.command, "commands", None)
    return f" (known: {', '.join(sorted(commands))})" if commands else ""
