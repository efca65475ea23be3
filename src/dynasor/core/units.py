"""The units of one program's knob: granted, handed out, promoted, settled."""

from __future__ import annotations

from collections import deque

from dynasor.core.allocation import Grant
from dynasor.core.program import Granted
from dynasor.core.strands import StrandState

__all__ = ["Units"]


class Units:
    """Counts units and hands them to the strands that ask.

    `granted` are needed units granted so far, `speculative` those handed out or ready to be, and
    not settled: together never above `cap`. A needed grant first promotes speculative units that
    already run.
    """

    __slots__ = ("_askers", "_credit", "_idle", "cap", "granted", "runners")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.granted = 0
        self._credit = 0
        self._idle = 0
        self.runners: dict[int, StrandState] = {}
        self._askers: deque[tuple[StrandState, int]] = deque()

    @property
    def speculative(self) -> int:
        """Speculative units outstanding: running, or granted and not yet handed out."""
        return self._idle + len(self.runners)

    @property
    def has_askers(self) -> bool:
        """Whether a strand waits for units."""
        return bool(self._askers)

    def ask(self, strand: StrandState, knob: int) -> None:
        """Let a strand wait for up to `knob` units."""
        self._askers.append((strand, knob))

    def grant(self, grant: Grant) -> list[StrandState]:
        """Take a grant; return the strands whose speculative unit it makes a needed one."""
        needed = max(0, min(grant.needed, self.cap - self.granted))
        promoted = list(self.runners.values())[:needed]
        for strand in promoted:
            del self.runners[strand.number]
        from_idle = min(needed - len(promoted), self._idle)
        self._idle -= from_idle
        self._credit += needed - len(promoted)
        self.granted += needed
        room = self.cap - self.granted - self.speculative
        self._idle += max(0, min(grant.speculative, room))
        return promoted

    def hand_out(self) -> list[tuple[StrandState, Granted]]:
        """Return the asking strands that can go on, each with its units."""
        served: list[tuple[StrandState, Granted]] = []
        while self._askers:
            strand, knob = self._askers[0]
            if strand.is_done:
                self._askers.popleft()
                continue
            if self._credit:
                units = Granted(min(knob, self._credit))
                self._credit -= units.knob
            elif self._idle:
                units = Granted(min(knob, self._idle), is_speculative=True)
                self._idle -= units.knob
            elif self.granted + self.speculative >= self.cap:
                units = Granted(0)
            else:
                break
            self._askers.popleft()
            served.append((strand, units))
        return served

    def begin_speculation(self, strand: StrandState) -> None:
        """Note the strand that runs a speculative unit."""
        self.runners[strand.number] = strand

    def end(self, strand: StrandState) -> None:
        """A strand ended: if it ran a speculative unit, that unit counts as granted now."""
        if self.runners.pop(strand.number, None) is not None:
            self.granted += 1
