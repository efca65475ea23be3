"""A toy chain of thought: one stream, a probe at every report, stop on agreement."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from dynasor.core.certaindex import entropy_certaindex
from dynasor.core.program import Ask, Cancel, Fork, Group, Join, Next, Open, Program, Sample
from dynasor.core.types import Answer, Generate, Sampling

__all__ = ["ToyChainOfThought"]

SUFFIX = " final answer:"


@dataclass
class ToyChainOfThought(Program):
    """Think in one stream; every `every` tokens probe for an answer; stop when `agree` agree.

    The knob is the number of probed rounds.
    """

    name = "toy-chain"

    question: str = "?"
    task: str = "words"
    every: int = 4
    agree: int = 3

    def __post_init__(self):
        self.text = ""
        self.probes = {}
        self.texts = {}
        self.result = None
        self.has_agreed = False

    def execute(self, context):
        prompt = context.task.prompt(self.question)
        stream = yield Open(Generate(prompt, report_every=self.every))
        probes = []
        while True:
            report = yield Next(stream)
            if report.result is not None:
                self.result = report.result
                break
            self.text += report.delta
            if not (yield Ask()).knob:
                break
            number = len(probes)
            probes.append((yield Fork(self._probe(context, prompt, number, self.text, stream))))
            if self.has_agreed:
                break
        yield Cancel(stream)
        yield Join(tuple(probes))

    def _probe(self, context, prompt, number, text, stream):
        work = Generate(replace(prompt, prefix=text + SUFFIX), Sampling(max_tokens=4))
        sample = yield Sample(work)
        answer = context.task.extract(sample.text)
        group = yield Group(answer)
        self.probes[number] = group
        self.texts.setdefault(group, Answer(answer or "", text + SUFFIX + sample.text))
        self.knob += 1
        latest = self._latest()
        if len(latest) == self.agree and len(set(latest)) == 1 and latest[0] is not None:
            self.has_agreed = True

    def _latest(self):
        """The classes of the latest probes, in the order of their launches."""
        return [group for _, group in sorted(self.probes.items())][-self.agree :]

    def update_certaindex(self):
        latest = self._latest()
        enough = len(latest) == self.agree
        return {
            "entropy": entropy_certaindex(map(latest.count, dict.fromkeys(latest)))
            if enough
            else 0.0
        }

    def answer(self):
        for group in reversed(self._latest()):
            if group is not None:
                return self.texts[group]
        return None
