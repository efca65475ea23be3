"""Requests as an engine's scheduler sees them: the fields that the plug-in reads, and no engine."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from dynasor.plugins.settings import PluginSettings
from dynasor.plugins.waiting import Prefill, RankedRequests


@dataclass(eq=False)
class Request:
    """One request; the test moves its counts on."""

    request_id: str
    session_id: str | None = None
    extra_args: dict[str, Any] | None = None
    num_tokens: int = 10
    num_computed_tokens: int = 0
    num_output_tokens: int = 0
    block_hashes: list[bytes] = field(default_factory=list)
    reason: str | None = None

    @property
    def sampling_params(self) -> SimpleNamespace:
        return SimpleNamespace(extra_args=self.extra_args)

    def get_finished_reason(self) -> str | None:
        return self.reason

    def end(self, tokens: int, reason: str = "stop") -> None:
        self.num_output_tokens, self.reason = tokens, reason


def hinted(name: str, session: str | None, left: float, tokens: float = 10, **more: Any) -> Request:
    hints = {"dynasor_knob_left": left, "dynasor_tokens_per_knob": tokens}
    return Request(name, session, hints | {f"dynasor_{key}": one for key, one in more.items()})


class Bench:
    """A queue and the clock that it reads."""

    def __init__(self, prefill: Prefill | None = None, slots: int = 8, **settings: Any) -> None:
        self.now = 100.0
        chosen = PluginSettings(**settings)
        self.queue: RankedRequests[Request] = RankedRequests(
            chosen, slots, prefill or Prefill(), lambda: self.now
        )

    def add(self, *requests: Request) -> None:
        for request in requests:
            self.queue.add_request(request)

    def drain(self) -> list[str]:
        """Take everything that may start."""
        self.queue.begin_step(())
        names = []
        while self.queue:
            names.append(self.queue.pop_request().request_id)
        return names
