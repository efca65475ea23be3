"""The tree that a search has grown, made of the calls it sent: the inference path.

A call that goes on from a text (`Prompt.prefix`) is a child of the step that ended there. Nothing
is asked of the program: what travelled between scheduler and engines is enough.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from dynasor.core.types import Generate, Generated, Score, Scored
from dynasor.programs.tree import steps_of

__all__ = ["Node", "Tree"]

SHOWN_LETTERS = 2_000
"""The most of one step that is kept: a step is a line, and a thousand programs stay in memory."""


class Node(Struct):
    """One step: its own text, what it cost, and where it went on from (None: the question).

    `reward` in [0, 1], None where nobody scored it; `is_answer` on the way to the answer.
    """

    id: int
    call: str
    parent: int | None
    text: str
    tokens: int
    reward: float | None = None
    is_answer: bool = False


class Tree:
    """The steps of one search, which end with `step_end`."""

    def __init__(self, step_end: str) -> None:
        self.nodes: list[Node] = []
        self._end = step_end
        self._paths: dict[str, list[int]] = {}

    def grow(self, call: str, work: Generate, output: Generated) -> None:
        """Add the steps that a call has brought."""
        path = work.prompt.prefix
        above = self._paths.get(path)
        parent = above[0] if above else None
        pieces = steps_of(output.text, self._end)
        letters = sum(map(len, pieces))
        told = read = 0
        for piece in pieces:
            read += len(piece)
            tokens = output.usage.completion_tokens * read // letters - told
            told += tokens
            path += piece
            alike = self._paths.setdefault(path, [])
            reward = self.nodes[alike[0]].reward if alike else None
            node = Node(len(self.nodes), call, parent, piece[:SHOWN_LETTERS], tokens, reward)
            alike.append(node.id)
            self.nodes.append(node)
            parent = node.id

    def score(self, work: Score, output: Scored) -> None:
        """Give steps their rewards."""
        for item, reward in zip(work.items, output.rewards, strict=False):
            for place in self._paths.get(item.prefix, ()):
                self.nodes[place].reward = reward

    def end(self, answer: str | None) -> None:
        """Mark the way to the answer, and forget what only served to grow."""
        whole = "" if answer is None else answer + self._end
        for path, places in self._paths.items():
            if whole.startswith(path):
                for place in places:
                    self.nodes[place].is_answer = True
        self._paths.clear()

    def shown(self) -> list[dict[str, Any]]:
        """Return the nodes as JSON values."""
        return [
            {name: getattr(node, name) for name in Node.__struct_fields__} for node in self.nodes
        ]
