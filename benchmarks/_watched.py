"""Programs whose answer is all that they found, and what each of their calls cost.

What runs is the program itself, under watch. Where its units do not depend on each other
(self-consistency, best-of-n), or each on those before it alone (MCTS, one iteration after the
other), the first units of a run are the whole run at a smaller knob: the calls' seeds are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec
from msgspec import Struct

from dynasor import Dynasor, Result
from dynasor.core.certaindex import Tally
from dynasor.core.errors import CallFailed
from dynasor.core.program import Context, Fork, Strand
from dynasor.core.types import Answer, Generated, Scored
from dynasor.datasets import Problem
from dynasor.programs import Beam, BestOfN, Mcts, Rebase, SelfConsistency

__all__ = [
    "WATCHED",
    "Bill",
    "Found",
    "Path",
    "answer_of",
    "as_found",
    "spent",
]


class Bill(Struct):
    """What calls cost: tokens sampled, tokens of their prompts, and the judge's both together."""

    tokens: int = 0
    prompt_tokens: int = 0
    judge_tokens: int = 0
    calls: int = 0
    judge_calls: int = 0

    def count(self, value: object) -> None:
        """Add a call's result; anything else costs nothing."""
        if isinstance(value, Generated):
            self.calls += 1
            self.tokens += value.usage.completion_tokens
            self.prompt_tokens += value.usage.prompt_tokens
        elif isinstance(value, Scored):
            self.judge_calls += 1
            self.judge_tokens += value.usage.prompt_tokens + value.usage.completion_tokens

    def __add__(self, other: Bill) -> Bill:
        return Bill(*(getattr(self, name) + getattr(other, name) for name in _BILLED))


_BILLED = Bill.__struct_fields__


class Path(Struct, frozen=True):
    """A finished path: its unit from 1, its answer (None without one), the weight of its vote."""

    unit: int
    answer: str | None
    weight: float


class _Kept(Struct, frozen=True):
    """What travels in the answer's text."""

    paths: list[Path]
    bills: list[Bill]
    rest: Bill
    own: str | None


class Found(Struct, frozen=True):
    """What one run found.

    `paths` stand by their units, with the answers' `classes`, of which `right` are right. `bills`
    has each unit's where the first units are a run, else nothing; `total` is all that was spent.
    `own` is the class that the program itself answered with. `seconds` are the block's, a problem.
    """

    paths: list[Path]
    classes: dict[str, int]
    right: list[int]
    bills: list[Bill]
    total: Bill
    own: int | None
    knob: int
    seconds: float
    notes: dict[str, int]


@dataclass
class _Watched(SelfConsistency):
    """Mixed into a program: its answer's text is JSON of `_Kept`.

    `is_prefixed`: the first units of its run are a run.
    """

    is_prefixed: ClassVar[bool] = True

    _paths: list[Path] = field(default_factory=list, init=False, repr=False, compare=False)
    _bills: list[Bill] = field(default_factory=list, init=False, repr=False, compare=False)
    _rest: Bill = field(default_factory=Bill, init=False, repr=False, compare=False)

    def execute(self, context: Context) -> Strand:
        """Run the program under watch."""
        return self._watch(super().execute(context), None)

    def _watch(self, strand: Strand, bill: Bill | None) -> Strand:
        """Run a strand and bill its calls; a strand forked by the first one is a unit."""
        resume, value = strand.send, None
        try:
            while True:
                try:
                    operation = resume(value)
                except StopIteration as end:
                    return end.value
                if isinstance(operation, Fork):
                    watched = self._watch(operation.strand, bill or self._next_bill())
                    operation = Fork(watched, operation.is_speculative)
                try:
                    value, resume = (yield operation), strand.send
                except CallFailed as error:
                    value, resume = error, strand.throw
                (self._rest if bill is None else bill).count(value)
        finally:
            strand.close()

    def _next_bill(self) -> Bill:
        self._bills.append(Bill())
        return self._bills[-1]

    def _vote(self, ticket: int, value: str | None, text: str, weight: float) -> Strand:
        self._paths.append(Path(ticket + 1, value, weight))
        return super()._vote(ticket, value, text, weight)

    def answer(self) -> Answer | None:
        """Return everything."""
        own = super().answer()
        paths = sorted(self._paths, key=lambda path: path.unit)
        bills, rest = self._bills, self._rest
        if not self.is_prefixed:
            bills, rest = [], sum(bills, rest)
        kept = _Kept(paths, bills, rest, None if own is None else own.value)
        return Answer(str(len(paths)), msgspec.json.encode(kept).decode())


@dataclass
class _SelfConsistency(_Watched):
    name = "self-consistency-watched"


@dataclass
class _BestOfN(_Watched, BestOfN):
    name = "best-of-n-watched"


@dataclass
class _Rebase(_Watched, Rebase):
    name = "rebase-watched"
    is_prefixed = False


@dataclass
class _Beam(_Watched, Beam):
    name = "beam-watched"
    is_prefixed = False


@dataclass
class _Mcts(_Watched, Mcts):
    name = "mcts-watched"


WATCHED: dict[str, type[_Watched]] = {
    SelfConsistency.name: _SelfConsistency,
    BestOfN.name: _BestOfN,
    Rebase.name: _Rebase,
    Beam.name: _Beam,
    Mcts.name: _Mcts,
}
"""What runs in a program's place, by its name."""


async def as_found(dynasor: Dynasor, problem: Problem, result: Result, seconds: float) -> Found:
    """Sort and grade what a run found.

    Tokens that the scheduler billed beyond those of the calls that came to something (they were
    tried again) are noted as `tokens of no call`.
    """
    kept = msgspec.json.decode(result.text or "", type=_Kept)
    total = sum(kept.bills, kept.rest)
    billed = result.spending.prompt_tokens + result.spending.completion_tokens
    beyond = billed - total.tokens - total.prompt_tokens - total.judge_tokens
    classes, right = await _graded(dynasor, problem, kept.paths)
    return Found(
        paths=kept.paths,
        classes=classes,
        right=right,
        bills=kept.bills,
        total=total,
        own=None if kept.own is None else classes[kept.own],
        knob=result.knob,
        seconds=seconds,
        notes=result.notes | ({"tokens of no call": beyond} if beyond else {}),
    )


async def _graded(
    dynasor: Dynasor, problem: Problem, paths: Sequence[Path]
) -> tuple[dict[str, int], list[int]]:
    """Return every answer's class, and the classes that are right."""
    workers, task = dynasor.machine.workers, dynasor.settings.task
    answers = tuple(dict.fromkeys(path.answer for path in paths if path.answer is not None))
    homes, _ = await workers.compare(task, (), answers)
    right = [
        home
        for home in sorted(set(homes))
        if await workers.grade(task, problem.question, answers[home], problem.answer)
    ]
    return dict(zip(answers, homes, strict=True)), right


def answer_of(found: Found, choose: str, knob: int | None = None) -> int | None:
    """Return the class that a run answers with at a knob, None for its own; None without one.

    `choose` is `best` (the path of the greatest weight) or `vote`; ties go to the earlier unit,
    where a live run gives them to the path that ended first.
    """
    paths = [
        (found.classes[path.answer], path.weight)
        for path in found.paths
        if path.answer is not None and (knob is None or path.unit <= knob)
    ]
    if choose == "best":
        best = max(paths, key=lambda path: path[1], default=None)
        return None if best is None else best[0]
    tally = Tally()
    for group, weight in paths:
        tally.add(group, weight)
    return tally.leader()


def spent(found: Found, knob: int | None = None) -> Bill:
    """Return what a run spends up to a knob, None for all of it.

    Raises `ValueError` for a knob in the middle of a run that has no such.
    """
    if knob is None or knob >= found.knob:
        return found.total
    if len(found.bills) < knob:
        raise ValueError(f"a run of {found.knob} units says nothing of {knob}")
    return sum(found.bills[1:knob], found.bills[0])
