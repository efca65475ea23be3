"""Programs and engines to run through the front door."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dynasor import Dynasor, Program, SelfConsistency
from dynasor.core.program import Ask, Sample
from dynasor.core.types import Answer, Generate
from dynasor.engines.scripted import ScriptedEngine

__all__ = ["Gate", "Raiser", "Single", "answers", "boxed", "even", "one", "sums"]


def boxed(value):
    """A completion of five words with that answer."""
    return f"so the answer is \\boxed{{{value}}}"


def sums(**options):
    """An engine that knows what N+1 is."""
    return ScriptedEngine(
        lambda work: boxed(int(work.prompt.messages[-1].content.removesuffix("+1")) + 1), **options
    )


def answers(*values, **options):
    """An engine that gives these answers to the question "q", by the call's seed."""
    return ScriptedEngine({"q": [boxed(value) for value in values]}, **options)


def even(engine, **settings):
    """A Dynasor that spends every program's whole cap of 3."""
    return Dynasor(engine, **{"policy": "even", "lock": False, "cap": 3, **settings})


class Gate(ScriptedEngine):
    """An engine whose calls wait until their question is let through."""

    def __init__(self, **options):
        super().__init__(lambda work: boxed(1), **options)
        self.doors = {}
        self.arrived = []
        self.aborted = []

    def door(self, question):
        return self.doors.setdefault(question, asyncio.Event())

    def open(self, question):
        self.door(question).set()

    async def generate(self, work, meter, on_report=None):
        question = work.prompt.messages[-1].content
        self.arrived.append(question)
        try:
            await self.door(question).wait()
        except asyncio.CancelledError:
            meter.completion_tokens = 2
            meter.is_counted = True
            self.aborted.append(question)
            raise
        return await super().generate(work, meter, on_report)


@dataclass
class Single(Program):
    """Asks once and takes what comes."""

    name = "single"

    def execute(self, context):
        if not (yield Ask()).knob:
            return
        sample = yield Sample(Generate(self.prompt(context.task)))
        self.knob += 1
        self.found = Answer(context.task.extract(sample.text) or "", sample.text)

    def update_certaindex(self):
        return {"done": float(self.knob)}

    def answer(self):
        return getattr(self, "found", None)


@dataclass
class Raiser(Single):
    """Raises once it has its sample."""

    name = "raiser"

    def execute(self, context):
        yield Sample(Generate(self.prompt(context.task)))
        raise ZeroDivisionError("my own fault")


def one(question, cap=3, **options):
    """Self-consistency on a question."""
    return SelfConsistency(question, cap=cap, **options)
