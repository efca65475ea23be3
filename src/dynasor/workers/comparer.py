"""Who sorts answers that a task cannot sort at sight: one interface, one comparer a task."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Comparer", "Comparers"]


class Comparer(Protocol):
    """Sorts answers into classes off the event loop: processes, an embedding model, or yours."""

    async def compare(
        self, task: str, representatives: tuple[str, ...], new: tuple[str, ...]
    ) -> tuple[tuple[int, ...], int]:
        """Return `Grouped.classes` and `Grouped.failures`.

        For each new answer the index, in `representatives + new`, of its class: a representative,
        an earlier new answer that founds a class, or itself. `failures` counts what could not be
        compared and was held to be different.
        """


class Comparers:
    """Comparers by task, and the one for all tasks that have none of their own."""

    def __init__(self, default: Comparer) -> None:
        self._default = default
        self._by_task: dict[str, Comparer] = {}

    def use(self, comparer: Comparer, task: str) -> None:
        """Have the answers of `task` sorted by `comparer` from now on."""
        self._by_task[task] = comparer

    async def compare(
        self, task: str, representatives: tuple[str, ...], new: tuple[str, ...]
    ) -> tuple[tuple[int, ...], int]:
        """Let the task's comparer sort; see `Comparer`."""
        comparer = self._by_task.get(task, self._default)
        return await comparer.compare(task, representatives, new)
