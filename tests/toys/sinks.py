"""Where relayed answers go in tests of engines and of the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Sink"]


@dataclass
class Sink:
    """Keeps what it is given; `body` is all of it."""

    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 0
    answer_headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    is_whole: bool = False

    @property
    def has_begun(self):
        return bool(self.parts)

    @property
    def body(self):
        return b"".join(self.parts)

    def begin(self, status, headers):
        self.status = status
        self.answer_headers = {n.decode().lower(): v.decode() for n, v in headers}

    async def write(self, data):
        self.parts.append(data)

    async def finish(self):
        self.is_whole = True
