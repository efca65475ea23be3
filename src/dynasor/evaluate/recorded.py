"""Recorded questions as numbers: what a replay needs once every answer has its class.

The texts are compared and graded once (`dynasor.evaluate.classes`); after that a question is its
samples' classes, tokens and rewards, and each class's quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from msgspec import Struct

from dynasor.core.certaindex import Tally
from dynasor.core.errors import UserError

__all__ = ["Recorded", "Trajectory", "check_cap", "trajectory"]


class Recorded(Struct, frozen=True):
    """One question's samples.

    `classes[i]` is the class of sample i's answer, numbered by first appearance, None where it
    gave none. `tokens[i]` is its length, `rewards[i]` its reward in [0, 1] and `logprobs[i]` its
    mean log-probability; both are empty where nothing was recorded. `quality[c]` in [0, 1] is
    what class c is worth: 1 right and 0 wrong where there are references. `has_quality` is False
    where nothing says what is right. `is_ordered`: the samples are the units of one search, each
    made in view of those before, and are not shuffled.
    """

    id: str
    question: str
    classes: tuple[int | None, ...]
    tokens: tuple[int, ...]
    quality: tuple[float, ...]
    has_quality: bool = True
    rewards: tuple[float, ...] = ()
    logprobs: tuple[float, ...] = ()
    is_ordered: bool = False

    def order(self, seed: int) -> list[int]:
        """Return the samples in the order of a seeded shuffle; units of a search as they came."""
        order = list(range(len(self.tokens)))
        if self.is_ordered:
            return order
        Random(f"{seed}/{self.id}").shuffle(order)
        return order

    def worth(self, group: int | None) -> float:
        """Return what an answer of this class is worth; no answer is worth nothing."""
        return 0.0 if group is None else self.quality[group]


def check_cap(questions: Sequence[Recorded], cap: int) -> None:
    """Raise `UserError` unless every question has `cap` samples."""
    if cap < 1:
        raise UserError(f"the cap is {cap}; at least 1 is needed")
    fewest = min(questions, key=lambda one: len(one.tokens), default=None)
    if fewest is None:
        raise UserError("the trace has no question that can be used")
    if len(fewest.tokens) < cap:
        short = sum(len(one.tokens) < cap for one in questions)
        raise UserError(
            f"the cap {cap} is beyond what was recorded: {short} of {len(questions)} questions "
            f"have fewer samples, {fewest.id!r} has {len(fewest.tokens)}; "
            "give a smaller cap, or record more"
        )


class Trajectory(Struct, frozen=True):
    """One question's vote after each of its first samples: arrays of length cap.

    `leaders` holds classes, -1 for none; `certaindex` is the entropy form; `tokens` is the sum so
    far; `quality` is what the leading answer is worth.
    """

    leaders: np.ndarray[tuple[int], np.dtype[np.int64]]
    certaindex: np.ndarray[tuple[int], np.dtype[np.float64]]
    tokens: np.ndarray[tuple[int], np.dtype[np.int64]]
    quality: np.ndarray[tuple[int], np.dtype[np.float64]]

    @property
    def needed(self) -> int | None:
        """The least number of samples whose vote is worth as much as the whole vote, or more.

        None where the whole vote is worth nothing: no number of samples solves the question.
        """
        if self.quality[-1] <= 0:
            return None
        return int(np.argmax(self.quality >= self.quality[-1])) + 1

    @property
    def settled(self) -> int:
        """The least number of samples from which on the vote is always worth the whole vote."""
        is_worse = self.quality < self.quality[-1]
        return int(len(is_worse) - np.argmax(is_worse[::-1])) + 1 if is_worse.any() else 1


def trajectory(question: Recorded, cap: int, seed: int) -> Trajectory:
    """Return a question's vote after each sample of a seeded shuffle."""
    tally, spent = Tally(), 0
    rows: list[tuple[int, float, int, float]] = []
    for index in question.order(seed)[:cap]:
        tally.add(question.classes[index])
        spent += question.tokens[index]
        leader = tally.leader()
        rows.append(
            (
                -1 if leader is None else leader,
                tally.certaindex(),
                spent,
                question.worth(leader),
            )
        )
    leaders, certaindex, tokens, quality = (np.array(column) for column in zip(*rows, strict=True))
    return Trajectory(leaders, certaindex.astype(float), tokens, quality.astype(float))
