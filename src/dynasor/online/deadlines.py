"""How hard a question is, judged by its recorded samples; and the deadline that follows."""

from __future__ import annotations

from enum import IntEnum

from dynasor.core.certaindex import Tally
from dynasor.evaluate.recorded import Recorded
from dynasor.online.workload import Part

__all__ = ["TRIALS", "Difficulty", "Level", "deadline_of"]

TRIALS = 20
"""Votes that judge a question: one that is right in 19 of 20 still counts as changing."""
RIGHT = 0.5
"""An answer that is worth this much is right: nothing lies between where there are references."""


class Level(IntEnum):
    """How hard a question is: the place of its factor in `Deadline.factors`."""

    ALWAYS_RIGHT = 0
    CHANGING = 1
    ALWAYS_WRONG = 2


class Difficulty:
    """Judges questions by votes of `cap` samples, on `trials` shuffles; each question once.

    What it finds depends on nothing but the recording: not on the seed of a run. It holds for a
    part's questions, whose ids differ, and for any program: the vote is the plain majority.
    """

    def __init__(self, cap: int, trials: int = TRIALS) -> None:
        self.cap = cap
        self._trials = trials
        self._levels: dict[str, Level] = {}

    def level(self, question: Recorded) -> Level:
        """Return how hard a question is; it must have a quality."""
        level = self._levels.get(question.id)
        if level is None:
            level = self._levels[question.id] = self._judge(question)
        return level

    def _judge(self, question: Recorded) -> Level:
        if not any(worth >= RIGHT for worth in question.quality):
            return Level.ALWAYS_WRONG  # as most questions that are wrong: no vote need be held
        found = {self._is_right(question, 0)}
        for seed in range(1, self._trials):
            found.add(self._is_right(question, seed))
            if len(found) > 1:
                return Level.CHANGING
        return Level.ALWAYS_RIGHT if found == {True} else Level.ALWAYS_WRONG

    def _is_right(self, question: Recorded, seed: int) -> bool:
        votes = Tally()
        for index in question.order(seed)[: self.cap]:
            votes.add(question.classes[index])
        return question.worth(votes.leader()) >= RIGHT


def deadline_of(
    part: Part, question: Recorded, difficulty: Difficulty
) -> tuple[float | None, float]:
    """Return how long a program of this question may take, in seconds, and its factor.

    None and 1 where the part has no deadlines.
    """
    deadline = part.deadline
    if deadline is None:
        return None, 1.0
    level = difficulty.level(question) if deadline.is_graded else Level.ALWAYS_RIGHT
    factor = deadline.factors[level]
    return deadline.seconds(factor), factor
