"""Where a Monte Carlo tree search goes on: the statistics of its steps, and two rules.

`puct`: Silver et al. 2017 (Mastering the game of Go without human knowledge), with a step's share
of its siblings' rewards for a prior; a new step has its parent's value and a mean prior. `uct`:
Kocsis and Szepesvari 2006 (Bandit based Monte-Carlo planning); new steps go first. Rollouts under
way count as losses until they end, so that they part (virtual loss; Chaslot et al. 2008).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf, log, sqrt
from typing import Literal

from dynasor.programs.best_of_n import NEUTRAL
from dynasor.programs.tree import Node

__all__ = ["Branch", "Rule", "selected"]


@dataclass(eq=False)
class Branch(Node):
    """A step with its statistics.

    `visits` rollouts have passed it and came to rewards of the sum `total`. `virtual` ones are
    under way through it, each a visit that came to nothing so far (virtual loss), `growing` of
    them from here.
    """

    children: list[Branch] = field(default_factory=list)
    visits: int = 0
    virtual: int = 0
    growing: int = 0
    total: float = 0.0

    @property
    def passes(self) -> int:
        """Visits, with those under way."""
        return self.visits + self.virtual

    @property
    def value(self) -> float:
        """The mean reward of its passes; what stands in for one before the first."""
        return self.total / self.passes if self.passes else NEUTRAL

    def path(self) -> Iterator[Branch]:
        """Yield this step and those above it, up to the root."""
        node: Node | None = self
        while isinstance(node, Branch):
            yield node
            node = node.parent

    def is_open(self, width: int) -> bool:
        """Say whether a new step can still be made here or below."""
        below = [self]
        while below:
            node = below.pop()
            if not node.is_finished:
                if node.has_room(width):
                    return True
                below += node.children
        return False

    def has_room(self, width: int) -> bool:
        """Say whether there are fewer than `width` steps, with those under way."""
        return len(self.children) + self.growing < width


@dataclass(frozen=True, slots=True)
class Rule:
    """How to choose between a step's children and a new one, of which it has at most `width`."""

    name: Literal["puct", "uct"]
    exploration: float
    width: int

    def best(self, node: Branch) -> Branch | None:
        """Return the child to descend to, None where a new one is better."""
        best, best_score = None, self._new(node) if node.has_room(self.width) else -inf
        for child in node.children:
            if child.is_open(self.width) and (score := self._score(child, node)) > best_score:
                best, best_score = child, score
        return best

    def _score(self, child: Branch, parent: Branch) -> float:
        if self.name == "uct":
            bonus = sqrt(log(max(1, parent.passes)) / child.passes) if child.passes else inf
        else:
            rewards = sum(one.worth for one in parent.children)
            prior = child.worth / rewards if rewards else 1 / len(parent.children)
            bonus = prior * sqrt(parent.passes) / (1 + child.passes)
        return child.value + self.exploration * bonus

    def _new(self, node: Branch) -> float:
        if self.name == "uct" or not node.children:
            return inf
        return node.value + self.exploration * sqrt(node.passes) / len(node.children)


def selected(root: Branch, rule: Rule) -> Branch:
    """Return the step from which the next solution goes on: the root where none has room."""
    node = root
    while (best := rule.best(node)) is not None:
        node = best
    return node
