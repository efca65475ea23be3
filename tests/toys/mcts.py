"""A toy tree search: what a real one needs of the scheduler, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, sqrt

from msgspec.structs import replace

from dynasor.core.program import Ask, Fork, Program, Sample, Score
from dynasor.core.types import Answer, Generate

__all__ = ["Node", "ToyMcts"]


@dataclass(eq=False)
class Node:
    """A partial solution: visits include those under way (`virtual`), which count as losses."""

    text: str
    parent: Node | None = None
    visits: int = 0
    virtual: int = 0
    value: float = 0.0
    children: list[Node] = field(default_factory=list)

    def path(self):
        node = self
        while node is not None:
            yield node
            node = node.parent

    def score(self, total):
        visits = self.visits + self.virtual
        if visits == 0:
            return float("inf")
        return self.value / visits + sqrt(2 * log(total + 1) / visits)


@dataclass
class ToyMcts(Program):
    """Select, expand, score, back up; a rollout is a strand and one unit of the knob.

    `depth` steps make a solution; each node has up to `width` children.
    """

    name = "toy-mcts"

    question: str = "?"
    task: str = "words"
    depth: int = 3
    width: int = 2

    def __post_init__(self):
        self.root = Node("")
        self.leaves = []
        self.most_virtual = 0

    def execute(self, context):
        prompt = context.task.prompt(self.question)
        number = 0
        while (yield Ask()).knob:
            number += 1
            yield Fork(self._rollout(prompt, context.random(f"rollout {number}")))

    def _rollout(self, prompt, random):
        node = self._select(random)
        path = list(node.path())
        for one in path:
            one.virtual += 1
        self.most_virtual = max(self.most_virtual, self.root.virtual)
        try:
            work = Generate(replace(prompt, prefix=node.text))
            step = yield Sample(work)
            leaf = Node(f"{node.text} {step.text}".strip(), node)
            node.children.append(leaf)
            scored = yield Score((replace(prompt, prefix=leaf.text),))
            reward = scored.rewards[0]
            for one in leaf.path():
                one.visits += 1
                one.value += reward
            if len(leaf.text.split()) >= self.depth:
                self.leaves.append((reward, leaf.text))
        finally:
            for one in path:
                one.virtual -= 1
        self.knob += 1

    def _select(self, random):
        node = self.root
        while len(node.children) >= self.width and len(node.text.split()) < self.depth - 1:
            total = node.visits + node.virtual
            node = max(node.children, key=lambda child: (child.score(total), random.random()))
        return node

    def update_certaindex(self):
        """The mean of the terminal rewards (paper, section 3.1)."""
        rewards = [reward for reward, _ in self.leaves]
        return {"reward": sum(rewards) / len(rewards) if rewards else 0.0}

    def answer(self):
        if not self.leaves:
            return None
        _, text = max(self.leaves)
        return Answer(text.split()[-1], text)
