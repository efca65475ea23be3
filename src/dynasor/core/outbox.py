"""What one event causes: the commands in order, and the timers that are still wanted."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from dynasor.core.commands import Command, SetTimer

__all__ = ["Outbox"]

Action = Callable[[], None]


class Outbox:
    """Collects the commands of the event being handled, and keeps named timers.

    `now` is the event's time in seconds, `cause` its number; `commands` may be appended to.
    """

    __slots__ = ("_timers", "cause", "commands", "now")

    def __init__(self) -> None:
        self.now = -inf
        self.cause = -1
        self.commands: list[Command] = []
        self._timers: dict[str, tuple[float, Action]] = {}

    def put(self, command: Command) -> None:
        """Add a command."""
        self.commands.append(command)

    def take(self) -> list[Command]:
        """Return the commands and start afresh."""
        commands, self.commands = self.commands, []
        return commands

    def set_timer(self, name: str, at: float, action: Action) -> None:
        """Have `action` run at time `at`; a timer of the same name is replaced."""
        self._timers[name] = (at, action)
        self.put(SetTimer(name, at, self.cause))

    def forget_timer(self, name: str) -> None:
        """Ignore a timer when it comes."""
        self._timers.pop(name, None)

    def fire(self, name: str) -> bool:
        """Run a timer's action; whether anybody still waited for it.

        One that comes too early (an old one of the same name, or a hasty clock) is asked for
        again.
        """
        timer = self._timers.get(name)
        if timer is None:
            return False
        at, action = timer
        if self.now < at:
            self.put(SetTimer(name, at, self.cause))
            return True
        del self._timers[name]
        action()
        return True
