"""The problems themselves, an endless seeded stream of each split.

The training and the held-out problems are disjoint by construction: a SHA-256 hash of the
*solution* decides the split, so no chain of calculations that is held out ever appears in
training, in whatever words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Literal

from dynasor.datasets.arithmetic.steps import Step
from dynasor.datasets.arithmetic.stories import Story, tell

Split = Literal["train", "heldout"]

MAX_STEPS = 8
"""The longest problem; the generator accepts 1 to this many steps."""

_QUESTION_CHARACTERS, _SOLUTION_CHARACTERS = 320, 102
"""Longer drafts are thrown away: about 90 and 80 tokens of the embedded model's tokenizer."""

_HELDOUT_SHARE = 16
"""One solution in this many is held out."""


@dataclass(frozen=True, slots=True)
class Problem:
    r"""Hold one word problem and its worked solution.

    ``id`` is unique among problems drawn with the same arguments. ``solution`` has
    one line per step, like ``12+7=19.``, and ends with ``The answer is \boxed{19}.``;
    ``answer`` is that number in decimal digits; ``steps`` is 1 to 8, and ``calculation`` has as
    many entries.
    """

    id: str
    question: str
    solution: str
    answer: str
    steps: int
    calculation: tuple[Step, ...]


def problems(
    split: Split,
    seed: int = 0,
    steps: Sequence[int] = range(1, MAX_STEPS + 1),
    limit: Sequence[int] | None = None,
) -> Iterator[Problem]:
    """Yield problems of one split for ever; the same arguments yield the same problems.

    Step counts follow ``steps`` in turn, so ``range(1, 9)`` is an even mix of difficulties and a
    list with repeated entries is a weighted one. A problem's numbers keep to a bound drawn from
    ``limit``; None grades the bounds by the number of steps (:func:`limits`). Training
    problems may repeat; held-out ones may too, but very rarely with more than one step (use
    :func:`heldout` for distinct ones).

    Raises:
        ValueError: ``steps`` is empty or has an entry outside 1 to 8, ``limit`` is empty or has an
            entry below 20, or the split is unknown.
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"split is {split!r}, expected 'train' or 'heldout'")
    _check_steps(steps)
    if limit is not None and not (limit and all(bound >= 20 for bound in limit)):
        raise ValueError(f"limit is {limit!r}, expected bounds of 20 or more")
    return _generate(split, seed, steps, limit)


def heldout(count: int, seed: int = 0) -> list[Problem]:
    """Return ``count`` distinct held-out problems, an even mix of 1 to 8 steps.

    Problem ``i`` has ``1 + i % 8`` steps as long as no duplicate is skipped, so every prefix of
    the list is a mix as well: a quarter is easy (1 and 2 steps, numbers to 500), in the others
    (:func:`limits`) numbers go up to 999, in half of the longest quarter to 1999.

    Raises:
        ValueError: ``count`` is negative.
    """
    if count < 0:
        raise ValueError(f"count is {count}, expected 0 or more")
    return list(islice(_distinct(problems("heldout", seed)), count))


def split_of(solution: str) -> Split:
    """Tell which split a solution belongs to; one in sixteen is held out."""
    first = hashlib.sha256(solution.encode()).digest()[0]
    return "heldout" if first % _HELDOUT_SHARE == 0 else "train"


def limits(steps: int) -> tuple[int, ...]:
    """Return the bounds one of which a problem's numbers keep to; a final sum may be twice that.

    Raises:
        ValueError: ``steps`` is not 1 to 8.
    """
    _check_steps([steps])
    return ((50, 500), (999,), (999,), (999, 1999))[(steps - 1) // 2]


def _check_steps(steps: Sequence[int]) -> None:
    if not steps or not all(1 <= count <= MAX_STEPS for count in steps):
        raise ValueError(f"steps is {steps!r}, expected counts from 1 to {MAX_STEPS}")


def _distinct(stream: Iterator[Problem]) -> Iterator[Problem]:
    seen: set[str] = set()
    for problem in stream:
        if problem.question not in seen:
            seen.add(problem.question)
            yield problem


def _generate(
    split: Split, seed: int, steps: Sequence[int], limit: Sequence[int] | None
) -> Iterator[Problem]:
    rng = Random(f"arithmetic/{split}/{seed}")
    index = 0
    while True:
        count = steps[index % len(steps)]
        story = tell(rng, count, limit or limits(count))
        if story is None or not _is_short(story) or split_of(story.solution) != split:
            continue
        yield Problem(
            id=f"arithmetic-{split}-{seed}-{index}",
            question=story.question,
            solution=story.solution,
            answer=str(story.value),
            steps=count,
            calculation=tuple(story.calculation),
        )
        index += 1


def _is_short(story: Story) -> bool:
    return (
        len(story.question) <= _QUESTION_CHARACTERS and len(story.solution) <= _SOLUTION_CHARACTERS
    )
