"""Server-sent events as engines send them: one JSON document a `data:` line.

A document is whole at its line's end, so no event is assembled from several lines; comments (`:`,
keep-alives) and other fields (`event:`, `id:`) are skipped. Grammar:
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Iterator

from dynasor.engines.wire import NotTheProtocol, beginning

__all__ = ["DONE", "EventLines"]

DONE = b"[DONE]"

# A chunk holds one token; a megabyte without a line's end is not this protocol.
MAX_LINE_BYTES = 1 << 20


class EventLines:
    """Cut bytes, as they come, into the payloads of `data:` lines."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each payload that these bytes complete; raise `NotTheProtocol` on endless lines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise NotTheProtocol(f"a line without end: {beginning(self._rest)}")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
            elif line.startswith(b"{"):
                # Not an event: an error that an engine wrote into its own stream.
                yield line.strip()

    def last(self) -> Iterator[bytes]:
        """Yield the payload of a last line that has no line end."""
        yield from self.feed(b"\n")
