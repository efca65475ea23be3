"""What graders and workers need of a task beyond what the core must know."""

from __future__ import annotations

from typing import Protocol

from dynasor.core.task import Task

__all__ = ["GradedTask"]


class GradedTask(Task, Protocol):
    """A task whose answers can be compared for good and graded against a reference.

    All methods take text of any script and never raise; only `equal` may be slow.
    """

    @property
    def runs_programs(self) -> bool:
        """Whether grading runs the answer as a program, which takes a sandbox and consent."""

    def prepare(self) -> None:
        """Load what `equal` needs, so that a worker's first comparison starts at once."""

    def equal(self, answer: str, reference: str) -> bool:
        """Say for good whether `answer` means the same as `reference`.

        May take forever, or end the process: call it in a worker only. Need not be symmetric.
        Not called for pairs that `same` decides.
        """

    def grade(self, question: str, answer: str | None, gold: str) -> bool | None:
        """Say at once whether `answer` is right; None where `equal(answer, gold)` decides.

        No answer (None) is wrong. Where `runs_programs`, None means that running it against
        `gold`, a program that raises when the answer is wrong, decides.
        """
