"""How certain a program has become: votes, and the certaindex computed from them.

Paper section 3.1. Answers are grouped into classes; a class is an integer, in order of
appearance, and None stands for "no answer": a class of its own for entropy, nobody's vote.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import exp, isnan, log

__all__ = ["Tally", "Votes", "confidence", "entropy_certaindex"]


def entropy_certaindex(sizes: Iterable[int]) -> float:
    """Return `(log n - H) / log n` for classes of these sizes, in [0, 1].

    `H` is the entropy of the sizes in nats and `n` their sum (paper, equation 1). It is 1 when
    all answers agree and 0 when all differ; fewer than two answers say nothing: 0.
    """
    total, weighted, largest = 0, 0.0, 0
    for size in sizes:
        total += size
        if size > 1:
            weighted += size * log(size)
        largest = max(largest, size)
    if total < 2:
        return 0.0
    return 1.0 if largest == total else weighted / (total * log(total))


def confidence(mean_logprob: float | None) -> float | None:
    """Return the geometric mean of tokens' probabilities, in [0, 1]; None where it is unknown.

    `mean_logprob` is the mean of their natural logarithms.
    """
    if mean_logprob is None or isnan(mean_logprob):
        return None
    return exp(min(0.0, mean_logprob))


@lru_cache(maxsize=4096)
def _growth(size: int) -> float:
    """Return by how much `size * log(size)` grows when a class comes to this size."""
    return size * log(size) - (size - 1) * log(size - 1) if size > 1 else 0.0


class Tally:
    """Votes counted in one order.

    `weights` and `sizes` are keyed by class in order of appearance; `size` counts every vote,
    the `nulls` (no answer) included.
    """

    __slots__ = ("_ahead", "_first", "_second", "_spread", "nulls", "size", "sizes", "weights")

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.weights: dict[int, float] = {}
        self.size = 0
        self.nulls = 0
        self._ahead: int | None = None
        self._first = self._second = 0.0
        self._spread = 0.0  # the sum of size * log(size) over all classes

    def add(self, group: int | None, weight: float = 1.0) -> None:
        """Count one vote; its weight must not be negative."""
        self.size += 1
        if group is None:
            self.nulls += 1
            self._spread += _growth(self.nulls)
            return
        size = self.sizes[group] = self.sizes.get(group, 0) + 1
        if size > 1:
            self._spread += _growth(size)
        total = self.weights[group] = self.weights.get(group, 0.0) + weight
        if group == self._ahead:
            self._first = total
        elif total > self._first:
            self._ahead, self._first, self._second = group, total, self._first
        elif total > self._second:
            self._second = total

    def leader(self) -> int | None:
        """Return the class of the greatest weight, ties to the first seen; None without votes."""
        if not self.weights:
            return None
        return max(self.weights, key=self.weights.__getitem__)

    def top_two(self) -> tuple[float, float]:
        """Return the weights of the leader and of the runner-up, 0 where there is none."""
        return self._first, self._second

    def certaindex(self) -> float:
        """Return the entropy certaindex, kept as votes come; all nulls together are one class."""
        total = self.size
        if total < 2:
            return 0.0
        if len(self.sizes) + (self.nulls > 0) == 1:
            return 1.0
        return self._spread / (total * log(total))


class Votes:
    """The votes of one program, counted both as they finish and in launch order.

    Completion order favours short answers, so statistical policies read `settled`: the votes of
    the longest run of launches, from the first on, that have all finished; `sequence` has their
    classes in that order, `weights` their weights. `finished` has every vote. `lost` counts
    launches that ended without a vote because their calls failed. `max_weight` bounds any single
    vote's weight.
    """

    __slots__ = (
        "_next",
        "_waiting",
        "choice",
        "finished",
        "launched",
        "lost",
        "max_weight",
        "sequence",
        "settled",
        "weights",
    )

    def __init__(self, max_weight: float = 1.0) -> None:
        self.finished = Tally()
        self.settled = Tally()
        self.sequence: list[int | None] = []
        self.weights: list[float] = []
        self.launched = 0
        self.lost = 0
        self.max_weight = max_weight
        self.choice: int | None = None
        self._next = 0
        self._waiting: dict[int, tuple[int | None, float] | None] = {}

    def launch(self) -> int:
        """Return the ticket of one more launch."""
        self.launched += 1
        return self.launched - 1

    def record(self, ticket: int, group: int | None, weight: float = 1.0) -> None:
        """Count the vote of a launch; `weight` in [0, max_weight]."""
        self.finished.add(group, weight)
        self._settle(ticket, (group, weight))

    def lose(self, ticket: int) -> None:
        """Note that a launch will never vote."""
        self.lost += 1
        self._settle(ticket, None)

    def _settle(self, ticket: int, vote: tuple[int | None, float] | None) -> None:
        self._waiting[ticket] = vote
        while self._next in self._waiting:
            settled = self._waiting.pop(self._next)
            self._next += 1
            if settled is not None:
                self.settled.add(*settled)
                self.sequence.append(settled[0])
                self.weights.append(settled[1])

    def leader(self) -> int | None:
        """Return the class that wins now: the policy's choice where it made one."""
        if self.choice is not None:
            return self.choice
        same_votes = self.settled.size == self.finished.size
        return (self.settled if same_votes else self.finished).leader()
