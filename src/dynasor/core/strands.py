"""Strands: the generators of one program, resumed one at a time.

This file knows which strand is ready, which waits for which, and how they end. What an operation
*means* is decided by `core.run`, which registers a handler for each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from dynasor.core.errors import ProgramFailed
from dynasor.core.program import Strand, Thread

__all__ = ["StrandState", "Strands"]

MAX_STEPS = 100_000
"""Steps one event may cause in one program: more is a program that never waits."""

Handler = Callable[["StrandState", Any], None]


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
        self.children: list[StrandState] = []
        self.joiners: list[StrandState] = []
        self.waits_for: tuple[Thread, ...] = ()


class Strands:
    """All strands of one program and the queue of those that can go on.

    `on_end` is told of every strand that ended by itself.
    """

    __slots__ = ("_handlers", "_on_end", "_ready", "all", "live")

    def __init__(self, handlers: dict[type, Handler], on_end: Callable[[StrandState], None]):
        self._handlers = handlers
        self._on_end = on_end
        self._ready: deque[tuple[StrandState, Any, Exception | None]] = deque()
        self.all: list[StrandState] = []
        self.live = 0

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
        steps = 0
        while self._ready:
            strand, value, error = self._ready.popleft()
            if not strand.is_done:
                self._step(strand, value, error)
            steps += 1
            if steps > MAX_STEPS:
                raise ProgramFailed(f"the program took {MAX_STEPS} steps without waiting")

    def join(self, strand: StrandState, threads: tuple[Thread, ...]) -> None:
        """Let a strand wait for others; at once if all have ended."""
        strand.waits_for = threads
        targets = [self.all[thread.number] for thread in threads]
        for target in targets:
            if not target.is_done:
                target.joiners.append(strand)
        self._try_join(strand)

    def cancel(self, strand: StrandState) -> None:
        """End a strand and those it forked at their yields; `on_end` is told of each."""
        for child in strand.children:
            self.cancel(child)
        if not strand.is_done:
            strand.generator.close()
            self._finish(strand, None)
            self._on_end(strand)

    def close_all(self) -> list[Exception]:
        """End every strand, the youngest first; return what their `finally` blocks raised."""
        errors: list[Exception] = []
        self._ready.clear()
        for strand in reversed(self.all):
            if strand.is_done:
                continue
            strand.is_done = True
            try:
                strand.generator.close()
            except Exception as exc:
                errors.append(exc)
        self.live = 0
        self.all.clear()
        return errors

    def _step(self, strand: StrandState, value: object, error: Exception | None) -> None:
        try:
            if error is None:
                operation = strand.generator.send(value)
            else:
                operation = strand.generator.throw(error)
        except StopIteration as stop:
            self._finish(strand, stop.value)
            self._on_end(strand)
            return
        handler = self._handlers.get(type(operation))
        if handler is None:
            known = ", ".join(kind.__name__ for kind in self._handlers)
            raise ProgramFailed(
                f"a strand yielded {type(operation).__name__}; it may yield {known}"
            )
        handler(strand, operation)

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
