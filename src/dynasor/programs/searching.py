"""Searches to keep: every step that a search made, with everything that is known of it.

What searches is the program itself, watched from outside: which call brought which steps, and
with which seed. Nothing that it finds stops it, so that the policy says only in which grants the
whole cap is spent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from dynasor.core.chance import call_seed
from dynasor.core.errors import CallFailed
from dynasor.core.program import Context, Fork, Open, Operation, Sample, Strand
from dynasor.core.types import Answer, Embed, Generated, Score
from dynasor.programs.beam import Beam
from dynasor.programs.mcts import Mcts
from dynasor.programs.rebase import Rebase
from dynasor.programs.tree import Node, TreeSearch

__all__ = ["SEARCHES", "BeamSearches", "MctsSearches", "RebaseSearches", "Searches", "Step"]


class Step(Struct, frozen=True):
    """One step of a search.

    `text` is this step alone, `parent` the place of the one before it in the list, None for a
    first step. `unit` is that of the program's node, and so are `reward`, `is_finished` and
    `answer`. `seed` is that of its call, `is_cut` says that the call ran into its limit of tokens
    here.
    """

    text: str
    tokens: int
    unit: int
    parent: int | None
    reward: float | None
    is_finished: bool
    answer: str | None
    seed: int
    is_cut: bool


class _Made(Struct, frozen=True):
    """A step with its call: the how manieth of the program's, what it gave, is it its last step."""

    number: int
    node: Node
    sample: Generated
    is_last: bool


@dataclass
class Searches(TreeSearch):
    """A search whose answer is all of its steps; mixed into one that searches.

    The answer's value is how many steps there are, its text a JSON array of `Step`, in the order
    in which they were asked for: in that order a replay hands them out. `seed` is what the live
    program of the same id has its calls' seeds from, `program_seed(seed, id)`.
    """

    seed: int = 0
    _calls: int = field(default=0, init=False, repr=False, compare=False)
    _made: list[_Made] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.votes = None  # or they could stop it

    def execute(self, context: Context) -> Strand:
        """Run the search under watch."""
        return self._watched(super().execute(context))

    def _watched(self, strand: Strand) -> Strand:
        """Run a strand; number its calls, and note the steps that come of each."""
        resume, value, number = strand.send, None, 0
        try:
            while True:
                before = len(self.nodes)
                try:
                    operation = resume(value)
                except StopIteration as end:
                    return end.value
                finally:
                    self._note_steps(number, value, before)
                if isinstance(operation, Fork):
                    operation = Fork(self._watched(operation.strand), operation.is_speculative)
                number = self._numbered(operation)
                try:
                    value, resume = (yield operation), strand.send
                except CallFailed as error:
                    value, resume = error, strand.throw
        finally:
            strand.close()

    def _numbered(self, operation: Operation) -> int:
        """Return the number of the call that an operation makes, from which it gets its seed."""
        self._calls += isinstance(operation, Sample | Score | Embed | Open)
        return self._calls

    def _note_steps(self, number: int, value: object, before: int) -> None:
        """Note the steps made since there were so many, if a sample was what they were made of."""
        made = self.nodes[before:] if isinstance(value, Generated) else []
        for node in made:
            assert isinstance(value, Generated)
            self._made.append(_Made(number, node, value, node is made[-1]))

    def update_certaindex(self) -> dict[str, float]:
        """Return 0 for every signal: no threshold is to stop a recording."""
        return dict.fromkeys(super().update_certaindex(), 0.0)

    def answer(self) -> Answer | None:
        """Return the steps so far; None before the first one."""
        if not self._made:
            return None
        made = sorted(self._made, key=lambda one: one.number)
        places = {id(one.node): place for place, one in enumerate(made)}
        steps = [self._step_of(one, places) for one in made]
        return Answer(str(len(steps)), msgspec.json.encode(steps).decode())

    def _step_of(self, made: _Made, places: dict[int, int]) -> Step:
        node, parent = made.node, made.node.parent
        return Step(
            text=node.text.removeprefix("" if parent is None else parent.text),
            tokens=node.tokens,
            unit=node.unit,
            parent=places.get(id(parent)),  # the root is no step
            reward=node.reward,
            is_finished=node.is_finished,
            answer=node.answer,
            seed=call_seed(self.seed, made.number),
            is_cut=made.is_last and made.sample.finish_reason == "length",
        )


@dataclass
class RebaseSearches(Searches, Rebase):
    """Rebase, all of whose steps are kept."""

    name = "rebase-recording"


@dataclass
class BeamSearches(Searches, Beam):
    """Beam search, all of whose steps are kept."""

    name = "beam-recording"


@dataclass
class MctsSearches(Searches, Mcts):
    """MCTS, all of whose steps are kept."""

    name = "mcts-recording"


SEARCHES: dict[str, type[Searches]] = {
    Rebase.name: RebaseSearches,
    Beam.name: BeamSearches,
    Mcts.name: MctsSearches,
}
"""What records a program's searches, by the program's name."""
