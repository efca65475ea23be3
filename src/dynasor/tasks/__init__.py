"""Kinds of question: how to ask them, where the answer stands, when two answers are the same.

Each task is one file; `tasks` is the registry. A task is pure text processing: what can be slow
is called `equal` and runs in `dynasor.workers`.
"""

from __future__ import annotations

from dynasor.core.errors import UnknownName
from dynasor.installed import installed
from dynasor.tasks.choice import ChoiceTask
from dynasor.tasks.code import CodeTask
from dynasor.tasks.expression import ExpressionTask
from dynasor.tasks.math import MathTask
from dynasor.tasks.open import OpenTask
from dynasor.tasks.protocol import GradedTask

__all__ = [
    "ChoiceTask",
    "CodeTask",
    "ExpressionTask",
    "GradedTask",
    "MathTask",
    "OpenTask",
    "task",
    "tasks",
]


def tasks() -> dict[str, GradedTask]:
    """Build every task afresh, by name: those that ship, and those that packages register."""
    every: tuple[GradedTask, ...] = (
        MathTask(),
        ChoiceTask(),
        ExpressionTask(),
        CodeTask(),
        OpenTask(),
    )
    shipped: dict[str, GradedTask] = {one.name: one for one in every}
    return shipped | {name: make() for name, make in installed("tasks").items()}


def task(name: str) -> GradedTask:
    """Build the task of that name; raise `UnknownName` where there is none."""
    every = tasks()
    if name not in every:
        raise UnknownName("task", name, every)
    return every[name]
