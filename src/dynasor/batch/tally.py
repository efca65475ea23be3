"""What a run has done so far, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from dynasor.api import Result

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """Counts of one run; tokens are those of this run.

    `total` is the lines of the input that are not blank; `found` of them were in the output
    already. `answered`, `failed` and `unusable` (lines that cannot be run) are written now.
    `even_tokens` estimates what even allocation would have spent on the answered questions: the
    mean tokens of a question's own branches times its cap.
    """

    total: int = 0
    found: int = 0
    answered: int = 0
    failed: int = 0
    unusable: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    answered_tokens: int = 0
    even_tokens: float = 0.0

    @property
    def written(self) -> int:
        """Records that this run wrote."""
        return self.answered + self.failed + self.unusable

    @property
    def done(self) -> int:
        """Lines that have a record."""
        return self.found + self.written

    @property
    def left(self) -> int:
        """Lines without a record."""
        return max(0, self.total - self.done)

    @property
    def saved_tokens(self) -> float:
        """The estimate of what even allocation would have spent on top."""
        return self.even_tokens - self.answered_tokens

    @property
    def saved_share(self) -> float:
        """The same as a fraction of even allocation; 0 while nothing is known."""
        return self.saved_tokens / self.even_tokens if self.even_tokens else 0.0

    def add(self, result: Result) -> None:
        """Count one question that ended."""
        spending = result.spending
        self.prompt_tokens += spending.prompt_tokens
        self.completion_tokens += spending.completion_tokens
        if result.error is not None:
            self.failed += 1
            return
        self.answered += 1
        if result.knob:
            self.answered_tokens += spending.completion_tokens
            self.even_tokens += result.cap * spending.finished_tokens / result.knob
