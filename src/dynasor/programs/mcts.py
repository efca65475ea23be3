"""Monte Carlo tree search over steps of a solution, with parallel rollouts."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, islice
from statistics import fmean
from typing import Literal

from dynasor.core.errors import CallFailed, ConfigError
from dynasor.core.program import Ask, Context, Fork, Sample, Strand
from dynasor.core.task import Task
from dynasor.core.types import Generated, PolicySpec
from dynasor.programs.selection import Branch, Rule, selected
from dynasor.programs.tree import TreeSearch, steps_of

__all__ = ["Mcts"]


@dataclass
class Mcts(TreeSearch):
    """Select a step, go on from it to the end of a solution, score that, and back it up.

    The knob is the number of iterations. An iteration descends from the root: at each step it
    takes the best of the children and of a new one, of which a step has at most `width`. A new
    one is sampled, with all that follows it, in one call; its steps join the tree, and the reward
    of the whole solution is backed up. `select` names the rule that says what is best, with
    `exploration` as its constant: `puct`, which has every step scored, or `uct`, which has whole
    solutions scored alone (`dynasor.programs.selection`). Iterations in flight part by virtual
    loss.

    Certaindex: `reward`, the mean over the finished solutions, and `entropy` over their answers
    (paper, section 3.1).
    """

    name = "mcts"
    unit = "iteration"
    usual_policy = PolicySpec(
        "threshold", {"detect": 3, "at": {"entropy": 0.99, "reward": 0.4}}, has_lock=False
    )

    select: Literal["puct", "uct"] = "puct"
    exploration: float = 1.0
    width: int = 4
    _terminal: list[float] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise ConfigError(f"width is {self.width}; at least 1 is needed")
        if not self.exploration >= 0:
            raise ConfigError(f"exploration is {self.exploration}; it must not be negative")

    def execute(self, context: Context) -> Strand:
        """Run as many iterations side by side as the policy lets."""
        root = Branch()
        while (units := (yield Ask())).knob:
            yield Fork(self._iteration(context, root), units.is_speculative)

    def _iteration(self, context: Context, root: Branch) -> Strand:
        ticket = self._votes.launch()
        start = selected(root, Rule(self.select, self.exploration, self.width))
        path = list(start.path())
        start.growing += 1
        for node in path:
            node.virtual += 1
        try:
            steps: list[Branch] = yield from self._roll_out(context, start, ticket + 1)
        except CallFailed:
            self.note("iterations lost")
            if self._lose(ticket):
                raise
            return
        finally:
            start.growing -= 1
            for node in path:
                node.virtual -= 1
        leaf = steps[-1]
        for node in leaf.path():
            node.visits += 1
            node.total += leaf.worth
        if leaf.reward is not None:
            self._terminal.append(leaf.reward)
        yield from self._finish(context, leaf, ticket)

    def _roll_out(self, context: Context, start: Branch, unit: int) -> Strand:
        """Go on from a step to the end; return the new steps, scored."""
        work = self._work(context.task, start, self._left(start))
        sample: Generated = yield Sample(work)
        if sample.finish_reason == "length":
            self.note("endless paths")
        steps = self._steps(context.task, start, sample, unit)
        yield from self._score(context, steps if self.select == "puct" else steps[-1:])
        start.children.append(steps[0])
        return steps

    def _steps(self, task: Task, start: Branch, sample: Generated, unit: int) -> list[Branch]:
        """Split what was sampled into steps; each costs its part of the tokens, by its length."""
        pieces = self._pieces(task, start, sample.text)
        letters = sum(map(len, pieces))
        node, steps, read, told = start, [], 0, 0
        for piece in pieces:
            read += len(piece)
            tokens = sample.usage.completion_tokens * read // letters - told
            told += tokens
            step = Branch(node.text + piece, tokens, node, unit)
            if node is not start:
                node.children.append(step)
            self._add(step, sample.mean_logprob)
            steps.append(step)
            node = step
        node.is_finished = True
        return steps

    def _pieces(self, task: Task, start: Branch, text: str) -> list[str]:
        """Cut a text into steps; the one that gives the answer has all the rest.

        So has the last one where there is no room for so many.
        """
        pieces = steps_of(text, self.step_end)
        room = self.max_steps - (sum(1 for _ in start.path()) - 1)
        paths = enumerate(islice(accumulate(pieces, initial=start.text), room + 1))
        ends = (place for place, path in paths if place and self._has_answer(task, path))
        last = next(ends, len(pieces))
        if last > room:
            self.note("paths cut at max_steps")
            last = room
        return [*pieces[: last - 1], "".join(pieces[last - 1 :])]

    def update_certaindex(self) -> dict[str, float]:
        """Return the entropy form over the answers, and the mean reward of whole solutions."""
        mean = fmean(self._terminal) if self._terminal else 0.0
        return {**super().update_certaindex(), "reward": mean}
