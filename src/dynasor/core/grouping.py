"""Sorting one program's answers into classes of equal meaning.

Equal strings, and whatever the task decides at once, never leave this file; the rest is put to a
worker, one batch at a time, and only against one representative a class.
"""

from __future__ import annotations

from dynasor.core.errors import IllegalTransition
from dynasor.core.task import Task

__all__ = ["Grouping"]


class Grouping:
    """The answer classes of one program: integers in order of appearance.

    `representatives[c]` is the first answer of class `c`; `serial` numbers the comparison that is
    outstanding, or was the last; `failures` counts comparisons that timed out or crashed.
    """

    __slots__ = ("_batch", "_known", "_task", "_waiting", "failures", "representatives", "serial")

    def __init__(self, task: Task) -> None:
        self._task = task
        self._known: dict[str, int] = {}
        self._waiting: list[tuple[int, str]] = []
        self._batch: tuple[str, ...] = ()
        self.representatives: list[str] = []
        self.serial = 0
        self.failures = 0

    @property
    def has_waiting(self) -> bool:
        """Whether a strand waits for a class."""
        return bool(self._waiting)

    @property
    def is_outstanding(self) -> bool:
        """Whether a comparison is with the workers."""
        return bool(self._batch)

    def place(self, answer: str) -> int | None:
        """Return the class of an answer if that can be said at once, else None."""
        known = self._known.get(answer)
        if known is not None:
            return known
        is_open = self.is_outstanding
        for group, representative in enumerate(self.representatives):
            verdict = self._task.same(answer, representative)
            if verdict:
                self._known[answer] = group
                return group
            is_open = is_open or verdict is None
        return None if is_open else self._new_class(answer)

    def wait(self, strand: int, answer: str) -> None:
        """Let a strand wait for its answer's class."""
        self._waiting.append((strand, answer))

    def next_batch(self) -> tuple[str, ...]:
        """Return the answers to compare next and note them as outstanding; empty for none."""
        if self._batch or not self._waiting:
            return ()
        self._batch = tuple(dict.fromkeys(answer for _, answer in self._waiting))
        self.serial += 1
        return self._batch

    def check(self, classes: tuple[int, ...]) -> None:
        """Raise `IllegalTransition` unless `classes` is a possible verdict on the batch."""
        base = len(self.representatives)
        ok = len(classes) == len(self._batch) and all(
            0 <= index <= base + place for place, index in enumerate(classes)
        )
        if not ok:
            raise IllegalTransition(
                f"classes {classes} do not fit {base} representatives and "
                f"{len(self._batch)} new answers"
            )

    def resolve(self, classes: tuple[int, ...]) -> list[tuple[int, int]]:
        """Take the verdict on the batch; return `(strand, class)` for all that can go on."""
        base = len(self.representatives)
        batch, self._batch = self._batch, ()
        for place, (answer, index) in enumerate(zip(batch, classes, strict=True)):
            if index < base:
                self._known[answer] = index
            elif index == base + place:
                self._new_class(answer)
            else:
                self._known[answer] = self._known[batch[index - base]]
        waiting, self._waiting = self._waiting, []
        placed: list[tuple[int, int]] = []
        for strand, answer in waiting:
            group = self.place(answer)
            if group is None:
                self._waiting.append((strand, answer))
            else:
                placed.append((strand, group))
        return placed

    def _new_class(self, answer: str) -> int:
        group = len(self.representatives)
        self.representatives.append(answer)
        self._known[answer] = group
        return group
