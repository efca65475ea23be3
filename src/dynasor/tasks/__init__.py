"""Kinds of question: how to ask them, where the answer stands, when two answers are the same.

Each task is one file; `tasks` is the registry. A task is pure text processing: what can be slow
is called `equal` and runs in `dynasor.workers`.
"""

from __future__ import annotations

from dynasor.core.errors import UnknownName
from dynasor.tasks.choice import ChoiceTask
from dynasor.tasks.expression import ExpressionTask
from dynasor.tasks.math import MathTask
from dynasor.tasks.open import OpenTask
from dynasor.tasks.protocol import GradedTask

__all__ = ["ChoiceTask", "ExpressionTask", "GradedTask", "MathTask", "OpenTask", "task", "tasks"]


def tasks() -> dict[str, GradedTask]:
    """Build every task afresh, by name."""
    every: tuple[GradedTask, ...] = (MathTask(), ChoiceTask(), ExpressionTask(), OpenTask())
    return {one.name: one for one in every}


def task(name: str) -> GradedTask:
    """Build the task of that name; raise `UnknownName` where there is none."""
    every = tasks()
    if name not in every:
        raise UnknownName("task", name, every)
    return every[name]
