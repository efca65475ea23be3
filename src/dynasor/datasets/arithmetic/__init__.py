"""A seeded generator of graded arithmetic word problems with one to eight steps.

A problem is a short story about a count: an opening sentence, sentences that change the count,
and a question. Each step of the solution is one operation on whole numbers. Difficulty is set by
the number of steps and by the largest number allowed on the way. Beside the worked solutions there
are long thinking traces (:mod:`.thoughts`) and solutions that go wrong (:mod:`.slips`).
"""

from dynasor.datasets.arithmetic.generator import (
    MAX_STEPS,
    Problem,
    heldout,
    limits,
    problems,
    split_of,
)
from dynasor.datasets.arithmetic.slips import Attempt, attempt, grade
from dynasor.datasets.arithmetic.steps import Quantity, Step, conclusion
from dynasor.datasets.arithmetic.thoughts import Thought, think

__all__ = [
    "MAX_STEPS",
    "Attempt",
    "Problem",
    "Quantity",
    "Step",
    "Thought",
    "attempt",
    "conclusion",
    "grade",
    "heldout",
    "limits",
    "problems",
    "split_of",
    "think",
]
