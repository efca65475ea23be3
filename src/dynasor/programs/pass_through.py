"""A client's own request, passed on as it stands: one call, scheduled like any other.

Its answer goes to the client byte for byte while it arrives, so there is nothing to vote on here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dynasor.core.program import Ask, Context, Program, Sample, Strand
from dynasor.core.types import Answer, PolicySpec, Relay

__all__ = ["PassThrough"]


@dataclass
class PassThrough(Program):
    """One request of a client to one engine: `path` below `/v1`, `body` its JSON text."""

    name = "pass-through"
    usual_policy: ClassVar[PolicySpec | None] = PolicySpec("even", has_lock=False)
    unit = "request"

    question: str = ""
    cap: int = 1
    path: str = "/chat/completions"
    body: str = "{}"

    def execute(self, context: Context) -> Strand:
        """Pass the request on."""
        yield Ask()
        yield Sample(Relay(self.path, self.body))
        self.knob = 1

    def update_certaindex(self) -> dict[str, float]:
        """Return nothing: one answer says nothing about another."""
        return {}

    def answer(self) -> Answer | None:
        """Return nothing: the client has it already."""
        return None
