"""Questions to record, and an engine whose samples depend on their seeds."""

from __future__ import annotations

from dynasor.core.errors import EngineGarbage, EngineRefused
from dynasor.datasets.questions import QuestionLine
from dynasor.engines.scripted import ScriptedEngine

__all__ = ["seeded_engine", "sums"]


def sums(count):
    """That many questions, q0 to qN, with references."""
    return [QuestionLine(f"q{n}", f"{n}+1?", str(n + 1), {"level": n % 3}) for n in range(count)]


def seeded_engine(before=lambda question: None, **options):
    """An engine that answers 0 to 4 by the seed; `before` hears each question and may raise.

    The question "never" is refused, "broken" never succeeds, "mute" has no answer.
    """

    def answer(work):
        question = work.prompt.messages[-1].content
        before(question)
        if question == "never":
            raise EngineRefused("toy", "never")
        if question == "broken":
            raise EngineGarbage("toy", "broken")
        seed = work.sampling.seed
        return f"hm {seed}" if question == "mute" else f"drawn with {seed}: \\boxed{{{seed % 5}}}"

    return ScriptedEngine(answer, **options)
