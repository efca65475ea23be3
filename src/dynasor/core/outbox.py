"""What one event causes: the commands in order, and the timers that are still wanted."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from dynasor.core.commands import Command, SetTimer

__all__ = ["Outbox"]

Action = Callable[[], None]


class Outbox:
    """Collects the commands of the event being handled, and keeps named timers.

    `now` is the event's time in seconds, `cause` its number.
    """

    __slots__ = ("_commands", "_timers", "cause", "now")

    def __init__(self) -> None:
        self.now = -inf
        self.cause = -1
        self._commands: list[Command] = []
        self._timers: dict[str, Action] = {}

    def put(self, command: Command) -> None:
        """Add a command."""
        self._commands.append(command)

    def take(self) -> list[Command]:
        """Return the commands and start afresh."""
        commands, self._commands = self._commands, []
        return commands

    def set_timer(self, name: str, at: float, action: Action) -> None:
        """Have `action` run at time `at`; a timer of the same name is replaced."""
        self._timers[name] = action
        self.put(SetTimer(name, at, self.cause))

    def forget_timer(self, name: str) -> None:
        """Ignore a timer when it comes."""
        self._timers.pop(name, None)

    def fire(self, name: str) -> bool:
        """Run a timer's action; whether anybody still waited for it."""
        action = self._timers.pop(name, None)
        if action is None:
            return False
        action()
        return True
