"""Self-consistency (arXiv 2203.11171): sample many paths, let their answers vote."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from dynasor.core.certaindex import Votes
from dynasor.core.errors import CallFailed
from dynasor.core.program import Ask, Context, Fork, Group, Operation, Program, Sample, Strand
from dynasor.core.task import Task
from dynasor.core.types import Answer, Generate, Generated, Sampling, Temperature, Tokens, TopP

__all__ = ["SelfConsistency"]

HOPELESS_LOSSES = 3
"""So many branches lost in a row: the engine is at fault, not the question."""


@dataclass
class SelfConsistency(Program):
    """Sample up to `cap` branches and answer with the majority.

    The knob is the number of branches; its certaindex is `entropy`, over the answers so far.
    `max_tokens`, `temperature` and `top_p` are the branches' sampling; `has_logprobs` asks the
    engine for log-probabilities.
    """

    name = "self-consistency"
    unit = "branch"

    max_tokens: Tokens = 1024
    temperature: Temperature = 0.7
    top_p: TopP = 1.0
    has_logprobs: bool = False
    _texts: dict[int, Answer] = field(default_factory=dict, init=False, repr=False, compare=False)
    _losses_in_a_row: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._votes = Votes()
        self.votes = self._votes

    def execute(self, context: Context) -> Strand:
        """Run branches in as many strands as the policy lets run side by side."""
        sampling = Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            has_logprobs=self.has_logprobs,
        )
        work = Generate(self.prompt(context.task), sampling)
        task = context.task
        while (units := (yield Ask(self.cap))).knob:
            branches = self._branch if units.is_speculative else self._branches
            for _ in range(units.knob):
                yield Fork(branches(task, work), units.is_speculative)

    def _branches(self, task: Task, work: Generate) -> Strand:
        """Run one branch after another, for as long as units are granted."""
        yield from self._branch(task, work)
        while (units := (yield Ask())).knob:
            if units.is_speculative:
                yield Fork(self._branch(task, work), is_speculative=True)
            else:
                yield from self._branch(task, work)

    def _branch(self, task: Task, work: Generate) -> Strand:
        ticket = self._votes.launch()
        try:
            sample = yield Sample(work)
            weight = yield from self._weigh(work, sample)
        except CallFailed:
            self.note("branches lost")
            if self._lose(ticket):
                raise
            return
        yield from self._vote(ticket, task.extract(sample.text), sample.text, weight)

    def _vote(self, ticket: int, value: str | None, text: str, weight: float) -> Strand:
        """Settle a unit with the answer that a finished text gives, None without one."""
        self._losses_in_a_row = 0
        group = yield Group(value)
        if value is not None and group is not None:
            self._keep(group, Answer(value, text), weight)
        self._votes.record(ticket, group, weight)
        self.knob += 1

    def _lose(self, ticket: int) -> bool:
        """Settle a unit that brought no text; return whether there is no hope of any."""
        self._votes.lose(ticket)
        self.knob += 1
        self._losses_in_a_row += 1
        return self._losses_in_a_row >= min(self.cap, HOPELESS_LOSSES)

    def _weigh(self, work: Generate, sample: Generated) -> Generator[Operation, Any, float]:
        """Return the weight of a branch's vote, in [0, 1]."""
        yield from ()
        return 1.0

    def _keep(self, group: int, answer: Answer, weight: float) -> None:
        """Remember the text that answers for its class."""
        self._texts.setdefault(group, answer)

    def update_certaindex(self) -> dict[str, float]:
        """Return the entropy form over all votes so far."""
        return {"entropy": self._votes.finished.certaindex()}

    def answer(self) -> Answer | None:
        """Return the first finished member of the winning class."""
        winner = self._votes.leader()
        return None if winner is None else self._texts[winner]
