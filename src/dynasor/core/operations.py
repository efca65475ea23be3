"""What each operation that a strand may yield means.

Handlers return the operation's result where it is there at once; else they note what the strand
waits for and return `WAITS`; the events that end the waiting come back through `core.run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from dynasor.core.calls import ENDED, CallState
from dynasor.core.chance import call_seed
from dynasor.core.errors import CallFailed, ProgramFailed
from dynasor.core.grouping import Grouping
from dynasor.core.ordering import Demand
from dynasor.core.program import (
    Ask,
    Cancel,
    Fork,
    Group,
    Join,
    Next,
    Open,
    Report,
    Sample,
    Stream,
    Thread,
)
from dynasor.core.strands import WAITS, Handler, Strands, StrandState
from dynasor.core.types import Call, Embed, Generated, Output, Score, Work
from dynasor.core.units import Units

__all__ = ["Calls", "Operations"]


class Calls(Protocol):
    """What operations do with calls, beyond starting them."""

    def submit(self, call: CallState) -> None:
        """Let a new call wait for a slot."""

    def drop(self, call: CallState) -> None:
        """End a call that no longer matters."""

    def drop_calls(self, strand: StrandState) -> None:
        """End all calls that a strand has left."""


class Operations:
    """The operations of one program's strands, and the streams that are open."""

    __slots__ = (
        "_calls",
        "_demand",
        "_grouping",
        "_streams",
        "_strands",
        "_units",
        "affinity",
        "count",
        "seed",
    )

    def __init__(self, demand: Demand, units: Units, grouping: Grouping, calls: Calls) -> None:
        self._demand = demand
        self._units = units
        self._grouping = grouping
        self._calls = calls
        self._streams: dict[str, CallState] = {}
        self._strands: Strands
        self.affinity = demand.program
        self.count = 0
        self.seed = 0

    def attach(self, strands: Strands) -> None:
        """Say whose strands are resumed."""
        self._strands = strands

    def detach(self) -> None:
        """Break the reference cycles of a closed program, so that it is freed at once.

        What the garbage collector need not find it need not look for.
        """
        del self._strands, self._calls

    def ended(self, strand: StrandState) -> None:
        """Note a strand that ended by itself: only streams outlive it, it waited for the rest."""
        self._units.end(strand)
        if self._streams:
            self._calls.drop_calls(strand)

    def cancelled(self, strand: StrandState) -> None:
        """Note a strand that was closed at its yield: nobody wants its calls any more."""
        self._units.end(strand)
        self._calls.drop_calls(strand)

    def finished(self, call: CallState, output: Output) -> None:
        """Hand a call's output to its strand."""
        if call.is_open and isinstance(output, Generated):
            call.reports += (Report("", 0, output),)
            self._deliver(call)
        else:
            self._strands.resume(self._strands.all[call.strand], output)

    def failed(self, call: CallState, error: CallFailed) -> None:
        """Hand a call's final failure to its strand."""
        if call.is_open:
            call.error = error
            self._deliver(call)
        else:
            self._strands.throw(self._strands.all[call.strand], error)

    def progressed(self, call: CallState, report: Report) -> None:
        """Hand an open call's report to its strand, now or at its next `Next`."""
        call.reports += (report,)
        self._deliver(call)

    def _deliver(self, call: CallState) -> None:
        if call.awaited_by is None:
            return
        strand = self._strands.all[call.awaited_by]
        if call.reports:
            self._strands.resume(strand, call.reports[0])
            call.reports = call.reports[1:]
        elif call.error is not None:
            self._strands.throw(strand, call.error)
        else:
            return
        call.awaited_by = None

    def _ask(self, strand: StrandState, operation: Ask) -> object:
        if operation.knob < 1:
            raise ProgramFailed(f"Ask({operation.knob}): a program asks for at least one unit")
        self._units.ask(strand, operation.knob)
        return WAITS

    def _sample(self, strand: StrandState, operation: Sample) -> object:
        self._call(strand, operation.pool, operation.work)
        return WAITS

    def _score(self, strand: StrandState, operation: Score) -> object:
        self._call(strand, "reward", operation)
        return WAITS

    def _embed(self, strand: StrandState, operation: Embed) -> object:
        self._call(strand, "embed", operation)
        return WAITS

    def _call(
        self, strand: StrandState, pool: str, work: Work, *, is_open: bool = False
    ) -> CallState:
        self.count += 1
        program = self._demand.program
        call_id = f"{program}#{self.count}"
        call = Call(
            call_id,
            program,
            pool,
            work,
            self.affinity,
            program,
            call_seed(self.seed, self.count),
            strand.is_speculative,
        )
        state = CallState(call, self._demand, strand.number, strand.is_speculative, is_open)
        self._calls.submit(state)
        return state

    def _group(self, strand: StrandState, operation: Group) -> object:
        if operation.answer is None:
            return None
        group = self._grouping.place(operation.answer)
        if group is None:
            self._grouping.wait(strand.number, operation.answer)
            return WAITS
        return group

    def _open(self, strand: StrandState, operation: Open) -> object:
        state = self._call(strand, operation.pool, operation.work, is_open=True)
        self._streams[state.call.id] = state
        return Stream(state.call.id)

    def _next(self, strand: StrandState, operation: Next) -> object:
        call = self._streams.get(operation.stream.call)
        if call is None:
            raise ProgramFailed(f"Next({operation.stream}): no such stream is open")
        if call.awaited_by is not None:
            raise ProgramFailed(f"Next({operation.stream}): another strand already waits for it")
        if call.phase is ENDED and not call.reports and call.error is None:
            raise ProgramFailed(f"Next({operation.stream}): the stream has ended")
        call.awaited_by = strand.number
        self._deliver(call)
        return WAITS

    def _fork(self, strand: StrandState, operation: Fork) -> object:
        # Without a unit to run, or after that was promoted, it is a strand like any other.
        is_speculative = operation.is_speculative and self._units.has_unforked
        child = self._strands.start(operation.strand, strand, is_speculative)
        if is_speculative:
            self._units.begin_speculation(child)
        return Thread(child.number)

    def _join(self, strand: StrandState, operation: Join) -> object:
        return self._strands.join(strand, operation.threads)

    def _cancel(self, strand: StrandState, operation: Cancel) -> object:
        target = operation.target
        if isinstance(target, Stream):
            call = self._streams.pop(target.call, None)
            if call is not None:
                self._calls.drop(call)
                call.error = CallFailed(
                    call.call.id, call.attempt, "Cancelled", "the program cancelled this stream"
                )
                self._deliver(call)
        else:
            self._strands.cancel(self._strands.all[target.number])
        return None

    handlers: ClassVar[Mapping[type, Handler]] = {
        Ask: _ask,
        Sample: _sample,
        Score: _score,
        Embed: _embed,
        Group: _group,
        Open: _open,
        Next: _next,
        Fork: _fork,
        Join: _join,
        Cancel: _cancel,
    }
    """What each operation means."""
