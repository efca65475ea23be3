"""Samples to keep: every completion of one question, with everything that is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from dynasor.core.chance import call_seed
from dynasor.core.program import Ask, Context, Fork, Program, Sample, Strand
from dynasor.core.task import Task
from dynasor.core.types import Answer, Generate, Generated, Prompt, Sampling, Score, Scored

__all__ = ["Drawn", "Recording"]


class Drawn(Struct, frozen=True):
    """One sample: `is_counted` False where its tokens are an estimate, `answer` None without one.

    `mean_logprob` is a natural logarithm, None where the engine gave none; `reward` in [0, 1] is
    None where nobody asked for one.
    """

    text: str
    tokens: int
    is_counted: bool
    answer: str | None
    mean_logprob: float | None
    seed: int
    finish_reason: str
    reward: float | None = None


@dataclass
class Recording(Program):
    """Draw `cap` samples, compare nothing, and give back all of them.

    Its answer's value is how many there are, its text a JSON array of `Drawn` in the order of
    their numbers. Sample n of a program with the seed `program_seed(seed, id)` is drawn with the
    seed that the n-th call of a live program with that id gets, so that what was recorded is what
    would have been drawn. `is_scored` has a reward model judge each of them. A sample or a score
    that cannot be had fails the program: a question with fewer samples than the others would end
    every replay at its own number.
    """

    name = "recording"

    seed: int = 0
    max_tokens: int = 1024
    temperature: float = 0.7
    top_p: float = 1.0
    has_logprobs: bool = False
    is_scored: bool = False
    _drawn: dict[int, Drawn] = field(default_factory=dict, init=False, repr=False, compare=False)

    def execute(self, context: Context) -> Strand:
        """Draw as many samples side by side as the policy grants."""
        prompt = self.prompt(context.task)
        number = 0
        while (units := (yield Ask(self.cap))).knob:
            for _ in range(units.knob):
                number += 1
                yield Fork(self._draw(context.task, prompt, call_seed(self.seed, number), number))

    def _draw(self, task: Task, prompt: Prompt, seed: int, number: int) -> Strand:
        sampling = Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=seed,
            has_logprobs=self.has_logprobs,
        )
        sample: Generated = yield Sample(Generate(prompt, sampling))
        reward: float | None = None
        if self.is_scored:
            scored: Scored = yield Score((Prompt(prompt.messages, sample.text),))
            (reward,) = scored.rewards
        self._drawn[number] = Drawn(
            sample.text,
            sample.usage.completion_tokens,
            sample.usage.is_counted,
            task.extract(sample.text),
            sample.mean_logprob,
            seed,
            sample.finish_reason,
            reward,
        )
        self.knob += 1

    def update_certaindex(self) -> dict[str, float]:
        """Return nothing: nothing is compared."""
        return {}

    def answer(self) -> Answer | None:
        """Return the samples so far; None before the first one."""
        if not self._drawn:
            return None
        drawn = [self._drawn[number] for number in sorted(self._drawn)]
        return Answer(str(len(drawn)), msgspec.json.encode(drawn).decode())
