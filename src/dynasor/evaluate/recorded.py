"""Recorded questions as numbers: what a replay needs once every answer has its class.

The texts are compared and graded once (`dynasor.evaluate.classes`); after that a question is its
samples' classes, tokens and rewards, and each class's quality. A question with searches or
thoughts has these step by step besides, and its samples are the units of the first of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from random import Random

import numpy as np
from msgspec import Struct

from dynasor.core.certaindex import Tally
from dynasor.core.errors import UserError

__all__ = [
    "Recorded",
    "RecordedProbe",
    "RecordedStep",
    "RecordedThought",
    "Trajectory",
    "check_cap",
    "trajectory",
]


class RecordedStep(Struct, frozen=True, array_like=True, gc=False):
    """One step of a search.

    `parent` is the place of the one before it, -1 for a first step; `reward` in [0, 1] None where
    it was never scored; `group` the class of a finished path's answer, None without one.
    `blank` is the text of a step that says nothing, without blanks or of one, None of any other.
    `is_cut`: the model was stopped here by the limit of tokens.
    """

    tokens: int
    parent: int
    reward: float | None = None
    group: int | None = None
    is_finished: bool = False
    blank: str | None = None
    is_cut: bool = False


class RecordedProbe(Struct, frozen=True, array_like=True, gc=False):
    """What a chain of thought answered after `at` tokens: a class, for so many tokens more.

    `logprob` is the mean log-probability of these tokens, None where the engine gave none.
    """

    at: int
    group: int | None
    tokens: int
    logprob: float | None = None


class RecordedThought(Struct, frozen=True, array_like=True, gc=False):
    """One chain of thought: its tokens, the class of its final answer, its probes by `at`.

    `thoughts` of its tokens stand before the tag that closes them, all of them where there is none.
    `is_elicited`: it gave no answer by itself, `group` is that of its last probe. `is_cut`: it was
    stopped before its end.
    """

    tokens: int
    group: int | None
    probes: tuple[RecordedProbe, ...]
    thoughts: int
    is_elicited: bool = False
    is_cut: bool = False

    def probe(self, at: int) -> RecordedProbe | None:
        """Return the last probe up to `at` tokens; None before the first."""
        place = bisect_right(self.probes, at, key=lambda probe: probe.at)
        return self.probes[place - 1] if place else None

    def said(self, at: int) -> int | None:
        """Return the class of what is known after `at` tokens: a probe's, or the end's."""
        if at >= self.tokens:
            return self.group
        probe = self.probe(at)
        return None if probe is None else probe.group


class Recorded(Struct, frozen=True):
    """One question's samples.

    `classes[i]` is the class of sample i's answer, numbered by first appearance, None where it
    gave none. `tokens[i]` is its length, `rewards[i]` its reward in [0, 1] and `logprobs[i]` its
    mean log-probability; both are empty where nothing was recorded. `quality[c]` in [0, 1] is
    what class c is worth: 1 right and 0 wrong where there are references. `has_quality` is False
    where nothing says what is right. `is_ordered`: the samples are the units of one search, each
    made in view of those before, and are not shuffled. `searches` are whole searches, their steps
    in the order in which they were asked for, and `thoughts` chains of thought: a seed chooses
    which of them is replayed.
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
    searches: tuple[tuple[RecordedStep, ...], ...] = ()
    thoughts: tuple[RecordedThought, ...] = ()

    @property
    def longest(self) -> int:
        """The tokens of its longest completion, with the steps that it goes on from."""
        paths = [_longest_path(steps) for steps in self.searches]
        chains = [
            one.tokens + max((probe.tokens for probe in one.probes), default=0)
            for one in self.thoughts
        ]
        return max(paths or chains or self.tokens, default=0)

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


def _longest_path(steps: Sequence[RecordedStep]) -> int:
    lengths: list[int] = []
    for step in steps:
        lengths.append(step.tokens + (lengths[step.parent] if step.parent >= 0 else 0))
    return max(lengths, default=0)


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
