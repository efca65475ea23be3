"""Recordings in an engine's place: what the calls of a virtual run come to.

What a program is given depends on what was recorded of its question: independent samples, a search
(`dynasor.evaluate.search_tape`) or thoughts (`dynasor.evaluate.thought_tape`). Of samples a
program's k-th call gets the k-th of a seeded shuffle, in the order in which calls are sent. Texts
are codes with class numbers in them: all comparisons were made beforehand.
"""

from __future__ import annotations

import re
from typing import Protocol

from dynasor.core.errors import UserError
from dynasor.core.types import Call, Generate, Generated, Message, Prompt, Score, Scored, Usage
from dynasor.evaluate.recorded import Recorded
from dynasor.evaluate.search_tape import CLASS, STEP_END, SearchTape
from dynasor.evaluate.thought_tape import ThoughtTape
from dynasor.sim.engine import Outcome, Segment

__all__ = ["RecordedTask", "Recording"]

SAMPLE = "@"
"""What stands before the number of a sample, where its score must be found again."""
_STATED = re.compile(rf"(?:^|{CLASS})(\d+)(?:{SAMPLE}\d+)?$")


class RecordedTask:
    """The task of a virtual run: a text is its answer's class."""

    name = "recorded"

    def prompt(self, question: str) -> Prompt:
        """Ask the question as it is."""
        return Prompt((Message("user", question),))

    def extract(self, text: str) -> str | None:
        """Return the class that a text ends in, of a path that of its last step; None without."""
        found = _STATED.search(text.rstrip(STEP_END).rpartition(STEP_END)[2])
        return None if found is None else found[1]

    def same(self, left: str, right: str) -> bool:
        """Two classes are the same or not."""
        return left == right


class _Tape(Protocol):
    """One program's recording: `drawn` pieces of it were handed out, `missing` were not there."""

    drawn: int
    missing: int

    def __call__(self, work: Generate | Score) -> Outcome:
        """Return what a call comes to."""


class _SampleTape:
    """One program's samples in the order in which it gets them."""

    missing = 0

    def __init__(self, question: Recorded, seed: int, path: tuple[Segment, ...]) -> None:
        self.drawn = 0
        self._question = question
        self._order = question.order(seed)
        self._path = path
        self._prompt_tokens = sum(segment.tokens for segment in path)

    def __call__(self, work: Generate | Score) -> Outcome:
        question = self._question
        if isinstance(work, Score):
            return _scored(question, work)
        index = self._order[self.drawn]
        self.drawn += 1
        group, tokens = question.classes[index], question.tokens[index]
        text = "" if group is None else f"{group}"
        if question.rewards:  # the score call names the sample that it is about
            text = f"{text}{SAMPLE}{index}"
        logprob = question.logprobs[index] if question.logprobs else None
        output = Generated(text, Usage(self._prompt_tokens, tokens), mean_logprob=logprob)
        return Outcome(output, tokens, path=self._path)


class Recording:
    """The outcomes of recorded programs: the model of a `VirtualHost`.

    Programs are added before their first call and forgotten after their last one, so that the
    memory is that of the programs that live.
    """

    def __init__(self) -> None:
        self._tapes: dict[str, _Tape] = {}
        self._given: dict[str, dict[str, Outcome]] = {}

    def add(
        self, program: str, question: Recorded, seed: int, path: tuple[Segment, ...] = ()
    ) -> None:
        """Let a program draw its question's samples, or one of its searches or thoughts, by seed.

        `path` is the prompt of its generations; without one they have no prompt tokens.
        """
        self._given[program] = {}
        if question.searches:
            self._tapes[program] = SearchTape(program, question, seed, path)
        elif question.thoughts:
            self._tapes[program] = ThoughtTape(program, question, seed, path)
        else:
            self._tapes[program] = _SampleTape(question, seed, path)

    def forget(self, program: str) -> None:
        """Drop a program that makes no more calls; one that is not there is no error."""
        self._tapes.pop(program, None)
        self._given.pop(program, None)

    def drawn(self, program: str) -> int:
        """Return how many generations a program has had; it must not be forgotten yet."""
        return self._tapes[program].drawn

    def missing(self, program: str) -> int:
        """Return how often a program asked for more than was recorded of its search."""
        return self._tapes[program].missing

    def __call__(self, call: Call, attempt: int) -> Outcome:
        """Return what a call comes to: its program's next sample or step, or rewards.

        Another attempt of a call gets the same again. Raises `UserError` where a program asks
        for what was not recorded.
        """
        assert isinstance(call.work, Generate | Score)  # no program that is replayed embeds
        given = self._given[call.program]
        if attempt > 1 and call.id in given:
            return given[call.id]
        outcome = given[call.id] = self._tapes[call.program](call.work)
        return outcome


def _scored(question: Recorded, work: Score) -> Outcome:
    """Return the recorded rewards; scoring takes no tokens."""
    if not question.rewards:
        raise UserError(
            f"question {question.id!r} has no reward for every sample, and its program "
            "asks for them; record rewards, or replay 'self-consistency'"
        )
    rewards = tuple(question.rewards[int(item.prefix.rpartition(SAMPLE)[2])] for item in work.items)
    return Outcome(Scored(rewards), 0)
