"""What a run over many questions counts, and who watches it: of `batch` and of `record`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dynasor.core.types import Spending

__all__ = ["RunTally", "Watcher"]


@dataclass(slots=True)
class RunTally(ABC):
    """Counts of one run; tokens are those of this run.

    Of `total` questions `found` were in the output already, and `failed` have failed now.
    """

    total: int = 0
    found: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    @abstractmethod
    def ended(self) -> int:
        """Questions that this run is through with, however they went."""

    @property
    def troubles(self) -> int:
        """Those of them that went wrong."""
        return self.failed

    @property
    def done(self) -> int:
        """Questions that need nothing more in this run."""
        return self.found + self.ended

    @property
    def left(self) -> int:
        """Questions that are still to end."""
        return max(0, self.total - self.done)

    @property
    def saved_share(self) -> float | None:
        """Tokens saved, as a fraction of even allocation's; None while nothing is known of it."""
        return None

    def bill(self, spending: Spending) -> None:
        """Count what a question has cost."""
        self.prompt_tokens += spending.prompt_tokens
        self.completion_tokens += spending.completion_tokens


TallyT_contra = TypeVar("TallyT_contra", bound=RunTally, contravariant=True)


class Watcher(Protocol[TallyT_contra]):
    """Whoever wants to see how a run goes. Neither method may raise."""

    def moved(self, tally: TallyT_contra) -> None:
        """Take note that the tally has changed; it is one object, and goes on changing."""

    def warn(self, message: str) -> None:
        """Take note of something odd that does not stop the run."""
