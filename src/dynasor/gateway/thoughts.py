"""What a program thinks while it thinks: the text of its open call, as it comes."""

from __future__ import annotations

from collections.abc import Callable

from dynasor.core.commands import Closed, Command, Submit
from dynasor.core.events import Event, Finished, Progressed
from dynasor.core.types import Generate, Generated

__all__ = ["Streams", "Thoughts"]


class Streams:
    """Hands the text of programs' open calls to who follows them; a driver's `Recorder`."""

    def __init__(self) -> None:
        self._followers: dict[str, Callable[[str], None]] = {}
        self._read: dict[str, int] = {}

    def follow(self, program: str, hear: Callable[[str], None]) -> None:
        """Call `hear` with every new piece of text, until the program is closed.

        Meant for programs with one open call at a time; call it before the program's arrival.
        """
        self._followers[program] = hear

    def leave(self, program: str) -> None:
        """Stop following a program."""
        if self._followers.pop(program, None) is not None:
            for call in [one for one in self._read if one.rpartition("#")[0] == program]:
                del self._read[call]

    def record(self, now: float, event: Event, commands: list[Command]) -> None:
        """Take in one event and what the scheduler did about it."""
        if not self._followers:
            return
        if isinstance(event, Progressed):
            self._hear(event.call, event.delta)
        elif isinstance(event, Finished) and isinstance(event.output, Generated):
            # The last report has none of the text that came since the one before.
            self._hear(event.call, event.output.text[self._read.get(event.call, 0) :])
            self._read.pop(event.call, None)
        for command in commands:
            if isinstance(command, Submit) and command.call.program in self._followers:
                work = command.call.work
                if isinstance(work, Generate) and work.report_every:
                    self._read[command.call.id] = 0
            elif isinstance(command, Closed):
                self.leave(command.program)

    def _hear(self, call: str, text: str) -> None:
        read = self._read.get(call)
        follower = self._followers.get(call.rpartition("#")[0])
        if read is not None and follower is not None and text:
            self._read[call] = read + len(text)
            follower(text)


class Thoughts:
    """Lets text through up to the tag that ends the thoughts, which may come in pieces."""

    def __init__(self, end: str) -> None:
        self._end = end
        self._held = ""
        self._is_over = False

    def pass_on(self, text: str) -> str:
        """Take the next piece; return what of all pieces so far is certainly thought, and new."""
        if self._is_over:
            return ""
        self._held += text
        thought, tag, _ = self._held.partition(self._end)
        if tag:
            self._is_over, self._held = True, ""
            return thought
        sure = len(thought) - self._hanging(thought)
        self._held = thought[sure:]
        return thought[:sure]

    def rest(self) -> str:
        """Return what was held back, once nothing more comes."""
        held, self._held = self._held, ""
        return held

    def _hanging(self, text: str) -> int:
        """Return how many letters at the end of a text may be the beginning of the tag."""
        longest = min(len(self._end) - 1, len(text))
        return next((n for n in range(longest, 0, -1) if self._end.startswith(text[-n:])), 0)
