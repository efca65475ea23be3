"""Lines of a batch, and an engine that answers them: it can add one to a number."""

from __future__ import annotations

from dynasor.core.errors import EngineRefused, EngineUnreachable
from dynasor.engines.scripted import ScriptedEngine

__all__ = ["line", "sums_engine"]


def line(custom_id, question="1+1?", **body):
    """One good line; `body` adds to its body."""
    asked = {"messages": [{"role": "user", "content": question}], **body}
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": asked,
    }


def sums_engine(before=lambda question: None, **options):
    """An engine that answers `N+1?`; `before` is called with each question and may raise.

    The question "never" is refused, "gone" finds no engine, anything else has the answer 0.
    """

    def answer(work):
        question = work.prompt.messages[-1].content
        before(question)
        if question == "never":
            raise EngineRefused("toy", "never")
        if question == "gone":
            raise EngineUnreachable("toy", "gone")
        number = question.removesuffix("+1?")
        value = int(number) + 1 if number.isdecimal() and len(number) < 9 else 0
        return f"so the answer is \\boxed{{{value}}}"

    return ScriptedEngine(answer, **options)
