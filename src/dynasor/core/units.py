"""The units of one program's knob: granted, handed out, promoted, settled."""

from __future__ import annotations

from dynasor.core.allocation import Grant
from dynasor.core.program import Granted
from dynasor.core.strands import StrandState

__all__ = ["Units"]


class Units:
    """Counts units and hands them to the strands that ask.

    `granted` are needed units granted so far, `speculative` those handed out or ready to be, and
    not settled: together never above `cap`, which a grant may lower. A needed grant
    first promotes speculative units that already run: those of speculative strands (`runners`),
    then those that were handed out and not forked as such.
    """

    __slots__ = ("_askers", "_credit", "_idle", "_unforked", "cap", "granted", "runners")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.granted = 0
        self._credit = 0
        self._idle = 0
        self._unforked = 0
        self.runners: dict[int, StrandState] = {}
        self._askers: list[tuple[StrandState, int]] = []

    @property
    def speculative(self) -> int:
        """Speculative units outstanding: running, or granted and not yet handed out."""
        return self._idle + self._unforked + len(self.runners)

    @property
    def has_unforked(self) -> bool:
        """Whether a speculative unit was handed out that no speculative strand runs yet."""
        return self._unforked > 0

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
        self.granted += needed
        self._credit += needed
        promoted = self._promote(needed) if self.speculative else []
        if grant.speculative:
            room = self.cap - self.granted - self.speculative
            self._idle += max(0, min(grant.speculative, room))
        if grant.cap is not None:
            self.cap = max(self.granted + self.speculative, min(self.cap, grant.cap))
        return promoted

    def hand_out(self) -> list[tuple[StrandState, Granted]]:
        """Return the asking strands that can go on, each with its units.

        Who asked last is served first: a strand that has just settled a unit runs the next one,
        and the one that forks others, which asked before, gets what is left.
        """
        served: list[tuple[StrandState, Granted]] = []
        while self._askers:
            strand, knob = self._askers[-1]
            if strand.is_done:
                del self._askers[-1]
                continue
            if self._credit:
                units = Granted(min(knob, self._credit))
                self._credit -= units.knob
            elif self._idle:
                units = Granted(min(knob, self._idle), is_speculative=True)
                self._idle -= units.knob
                self._unforked += units.knob
            elif self.granted + self.speculative >= self.cap:
                units = Granted(0)
            else:
                break
            del self._askers[-1]
            served.append((strand, units))
        return served

    def _promote(self, needed: int) -> list[StrandState]:
        """Let granted units replace speculative ones; those that run need no other credit."""
        promoted = list(self.runners.values())[:needed]
        for strand in promoted:
            del self.runners[strand.number]
        rest = needed - len(promoted)
        from_unforked = min(rest, self._unforked)
        self._unforked -= from_unforked
        rest -= from_unforked
        self._idle -= min(rest, self._idle)
        self._credit -= needed - rest
        return promoted

    def begin_speculation(self, strand: StrandState) -> None:
        """Note the strand that runs a speculative unit, one of those not forked yet."""
        self._unforked -= 1
        self.runners[strand.number] = strand

    def end(self, strand: StrandState) -> None:
        """Note a strand's end: a speculative unit that it ran counts as granted now."""
        if self.runners.pop(strand.number, None) is not None:
            self.granted += 1
