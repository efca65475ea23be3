"""Recorded samples in an engine's place: what the calls of a virtual run come to.

A program's k-th call gets the k-th sample of a seeded shuffle of its question, in the order in
which calls are sent. The texts are class numbers: all comparisons were made beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dynasor.core.errors import UserError
from dynasor.core.types import Call, Generate, Generated, Message, Prompt, Score, Scored, Usage
from dynasor.evaluate.recorded import Recorded
from dynasor.sim.engine import Outcome, Segment

__all__ = ["RecordedTask", "Recording"]


class RecordedTask:
    """The task of a virtual run: a text is its answer's class."""

    name = "recorded"

    def prompt(self, question: str) -> Prompt:
        """Ask the question as it is."""
        return Prompt((Message("user", question),))

    def extract(self, text: str) -> str | None:
        """Return the class, without the sample's number; nothing stands for no answer."""
        return text.partition("@")[0] or None

    def same(self, left: str, right: str) -> bool:
        """Two classes are the same or not."""
        return left == right


@dataclass(slots=True, eq=False)
class _Tape:
    """One program's samples in the order in which it gets them; `given` by call."""

    question: Recorded
    order: list[int]
    path: tuple[Segment, ...]
    prompt_tokens: int
    given: dict[str, int] = field(default_factory=dict)


class Recording:
    """The outcomes of recorded programs: the model of a `VirtualHost`.

    Programs are added before their first call and forgotten after their last one, so that the
    memory is that of the programs that live.
    """

    def __init__(self) -> None:
        self._tapes: dict[str, _Tape] = {}

    def add(
        self, program: str, question: Recorded, seed: int, path: tuple[Segment, ...] = ()
    ) -> None:
        """Let a program draw its question's samples in the order of a seeded shuffle.

        `path` is the prompt of its generations; without one they have no prompt tokens.
        """
        tokens = sum(segment.tokens for segment in path)
        self._tapes[program] = _Tape(question, question.order(seed), path, tokens)

    def forget(self, program: str) -> None:
        """Drop a program that makes no more calls; one that is not there is no error."""
        self._tapes.pop(program, None)

    def drawn(self, program: str) -> int:
        """Return how many samples a program has had so far; it must not be forgotten yet."""
        return len(self._tapes[program].given)

    def __call__(self, call: Call, attempt: int) -> Outcome:
        """Return what a call comes to: its program's next sample, or samples' rewards.

        Another attempt of a call gets the same sample again. Raises `UserError` where a program
        asks for rewards that were not recorded.
        """
        tape = self._tapes[call.program]
        question = tape.question
        if not isinstance(call.work, Generate):
            assert isinstance(call.work, Score)  # no program that is replayed embeds
            return _scored(question, call.work)
        index = tape.given.get(call.id) if attempt > 1 else None
        if index is None:
            index = tape.given[call.id] = tape.order[len(tape.given)]
        group, tokens = question.classes[index], question.tokens[index]
        text = "" if group is None else f"{group}"
        if question.rewards:  # the score call names the sample that it is about
            text = f"{text}@{index}"
        return Outcome(Generated(text, Usage(tape.prompt_tokens, tokens)), tokens, path=tape.path)


def _scored(question: Recorded, work: Score) -> Outcome:
    """Return the recorded rewards; scoring takes no tokens."""
    if not question.rewards:
        raise UserError(
            f"question {question.id!r} has no reward for every sample, and its program "
            "asks for them; record rewards, or replay 'self-consistency'"
        )
    rewards = tuple(question.rewards[int(item.prefix.rpartition("@")[2])] for item in work.items)
    return Outcome(Scored(rewards), 0)
