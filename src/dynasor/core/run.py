"""One program while it runs: its strands, its policy's decisions, its end.

This file must not know of queues, slots, replicas or other programs: those are the desk's.
"""

from __future__ import annotations

from math import inf
from traceback import extract_tb
from typing import Protocol

from dynasor.core.allocation import Onlooker, Policy, Shadowing, Stop, View
from dynasor.core.calls import ENDED, Bill, CallState
from dynasor.core.chance import generator, program_seed
from dynasor.core.commands import Shadowed
from dynasor.core.errors import CallFailed, DeadlineExceeded, DynasorError, ProgramFailed
from dynasor.core.grouping import Grouping
from dynasor.core.operations import Operations
from dynasor.core.ordering import Demand
from dynasor.core.program import Program, Random, Report
from dynasor.core.strands import Strands, StrandState
from dynasor.core.task import Task
from dynasor.core.types import Answer, Output
from dynasor.core.units import Units

__all__ = ["Desk", "ProgramRun"]


class Desk(Protocol):
    """What a running program asks of the scheduler."""

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""

    def enqueue(self, run: ProgramRun, call: CallState) -> None:
        """Let a new call wait for a slot."""

    def drop(self, run: ProgramRun, call: CallState) -> None:
        """End a call that no longer matters: unqueue it, or abort it."""

    def promote(self, call: CallState) -> None:
        """Rank a speculative call as a needed one."""

    def compare(self, run: ProgramRun, new: tuple[str, ...]) -> None:
        """Put answers to the grouping workers."""

    def crowd(self, demand: Demand) -> tuple[int, int]:
        """Return the needed calls of others that hold slots or wait, and the slots there are."""

    def rounds(self, demand: Demand, deadline: float) -> float:
        """Return how many of the program's units fit before a time, one after the other."""

    def moved(self, run: ProgramRun) -> None:
        """Note that units were settled."""

    def ended(self, run: ProgramRun) -> None:
        """Note that the program has its ending; some of its calls may still run."""


class ProgramRun:
    """One program, its strands, its calls and its bill.

    `status` is `running` until the end is decided (`is_running`), then one of `Answered.status`.
    `live` holds the calls that still matter, `aborting` counts those that do not and still hold
    slots. `trail` is where it stood after each settling: units and certainty; `shadowed` is what
    another policy would have done where one was to be asked. It is the `Context`
    of its program's strands and the `Calls` of its operations.
    """

    __slots__ = (
        "_desk",
        "_is_consulted",
        "_onlooker",
        "_strands",
        "aborted_calls",
        "aborting",
        "answer",
        "bill",
        "certaindex",
        "deadline",
        "demand",
        "error",
        "failed_attempts",
        "grouping",
        "is_running",
        "live",
        "operations",
        "policy",
        "program",
        "reason",
        "seen_knob",
        "seen_tokens",
        "shadowed",
        "status",
        "task",
        "trail",
        "units",
    )

    def __init__(self, program: Program, policy: Policy, task: Task, demand: Demand) -> None:
        self.program = program
        self.policy = policy
        self.task = task
        self.demand = demand
        self.units = Units(program.cap)
        self.grouping = Grouping(task)
        self.bill = Bill()
        self.live: dict[str, CallState] = {}
        self.aborting = 0
        self.aborted_calls = 0
        self.failed_attempts = 0
        self.certaindex: dict[str, float] = {}
        self.status = "running"
        self.is_running = True
        self.reason = ""
        self.error: DynasorError | None = None
        self.answer: Answer | None = None
        self.seen_knob = 0
        self.seen_tokens = 0
        self.trail: list[tuple[int, float]] = []
        self.deadline = inf
        self._is_consulted = False
        self._onlooker: Onlooker | None = None
        if isinstance(policy, Shadowing):
            self._onlooker = Onlooker(policy.inner, program.cap)
        self.shadowed: Shadowed | None = None
        self.operations = Operations(demand, self.units, self.grouping, self)
        self._strands = Strands(Operations.handlers, self.operations)
        self.operations.attach(self._strands)
        self._desk: Desk

    def __repr__(self) -> str:
        return (
            f"<ProgramRun {self.demand.program} {self.status}: {self.program.knob} of "
            f"{self.units.granted} granted settled, cap {self.units.cap}, {len(self.live)} calls>"
        )

    @property
    def is_closed(self) -> bool:
        """Whether the end is decided and no call is left."""
        return not self.is_running and not self.aborting

    @property
    def certainty(self) -> float:
        """The least of its certaindices, in [0, 1]; 0 before the first."""
        return min(self.certaindex.values(), default=0.0)

    def random(self, strand: str) -> Random:
        """Return the generator of a strand (part of the program's `Context`)."""
        return generator(self._desk.seed, self.demand.program, strand)

    def votes(self) -> dict[str, float]:
        """Return each class's first answer with its votes, in order of appearance."""
        votes = self.program.votes
        if votes is None:
            return {}
        weights, names = votes.finished.weights, self.grouping.representatives
        try:
            return {names[group]: weight for group, weight in weights.items()}
        except IndexError:  # classes that the program made without `Group`
            return {str(group): weight for group, weight in weights.items()}

    def submit(self, call: CallState) -> None:
        """Let a new call wait for a slot."""
        self._desk.enqueue(self, call)  # may refuse it
        self.live[call.call.id] = call

    def drop(self, call: CallState) -> None:
        """End a call that no longer matters; no harm if it has ended."""
        if self.live.pop(call.call.id, None) is not None:
            self._desk.drop(self, call)

    def drop_calls(self, strand: StrandState) -> None:
        """End all calls that a strand has left."""
        for call in list(self.live.values()):
            if call.strand == strand.number:
                self.drop(call)

    def close(self) -> None:
        """Let go of everything that refers back to the program; nothing can happen to it now."""
        self.operations.detach()

    def begin(self, desk: Desk) -> None:
        """Start the first strand and go as far as possible without an event."""
        self._desk = desk
        self.operations.seed = program_seed(desk.seed, self.demand.program)
        try:
            self._strands.start(self.program.execute(self))
        except Exception as exc:  # noqa: BLE001 - a program's own code raised it
            self.end("failed", "failed", _story(exc, self))
            return
        self._advance()

    def finished(self, call: CallState, output: Output) -> None:
        """Go on with a call's output."""
        self._end_call(call)
        self.operations.finished(call, output)
        self._advance()

    def failed(self, call: CallState, error: CallFailed) -> None:
        """Go on with a call's final failure."""
        self._end_call(call)
        self.operations.failed(call, error)
        self._advance()

    def progressed(self, call: CallState, report: Report) -> None:
        """Go on with an open call's report."""
        call.told += report.tokens
        self.bill.worked += report.tokens
        self.operations.progressed(call, report)
        self._advance()

    def grouped(self, classes: tuple[int, ...], failures: int) -> None:
        """Go on with the workers' verdict on the outstanding comparison."""
        self.grouping.failures += failures
        try:
            for strand, group in self.grouping.resolve(classes):
                self._strands.resume(self._strands.all[strand], group)
        except Exception as exc:  # noqa: BLE001 - a program's own code raised it
            self.end("failed", "failed", _story(exc, self))
            return
        self._advance()

    def end(self, status: str, reason: str, error: DynasorError | None = None) -> None:
        """Decide the end: close the strands, take the answer, drop the calls."""
        if not self.is_running:
            return
        self.is_running = False
        self.status, self.reason, self.error = status, reason, error
        troubles = self._strands.close_all()
        if error is None:
            try:
                self.answer = self.program.answer()
                self.certaindex = self.program.update_certaindex()
            except Exception as exc:  # noqa: BLE001 - a program's own code raised it
                troubles.append(exc)
        if self.error is None:
            self._reconsider(troubles)
        for call in list(self.live.values()):
            self.drop(call)
        if self._onlooker is not None:
            self.shadowed = self._compare_with(self._onlooker)
        self._desk.ended(self)

    def _reconsider(self, troubles: list[Exception]) -> None:
        """Turn an ending that cannot stand into a failure."""
        if troubles:
            self.error = _story(troubles[0], self)
        elif self.status == "deadline" and self.answer is None:
            self.error = DeadlineExceeded(
                f"program {self.demand.program}: the deadline passed before its first answer"
            )
        if self.error is not None:
            self.status, self.answer = "failed", None

    def _advance(self) -> None:
        """Run strands and ask the policy until both have nothing left to do."""
        self._strands.steps = 0
        try:
            self._strands.run()
            while self._settle_and_consult():
                self._strands.run()
            if self.is_running and not self.live:
                self._check_end()
        except Exception as exc:  # noqa: BLE001 - a program's own code raised it
            self.end("failed", "failed", _story(exc, self))

    def _settle_and_consult(self) -> bool:
        """Note what was settled, ask the policy; return whether a strand can go on."""
        if self.grouping.has_waiting:
            batch = self.grouping.next_batch()
            if batch:
                self._desk.compare(self, batch)
        if self.program.knob != self.seen_knob:
            self._settle()
            return self._consult()
        if not self.units.has_askers:
            return False
        return self._hand_out() if self._is_consulted else self._consult()

    def _settle(self) -> None:
        knob = self.program.knob
        units = self.units
        if knob > units.granted and knob > units.granted + units.speculative:
            raise ProgramFailed(
                f"the program settled {knob} units and was granted {self.units.granted}"
            )
        self.certaindex = self.program.update_certaindex()
        self._desk.moved(self)
        self.seen_knob = knob
        self.seen_tokens = self.bill.worked

    def _consult(self) -> bool:
        """Ask the policy: once when units are first wanted, then once after every vote."""
        units, deadline = self.units, self.deadline
        busy, slots = self._desk.crowd(self.demand)
        view = View(
            units.cap,
            units.granted,
            units.speculative,
            self.program.knob,
            self.certaindex,
            self.program.votes,
            self.bill.worked,
            busy,
            slots,
            inf if deadline == inf else self._desk.rounds(self.demand, deadline),
        )
        if self._onlooker is not None:
            self._onlooker.look(view, self.program.answer)
        decision = self.policy.decide(view)
        if isinstance(decision, Stop):
            if self.program.votes is not None:
                self.program.votes.choice = decision.winner
            self.end("answered", decision.reason)
            return False
        self._is_consulted = True
        for strand in units.grant(decision):
            self._promote(strand)
        return self._hand_out()

    def _compare_with(self, onlooker: Onlooker) -> Shadowed:
        """Say what the policy that was only asked would have done."""
        knob, own = self.program.knob, None if self.answer is None else self.answer.value
        if onlooker.stop is None or onlooker.error:
            return Shadowed(knob, "", 0, own, is_same=True, error=onlooker.error)
        ahead = max(0, knob - onlooker.knob)
        tokens = round(self.bill.finished_tokens * ahead / knob) if knob else 0
        votes = self.program.votes
        if votes is None:
            early = None if onlooker.early is None else onlooker.early.value
            is_same = early == own
            if early is not None and own is not None and not is_same:
                is_same = bool(self.task.same(early, own))
            return Shadowed(onlooker.knob, onlooker.stop.reason, tokens, early, is_same)
        leader = onlooker.leader
        return Shadowed(
            onlooker.knob,
            onlooker.stop.reason,
            tokens,
            None if leader is None else self._name(leader),
            leader == votes.leader(),
        )

    def _name(self, group: int) -> str:
        """Return a class's first answer; its number where the program made it without `Group`."""
        names = self.grouping.representatives
        return names[group] if group < len(names) else str(group)

    def _hand_out(self) -> bool:
        served = self.units.hand_out()
        for strand, handed in served:
            self._strands.resume(strand, handed)
        return bool(served)

    def _check_end(self) -> None:
        """End a program without calls if its strands have ended, or wait for what never comes."""
        if self._strands.live == 0:
            self.end("answered", "done")
        elif not self.grouping.is_outstanding:
            if not self.units.has_askers:
                raise ProgramFailed("every strand waits for another and no call runs")
            self.end("answered", "nothing granted")

    def _promote(self, strand: StrandState) -> None:
        strand.is_speculative = False
        for call in list(self.live.values()):
            if call.strand == strand.number and call.is_speculative:
                self._desk.promote(call)
        for child in strand.children or ():
            if child.number not in self.units.runners:  # a unit of its own
                self._promote(child)

    def _end_call(self, call: CallState) -> None:
        call.phase = ENDED
        del self.live[call.call.id]


def _story(error: Exception, run: ProgramRun) -> DynasorError:
    """Say what happened to the program, where, and how far it had come."""
    if isinstance(error, DynasorError):
        return error
    frames = extract_tb(error.__traceback__)
    where = ""
    if frames:
        name = frames[-1].filename.replace("\\", "/").rsplit("/", 1)[-1]
        where = f" in {frames[-1].name} ({name}:{frames[-1].lineno})"
    story = ProgramFailed(
        f"program {run.demand.program} ({type(run.program).__name__}): "
        f"{type(error).__name__}: {error}{where}, after {run.operations.count} calls "
        f"and {run.program.knob} settled units"
    )
    story.__cause__ = error
    return story
