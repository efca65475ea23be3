"""The steps of a partial solution, as reward models that judge each step want them.

Programs hand over a text whose steps end with line breaks. A reward model was trained on steps
that end with a mark of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dynasor.core.types import Message, Prompt

__all__ = ["Partial", "longest", "mark_of_model", "partial_of", "split_steps"]

# By what a model's name contains. Qwen: the model card of Qwen2.5-Math-PRM-7B; Skywork:
# `prepare_input` of https://github.com/SkyworkAI/skywork-o1-prm-inference.
MARKS = (
    (("qwen2.5-math", "prm"), "<extra_0>"),
    (("skywork-o1-open-prm",), "\n"),
)


@dataclass(frozen=True, slots=True)
class Partial:
    """A conversation and the steps of an answer to it, the last of which is to be rewarded."""

    messages: tuple[Message, ...]
    steps: tuple[str, ...]

    def beginnings(self) -> list[Partial]:
        """Return the same answer after its first step, after its second, and so on to the last."""
        return [Partial(self.messages, self.steps[: n + 1]) for n in range(len(self.steps))]

    def text(self, mark: str) -> str:
        """Return the answer with the mark after each step."""
        return "".join(step + mark for step in self.steps)


def split_steps(text: str) -> tuple[str, ...]:
    """Split a text at its line breaks; blank lines count for nothing.

    A text of blank lines alone is one empty step, so that it can be rewarded too.
    """
    return tuple(line.rstrip() for line in text.split("\n") if line.strip()) or ("",)


def partial_of(item: Prompt, mark: str) -> Partial:
    """Return an item's steps; a mark that stands in its text by accident is left out.

    Without a mark nothing can tell steps apart: the text is one, less its line breaks at the end.
    """
    if not mark:
        return Partial(item.messages, (item.prefix.rstrip("\n"),))
    text = item.prefix.replace(mark, "") if mark.strip() else item.prefix
    return Partial(item.messages, split_steps(text))


def longest(partials: Iterable[Partial]) -> list[Partial]:
    """Return those that are no beginning of another, each once, in their order.

    A model that rewards every step rewards all others along with these.
    """
    distinct = dict.fromkeys(partials)
    inner = {start for partial in distinct for start in partial.beginnings()[:-1]}
    return [partial for partial in distinct if partial not in inner]


def mark_of_model(*names: str | None) -> str:
    """Guess what ends a step for a model of these names; "" for one that nobody knows."""
    for name in filter(None, names):
        for fragments, mark in MARKS:
            if all(fragment in name.lower() for fragment in fragments):
                return mark
    return ""
