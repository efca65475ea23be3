"""Answers sorted by what they mean, whatever their words: for tasks answered in free text."""

from __future__ import annotations

from dynasor.core.errors import ConfigError
from dynasor.core.task import Task, takes_any_text
from dynasor.core.types import Prompt

__all__ = ["ByMeaning"]

EXACT = frozenset({"math", "choice", "expression", "code"})
"""Tasks whose answers one character sets apart; to an embedding 12 and 13 are nearly the same."""


class ByMeaning:
    """Another task, but texts that differ are never told apart at sight: the host is asked.

    What the task itself calls the same stays the same. Grading is not changed by a grouping and
    stays with the task. Raises `ConfigError` for a task whose answers are exact.
    """

    def __init__(self, task: Task) -> None:
        if task.name in EXACT:
            raise ConfigError(
                f"grouping 'meaning' cannot tell two answers of task {task.name!r} apart that "
                "differ in one number or sign; use it with task 'open', or leave it out"
            )
        self._task = task

    @property
    def name(self) -> str:
        """The task's own name: questions and results are the task's, however they are grouped."""
        return self._task.name

    @property
    def takes_any_text(self) -> bool:
        """Whether the task does."""
        return takes_any_text(self._task)

    def prompt(self, question: str) -> Prompt:
        """Ask as the task does."""
        return self._task.prompt(question)

    def extract(self, text: str) -> str | None:
        """Find the answer as the task does."""
        return self._task.extract(text)

    def same(self, left: str, right: str) -> bool | None:
        """Return True where the task does, else None: what differs may still mean the same."""
        return True if self._task.same(left, right) else None
