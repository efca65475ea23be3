"""What the core must know of a task: pure functions of text, nothing that can be slow."""

from __future__ import annotations

from typing import Protocol

from dynasor.core.types import Prompt

__all__ = ["Task", "takes_any_text"]


class Task(Protocol):
    """A kind of question: how to ask it, where its answer stands, and when two are the same."""

    @property
    def name(self) -> str:
        """The name it is registered under."""

    def prompt(self, question: str) -> Prompt:
        """Return the prompt that asks `question`."""

    def extract(self, text: str) -> str | None:
        """Return the short answer that a completion ends in, None where there is none."""

    def same(self, left: str, right: str) -> bool | None:
        """Say at once whether two answers mean the same; None where that takes a worker."""


def takes_any_text(task: Task) -> bool:
    """Say whether a task takes any text for an answer, so that having one is no sign of the end.

    Such tasks (free text, code) say so by a true attribute `takes_any_text`.
    """
    return bool(getattr(task, "takes_any_text", False))
