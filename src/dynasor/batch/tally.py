"""What a run has done so far, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from dynasor.api import Result
from dynasor.tally import RunTally

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally(RunTally):
    """Counts of one run; tokens are those of this run.

    `total` is the lines of the input that are not blank; `found` of them were in the output
    already. `answered`, `failed` and `unusable` (lines that cannot be run) are written now.
    `even_tokens` estimates what even allocation would have spent on the answered questions: the
    mean tokens of a question's own branches times its cap.
    """

    answered: int = 0
    unusable: int = 0
    answered_tokens: int = 0
    even_tokens: float = 0.0

    @property
    def ended(self) -> int:
        """Records that this run wrote."""
        return self.answered + self.troubles

    @property
    def troubles(self) -> int:
        """Those of them that are no answer."""
        return self.failed + self.unusable

    @property
    def saved_tokens(self) -> float:
        """The estimate of what even allocation would have spent on top."""
        return self.even_tokens - self.answered_tokens

    @property
    def saved_share(self) -> float | None:
        """The same as a fraction of even allocation; None while nothing is known."""
        return self.saved_tokens / self.even_tokens if self.even_tokens else None

    def add(self, result: Result) -> None:
        """Count one question that ended."""
        spending = result.spending
        self.bill(spending)
        if result.error is not None:
            self.failed += 1
            return
        self.answered += 1
        if result.knob:
            self.answered_tokens += spending.completion_tokens
            self.even_tokens += result.cap * spending.finished_tokens / result.knob
