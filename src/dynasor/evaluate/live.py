"""Live trials: one policy, many questions with reference answers, a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dynasor.api import Dynasor, Result
from dynasor.core.types import PolicySpec
from dynasor.programs import SelfConsistency

__all__ = ["Judged", "Question", "Trial", "run_trial"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its reference answer; `id` is unique in its trial."""

    id: str
    question: str
    gold: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A question's result, and whether its answer is right.

    `right_votes` of `counted_votes` finished branches gave the reference answer.
    """

    id: str
    result: Result
    is_right: bool
    right_votes: float
    counted_votes: float


@dataclass(frozen=True, slots=True)
class Trial:
    """All questions under one policy, in the questions' order; `seconds` of wall time."""

    judged: tuple[Judged, ...]
    seconds: float

    @property
    def accuracy(self) -> float:
        """Share of questions answered right."""
        return sum(one.is_right for one in self.judged) / len(self.judged)

    @property
    def tokens(self) -> int:
        """Completion tokens of all calls, aborted and failed ones too."""
        return sum(one.result.spending.completion_tokens for one in self.judged)

    @property
    def aborted_calls(self) -> int:
        """Calls that were aborted because they no longer mattered."""
        return sum(one.result.aborted_calls for one in self.judged)

    @property
    def branches(self) -> int:
        """Branches that were settled."""
        return sum(one.result.knob for one in self.judged)


async def run_trial(
    dynasor: Dynasor,
    questions: Sequence[Question],
    policy: PolicySpec,
    on_result: Callable[[Judged], None] | None = None,
) -> Trial:
    """Run self-consistency on every question under one policy and judge the answers.

    A question's program is named by its id, so that two trials of one seed draw the same
    branches and differ by their policies alone. Raises the first error of a question that
    failed: a trial with holes would compare different questions.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    limit = asyncio.Semaphore(dynasor.settings.live)

    async def one(question: Question) -> Judged:
        async with limit:
            result = await _run(dynasor, question, policy)
        judged = await _judge(dynasor, question, result)
        if on_result is not None:
            on_result(judged)
        return judged

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in questions]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    judged = tuple(task.result() for task in tasks)
    return Trial(judged, loop.time() - began)


async def _run(dynasor: Dynasor, question: Question, policy: PolicySpec) -> Result:
    settings = dynasor.settings
    program = SelfConsistency(
        question.question,
        task=settings.task,
        cap=settings.cap,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
    )
    return await dynasor.run(program, policy=policy, program_id=question.id)


async def _judge(dynasor: Dynasor, question: Question, result: Result) -> Judged:
    workers, task = dynasor.machine.workers, dynasor.settings.task
    right = 0.0
    is_right = False
    for answer, votes in result.votes.items():
        if await workers.grade(task, question.question, answer, question.gold):
            right += votes
            is_right = is_right or answer == result.answer
    if result.answer is not None and result.answer not in result.votes:
        is_right = await workers.grade(task, question.question, result.answer, question.gold)
    return Judged(question.id, result, is_right, right, sum(result.votes.values()))
