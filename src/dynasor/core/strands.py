"""Strands: the generators of one program, resumed one at a time.

This file knows which strand is ready, which waits for which, and how they end. What an operation
*means* is decided by `core.run`, which registers a handler for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dynasor.core.errors import ProgramFailed
from dynasor.core.program import Strand, Thread

__all__ = ["WAITS", "Handler", "Listener", "StrandState", "Strands"]

MAX_STEPS = 100_000
"""Steps one event may cause in one program: more is a program that never waits."""

WAITS: Any = object()
"""What a handler returns for a strand that must wait."""
Handler = Callable[[Any, "StrandState", Any], Any]
"""Takes the listener, the strand and its operation; returns the result, or `WAITS`."""


class StrandState:
    """One strand: its generator, and who waits for its end."""

    __slots__ = (
        "children",
        "generator",
        "is_done",
        "is_speculative",
        "joiners",
        "number",
        "result",
        "waits_for",
    )

    def __init__(self, number: int, generator: Strand, is_speculative: bool) -> None:
        self.number = number
        self.generator = generator
        self.is_speculative = is_speculative
        self.is_done = False
        self.result: Any = None
        self.children: list[StrandState] | None = None  # few strands fork, and one may fork many
        self.joiners: tuple[StrandState, ...] = ()
        self.waits_for: tuple[Thread, ...] = ()


class Listener(Protocol):
    """Who is told how strands end; also the first argument of every handler."""

    def ended(self, strand: StrandState) -> None:
        """Note that a strand ended by itself: it waits for nothing."""

    def cancelled(self, strand: StrandState) -> None:
        """Note that a strand was cancelled, whatever it waited for."""


class Strands:
    """All strands of one program and the queue of those that can go on.

    `steps` counts those taken since the event began.
    """

    __slots__ = ("_handlers", "_listener", "_ready", "all", "live", "steps")

    def __init__(self, handlers: Mapping[type, Handler], listener: Listener) -> None:
        self._handlers = handlers
        self._listener = listener
        self._ready: list[tuple[StrandState, Any, Exception | None]] = []
        self.all: list[StrandState] = []
        self.live = 0
        self.steps = 0

    def start(
        self, generator: Strand, parent: StrandState | None = None, is_speculative: bool = False
    ) -> StrandState:
        """Add a strand; it takes its first step with the next `run`."""
        if not hasattr(generator, "send"):
            raise ProgramFailed(
                f"a strand must be a generator, not {type(generator).__name__}: "
                "does the function yield anything?"
            )
        inherits = parent is not None and parent.is_speculative
        strand = StrandState(len(self.all), generator, is_speculative or inherits)
        self.all.append(strand)
        self.live += 1
        if parent is not None:
            if parent.children is None:
                parent.children = []
            parent.children.append(strand)
        self.resume(strand, None)
        return strand

    def resume(self, strand: StrandState, value: object) -> None:
        """Let a strand go on with the result of its operation."""
        self._ready.append((strand, value, None))

    def throw(self, strand: StrandState, error: Exception) -> None:
        """Let a strand go on with an exception at its yield."""
        self._ready.append((strand, None, error))

    def run(self) -> None:
        """Step until every strand waits; raises whatever a strand raises."""
        ready = self._ready
        for strand, value, error in ready:  # which grows meanwhile
            if not strand.is_done:
                self._step(strand, value, error)
        ready.clear()

    def _step(self, strand: StrandState, value: Any, error: Exception | None) -> None:
        """Let a strand go on until it must wait or has ended."""
        generator, handlers = strand.generator, self._handlers
        while value is not WAITS:
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise ProgramFailed(f"the program took {MAX_STEPS} steps without waiting")
            try:
                operation = generator.send(value) if error is None else generator.throw(error)
            except StopIteration as stop:
                self._finish(strand, stop.value)
                self._listener.ended(strand)
                return
            handler = handlers.get(type(operation))
            if handler is None:
                raise self._unknown(operation)
            value, error = handler(self._listener, strand, operation), None

    def join(self, strand: StrandState, threads: tuple[Thread, ...]) -> object:
        """Return what strands have returned, or let this one wait until all have ended."""
        targets = [self.all[thread.number] for thread in threads]
        if all(target.is_done for target in targets):
            return tuple(target.result for target in targets)
        strand.waits_for = threads
        for number in dict.fromkeys(thread.number for thread in threads):
            if not self.all[number].is_done:
                self.all[number].joiners += (strand,)
        return WAITS

    def cancel(self, strand: StrandState) -> None:
        """End a strand and those it forked at their yields; the listener is told of each."""
        for child in strand.children or ():
            self.cancel(child)
        if not strand.is_done:
            strand.generator.close()
            self._finish(strand, None)
            self._listener.cancelled(strand)

    def close_all(self) -> list[Exception]:
        """End every strand, the youngest first; return what their `finally` blocks raised."""
        errors: list[Exception] = []
        for strand in reversed(self.all):
            if strand.is_done:
                continue
            strand.is_done = True
            try:
                strand.generator.close()
            except Exception as exc:  # noqa: BLE001 - a program's own code raised it
                errors.append(exc)
        self.live = 0
        self.all.clear()
        self._ready.clear()
        return errors

    def _unknown(self, operation: object) -> ProgramFailed:
        known = ", ".join(kind.__name__ for kind in self._handlers)
        return ProgramFailed(f"a strand yielded {type(operation).__name__}; it may yield {known}")

    def _finish(self, strand: StrandState, result: object) -> None:
        strand.is_done = True
        strand.result = result
        self.live -= 1
        for joiner in strand.joiners:
            self._try_join(joiner)

    def _try_join(self, strand: StrandState) -> None:
        targets = [self.all[thread.number] for thread in strand.waits_for]
        if not strand.is_done and all(target.is_done for target in targets):
            self.resume(strand, tuple(target.result for target in targets))
