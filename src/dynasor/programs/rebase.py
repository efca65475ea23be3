"""Rebase (arXiv 2408.00724): a tree search whose width follows the rewards of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from math import exp, floor
from typing import Literal

from dynasor.core.errors import CallFailed, ConfigError
from dynasor.core.program import Ask, Context, Fork, Join, Sample, Strand, Thread
from dynasor.core.types import Generated, PolicySpec
from dynasor.programs.tree import Node, TreeSearch

__all__ = ["Rebase", "softmax_shares"]


def softmax_shares(rewards: Sequence[float], width: int, balance: float) -> list[int]:
    """Divide `width` in proportion to `exp(reward / balance)`; the shares sum to `width`.

    Whole shares first, then the largest remainders, the first of equals (Hamilton's method):
    rounding alone, as in the paper, would not keep the sum.
    """
    highest = max(rewards)
    weights = [exp((reward - highest) / balance) for reward in rewards]
    scale = width / sum(weights)
    shares = [floor(weight * scale) for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda at: shares[at] - weights[at] * scale)
    for at in by_rest[: width - sum(shares)]:
        shares[at] += 1
    return shares


@dataclass
class Rebase(TreeSearch):
    """Search level by level: every step of a level is scored, and the width shared out anew.

    The knob is the width: so many paths are under way at each level, and a path that is finished
    leaves with its share. Units granted together are one search; those granted later, as after a
    detection, are an independent one, and the paths of all are pooled. Certaindex: `entropy` over
    the answers, and `reward`, the highest of a finished path (paper, section 3.1). `balance` is
    the softmax's temperature: a small one follows the best step, a large one shares alike.
    """

    name = "rebase"
    unit = "path"
    usual_policy = PolicySpec(
        "threshold", {"detect": 16, "at": {"entropy": 0.85, "reward": 0.99}}, has_lock=False
    )

    choose: Literal["best", "vote"] = "vote"
    balance: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.balance > 0:
            raise ConfigError(f"balance is {self.balance}; it must be above 0")

    def execute(self, context: Context) -> Strand:
        """Run one search after another, each as wide as what was granted meanwhile."""
        while (units := (yield Ask(self.cap))).knob:
            if units.is_speculative:
                for _ in range(units.knob):
                    yield Fork(self._search(context, 1), is_speculative=True)
            else:
                yield from self._search(context, units.knob)

    def _search(self, context: Context, width: int) -> Strand:
        """Run one search; raises `CallFailed` where calls that failed leave no path at all."""
        tickets = [self._votes.launch() for _ in range(width)]
        unit = tickets[0] + 1
        frontier, shares = [Node()], [width]
        finishing: list[Thread] = []
        for _ in range(self.max_steps):
            children: list[Node] = yield from self._grow(context, frontier, shares, unit)
            yield from self._score(context, children)
            for child in children:
                if child.is_finished:
                    vote = yield Fork(self._finish(context, child, tickets.pop(0)))
                    finishing.append(vote)
            frontier = [child for child in children if not child.is_finished]
            if not frontier or not tickets:
                break
            shares = self._shares([child.worth for child in frontier], len(tickets))
        else:
            self.note("paths cut at max_steps", len(frontier))
        yield Join(tuple(finishing))
        for ticket in tickets:
            self._lose(ticket)

    def _shares(self, rewards: Sequence[float], width: int) -> list[int]:
        """Return how many paths go on from each of a level's steps."""
        return softmax_shares(rewards, width, self.balance)

    def _grow(
        self, context: Context, frontier: Sequence[Node], shares: Sequence[int], unit: int
    ) -> Strand:
        """Take one step further from each node, as often as its share says."""
        threads: list[Thread] = []
        for node in chain.from_iterable(map(repeat, frontier, shares)):
            thread = yield Fork(self._step(context, node, unit))
            threads.append(thread)
        found: list[Node | CallFailed | None] = yield Join(tuple(threads))
        children = [one for one in found if isinstance(one, Node)]
        failures = [one for one in found if isinstance(one, CallFailed)]
        if failures:
            self.note("steps lost", len(failures))
            if self._votes.lost + len(failures) == self._votes.launched:
                raise failures[0]  # with these every path so far is lost
        return children

    def _step(self, context: Context, parent: Node, unit: int) -> Strand:
        """Return the next step, its failure, or None where there is no end to it."""
        tokens = min(self.step_tokens, self._left(parent))
        work = self._work(context.task, parent, tokens, (self.step_end,))
        try:
            sample: Generated = yield Sample(work)
        except CallFailed as exc:
            return exc
        if sample.finish_reason == "length":
            self.note("endless steps")
            cut = Node(parent.text + sample.text, sample.usage.completion_tokens, parent, unit)
            self._add(cut, sample.mean_logprob)
            return None
        text = self._step_text(parent, sample)
        node = Node(text, sample.usage.completion_tokens, parent, unit)
        # A blank line and the end look alike; the second one in a row is the end.
        node.is_finished = (
            parent.is_blank if node.is_blank else self._has_answer(context.task, text)
        )
        return self._add(node, sample.mean_logprob)
