"""A policy of one's own: stop after two equal answers in a row.

First on recorded samples, beside giving every question its whole cap; then live, on the embedded
engine. What is recorded here is made up; `dynasor record` records an engine.
"""

import asyncio
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from msgspec import Struct

from dynasor import Dynasor, SelfConsistency
from dynasor.api import Extensions
from dynasor.core.allocation import Grant, Stop, View
from dynasor.core.types import PolicySpec
from dynasor.evaluate.classes import Sorting, sort_trace
from dynasor.evaluate.offline import Plan, evaluate_plan
from dynasor.traces import Header, Sample, SamplingLine, read_trace, write_trace

QUESTIONS = (
    "A shop has 12 boxes. It gets 7 more. How many boxes are there now?",
    "Tom has 30 pens. He gives away 8. How many pens does Tom have now?",
    "Ann has 15 books. She buys 4 more. How many books does Ann have now?",
)
CAP = 10


class TwoInARow(Struct, frozen=True):
    """The fields are the parameters: `in_flight` branches run at once."""

    in_flight: int = 1

    def decide(self, view: View) -> Grant | Stop:
        """Look at the votes in the order in which their branches were started."""
        assert view.votes is not None, "this policy needs a program that votes"
        for left, right in pairwise(view.votes.sequence):
            if left is not None and left == right:
                return Stop("two in a row", left)
        if view.knob >= view.cap:
            return Stop("cap")
        return Grant(max(0, min(view.cap, view.knob + self.in_flight) - view.granted))


POLICIES = {"two-in-a-row": TwoInARow}


def line(number: int, chance: Random) -> SamplingLine:
    """Make up a question: right is 1, and some questions are harder than others."""
    ease = chance.uniform(0.2, 1.0)
    answers = ["1" if chance.random() < ease else str(chance.randint(2, 9)) for _ in range(CAP)]
    samples = tuple(Sample(f"I say {one}", chance.randint(50, 150), one) for one in answers)
    return SamplingLine(f"q{number}", "?", samples, reference="1")


def recorded() -> None:
    """Compare the policy with even allocation on a small trace."""
    with TemporaryDirectory() as folder:
        path, chance = Path(folder) / "trace.jsonl.gz", Random(0)
        header = Header(dynasor_trace=1, kind="sampling", workload="made up", model="none")
        write_trace(path, header, [line(number, chance) for number in range(60)])
        questions = sort_trace(read_trace(path), Sorting())
    rows = {"two-in-a-row": PolicySpec("two-in-a-row", has_lock=False)}
    plan = Plan(rows, caps=(CAP,), seeds=5, processes=1, policies=dict(POLICIES))
    for found in evaluate_plan(questions, plan):
        change = 100 * found.accuracy_change.estimate
        print(f"{found.policy:20} saves {found.saved.estimate:4.0%}, {change:+5.1f} points")


async def live() -> None:
    """Ask a few questions, one after the other."""
    extensions = Extensions(policies=dict(POLICIES))
    async with Dynasor(policy="two-in-a-row", lock=False, extensions=extensions) as dynasor:
        for number, question in enumerate(QUESTIONS):
            result = await dynasor.run(SelfConsistency(question, cap=CAP), program_id=f"q{number}")
            print(f"{question} {result.answer} ({result.knob} branches, {result.reason})")


if __name__ == "__main__":
    recorded()
    asyncio.run(live())
