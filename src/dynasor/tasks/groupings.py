"""Groupings by name: each takes a task and returns one whose `same` sorts answers its way."""

from __future__ import annotations

from collections.abc import Callable

from dynasor.core.task import Task
from dynasor.tasks.meaning import ByMeaning

__all__ = ["BY_MEANING", "BY_TASK", "Grouping", "groupings"]

Grouping = Callable[[Task], Task]
"""Returns the task that decides at sight, or leaves to its host, which answers are the same."""

BY_TASK = "task"
BY_MEANING = "meaning"


def groupings() -> dict[str, Grouping]:
    """Return every grouping that ships, by name."""
    return {BY_TASK: _unchanged, BY_MEANING: ByMeaning}


def _unchanged(task: Task) -> Task:
    return task
