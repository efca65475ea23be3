"""Searches over steps: what Rebase, beam search and MCTS share.

A search is best-of-n over the paths that it finishes: its votes, its rewards and its answer are
those of `BestOfN`. What it adds is that a path is a chain of steps, which other paths share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from dynasor.core.certaindex import confidence
from dynasor.core.errors import CallFailed, ConfigError
from dynasor.core.program import Context, Strand
from dynasor.core.task import Task, takes_any_text
from dynasor.core.types import Generate, Generated, Prompt, Sampling, Score, Scored
from dynasor.programs.best_of_n import NEUTRAL, BestOfN

__all__ = ["Node", "TreeSearch", "steps_of"]


def steps_of(text: str, step_end: str) -> list[str]:
    """Cut what was sampled behind every end of a step; blank steps stay with the one before them.

    The last step ends as the others do, whether the model said so or not.
    """
    whole = text.removesuffix(step_end) + step_end
    steps: list[str] = re.findall(f".*?(?:{re.escape(step_end)})+", whole, re.DOTALL)
    steps[-1] += whole[sum(map(len, steps)) :]  # three line breaks, where two end a step
    return steps


@dataclass(eq=False)
class Node:
    """One step of a search.

    `text` is the whole path up to and with this step, as a model goes on with it: empty for the
    root. `tokens` is what the step alone cost; `unit` the unit of the knob that made it, from 1;
    `reward` in [0, 1], None where it could not be scored. `is_finished`: nothing follows, and
    `answer` is what the path came to, None without one. `length` and `logprob` are the tokens of
    the whole path and the sum of their log-probabilities, None where that is unknown.
    """

    text: str = ""
    tokens: int = 0
    parent: Node | None = None
    unit: int = 0
    reward: float | None = None
    is_finished: bool = False
    answer: str | None = None
    length: int = 0
    logprob: float | None = 0.0

    @property
    def worth(self) -> float:
        """Its reward, or what stands in for one."""
        return NEUTRAL if self.reward is None else self.reward

    @property
    def is_blank(self) -> bool:
        """Whether this step says nothing: a blank line, or all that a model had left to say."""
        return self.parent is not None and not self.text[len(self.parent.text) :].strip()


@dataclass
class TreeSearch(BestOfN):
    """A search whose paths are made of steps; the answer is the best path's, or the vote's.

    A step ends at `step_end` and takes at most `step_tokens`, a path at most `max_tokens` and
    `max_steps` steps. A path is finished when its text has the task's answer, or when the model
    has nothing to add. `nodes` are all steps so far, in the order they were made.
    """

    step_tokens: int = 256
    max_steps: int = 32
    step_end: str = "\n"
    nodes: list[Node] = field(default_factory=list, init=False, repr=False, compare=False)
    _rewards: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("step_tokens", "max_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if not self.step_end:
            raise ConfigError("step_end is empty; give the text that ends a step")

    def _work(self, task: Task, node: Node, tokens: int, stop: tuple[str, ...] = ()) -> Generate:
        """Return the request that goes on from a node."""
        sampling = Sampling(
            tokens, self.temperature, self.top_p, stop, has_logprobs=self.has_logprobs
        )
        return Generate(replace(self.prompt(task), prefix=node.text), sampling)

    def _left(self, node: Node) -> int:
        """Return how many tokens may still follow a node, at least 1."""
        return max(1, self.max_tokens - node.length)

    def _add(self, node: Node, mean_logprob: float | None) -> Node:
        """Take a new step into the tree; `mean_logprob` is that of its own tokens."""
        parent = node.parent or Node()
        node.length = parent.length + node.tokens
        if mean_logprob is None or parent.logprob is None:
            node.logprob = None
        else:
            node.logprob = parent.logprob + mean_logprob * node.tokens
        self.nodes.append(node)
        return node

    def _has_answer(self, task: Task, text: str) -> bool:
        """Say whether a path's text ends it by giving an answer.

        A task that takes any text for an answer leaves it to the model to end.
        """
        return not takes_any_text(task) and task.extract(text) is not None

    def _score(self, context: Context, nodes: Sequence[Node]) -> Strand:
        """Give nodes their rewards, in one call at most; equal texts are scored once."""
        if self.rewards == "confidence":
            for node in nodes:
                known = None if node.logprob is None else node.logprob / max(1, node.length)
                node.reward = confidence(known)
            self.note("scores lost", sum(node.reward is None for node in nodes))
            return
        texts = dict.fromkeys(node.text for node in nodes if node.text not in self._rewards)
        if texts:
            messages = self.prompt(context.task).messages
            try:
                scored: Scored = yield Score(tuple(Prompt(messages, text) for text in texts))
                found = zip(texts, scored.rewards, strict=True)
                self._rewards |= {text: one for text, one in found if one is not None}
                self.note("scores lost", scored.rewards.count(None))
            except CallFailed:
                self.note("scores lost", len(texts))
        for node in nodes:
            node.reward = self._rewards.get(node.text)

    def _finish(self, context: Context, node: Node, ticket: int) -> Strand:
        """Let a finished path vote: one unit is settled."""
        text = node.text.removesuffix(self.step_end)
        node.answer = context.task.extract(text)
        if node.answer is None:
            self.note("paths without answer")
        if node.reward is not None:
            self._highest = max(self._highest, node.reward)
        yield from self._vote(ticket, node.answer, text, node.worth)

    def _step_text(self, parent: Node, sample: Generated) -> str:
        """Return the path's text with a new step; what ends a step is not in what was sampled."""
        return parent.text + sample.text.removesuffix(self.step_end) + self.step_end
