"""One attempt's way through a modelled engine with continuous batching."""

from __future__ import annotations

from dynasor.sim.engine import Attempt
from dynasor.sim.kv import Holding, Path

__all__ = ["Sequence"]


class Sequence:
    """An attempt that waits in an engine, or is in its batch.

    While it decodes it has generated `base` tokens and one more for each step since `began`,
    a count of decoding steps; `left` prompt tokens are to be computed before that. `stop` is the
    count at which its next report or its end comes, None while it does not decode; `place` is
    the number of its admission.
    """

    __slots__ = (
        "attempt", "base", "began", "holding", "id", "left", "path", "place", "program", "prompt",
        "stop",
    )  # fmt: skip

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.id = attempt.id
        self.program = attempt.submit.call.program
        self.path: Path = attempt.outcome.path
        self.prompt = max(1, sum(segment.tokens for segment in self.path))
        self.base = 0
        self.began = 0
        self.left = 0
        self.place = 0
        self.stop: int | None = None
        self.holding: Holding

    def done(self, count: int) -> int:
        """Return the tokens generated when so many steps have decoded."""
        return self.base if self.stop is None else self.base + count - self.began
