"""How many calls an engine is sent at once, where nobody knows how many it can run.

The window grows while a wider one gives more tokens a second, and shrinks where it gives none, so
that what is left over waits here, where its order can still change. Like the congestion window of
a connection: a search uphill for the knee of the throughput, and a multiplicative decrease when
the other side says that it is too much (Chiu and Jain, Computer Networks and ISDN Systems 17,
1989).

This file must not know of calls, queues or pools.
"""

from __future__ import annotations

from math import inf, log, sqrt

__all__ = ["Window"]

MOST = 4096
"""The widest window: beyond it a scheduler's own work would be what limits an engine."""
FEWEST = 32
"""Calls in an epoch at least: fewer say nothing about a mean."""
WORTH = 0.25
"""A window 1 % wider must give this many per cent more tokens a second to be worth it. An engine
whose step takes `a + b * calls` seconds is then driven to three quarters of what it can give."""
WIDEST_STEP, FINEST_STEP = 2.0, 1.25
"""Finer steps would be lost in the noise of an epoch's measurement."""
SHRINK, SHRINK_REFUSED = 0.8, 0.5
TOLERANCE = 0.1
"""Calls that may queue inside an engine, as a fraction of those that run: they fill the round trip
between two calls, as `SchedulerConfig.window_slack` does."""
REST, LONGEST_REST = 4, 16
"""Epochs between two looks around, doubling while they find nothing."""


class Window:
    """Learns one replica's window, `size` calls, from what ends in it.

    Throughput is measured by epochs of at least `FEWEST` ended calls, and of twice the window, all
    ended while the window was full: one that nobody fills says nothing about a wider one. It is the
    geometric mean of two measurements: tokens over the time in which they came, and, by Little's
    law, the window times tokens over the sum of the calls' times. The first one errs little while
    calls queue inside the engine; the second not at all while none does, however long they are. An
    epoch begins when a call ends that began under the present size, and holds a multiple of the
    window, so that calls that begin and end together are counted as often as they are waited for.

    The search compares two sizes by their elasticity, the growth of throughput over the growth of
    the window (both as logarithms), and keeps the wider one if that is at least `WORTH`. It steps
    on in the direction that was better; the step shrinks where neither is, and grows again while
    one is. Between two looks around it rests at what it found, and measures that anew.
    """

    __slots__ = (
        "_begun",
        "_calls",
        "_direction",
        "_is_interrupted",
        "_known",
        "_new_seconds",
        "_new_tokens",
        "_patience",
        "_rejected",
        "_rest",
        "_since",
        "_step",
        "_tokens",
        "_too_wide",
        "size",
    )

    def __init__(self, begin: int) -> None:
        """Start with a window of `begin` calls, at least 1."""
        self.size = max(1, min(begin, MOST))
        self._known: tuple[int, float] | None = None
        self._step = WIDEST_STEP
        self._direction = 1
        self._rejected = 0
        self._rest = 0
        self._patience = REST
        self._too_wide = MOST + 1
        self._since = -inf
        self._is_interrupted = False
        self._begun: float | None = None
        self._calls = self._tokens = self._new_tokens = 0
        self._new_seconds = 0.0

    def __repr__(self) -> str:
        return f"<Window {self.size}, {self._calls} calls into its epoch>"

    def interrupt(self) -> None:
        """Note that the window is not full: what has begun by now is not counted."""
        self._is_interrupted = True

    def ended(self, started: float, tokens: int, now: float) -> bool:
        """Count a call that ended well at `now` (seconds); return whether the size has changed."""
        if self._is_interrupted:
            self._is_interrupted = False
            self._since = now
            self._forget_epoch()
        is_new = started >= self._since
        if self._begun is None:
            self._begun = now if is_new else None
            return False
        self._calls += 1
        self._tokens += tokens
        if is_new:
            self._new_tokens += tokens
            self._new_seconds += now - started
        if self._calls < FEWEST or self._calls < 2 * self.size or self._calls % self.size:
            return False
        seconds = now - self._begun
        if not (seconds > 0 and self._new_seconds > 0 and self._new_tokens):
            return False
        littles = self.size * self._new_tokens / self._new_seconds
        return self._set(self._judge(sqrt(self._tokens / seconds * littles)), now)

    def queued(self, waiting: int, running: int, held: int, now: float) -> bool:
        """Note how many calls queue inside the engine; return whether the size has changed.

        `held` is how many it was sent and has not ended. While that is more than the window an
        earlier decrease has not shown yet.
        """
        if held > self.size or waiting <= 1 + TOLERANCE * running:
            return False
        least = running if running < self.size else 1  # what runs does not queue
        return self._shrink(max(least, int(self.size * SHRINK)), now)

    def refused(self, started: float, now: float) -> bool:
        """Note a call that was refused as one too many; return whether the size has changed.

        Those sent under a wider window say nothing about the present one.
        """
        if started <= self._since:
            return False
        return self._shrink(int(self.size * SHRINK_REFUSED), now)

    def _shrink(self, size: int, now: float) -> bool:
        """Decrease the window, and stay below the present size until nothing better is found."""
        self._too_wide = self.size
        self._known = None
        self._step, self._direction, self._rejected = FINEST_STEP, 1, 0
        self._rest, self._patience = REST, REST
        return self._set(min(size, self.size - 1), now)

    def _judge(self, rate: float) -> int:
        """Take an epoch's tokens a second; return the size of the next one."""
        if self._known is None or self._known[0] == self.size:
            self._known = (self.size, rate)
            self._rest -= 1
            return self.size if self._rest > 0 else self._try_next()
        size, known = self._known
        elasticity = log(rate / known) / log(self.size / size)
        if (elasticity >= WORTH) == (self.size > size):
            self._known = (self.size, rate)
            self._step = min(WIDEST_STEP, self._step * self._step)
            self._rejected, self._patience = 0, REST
        else:
            self._reject()
        return self._try_next()

    def _try_next(self) -> int:
        """Return the size to measure next: beside what is known, or that itself for a rest."""
        assert self._known is not None  # or there would be nothing to be beside
        size = self._known[0]
        while self._rejected < 2:
            beside = self._beside(size)
            if beside != size:
                return beside
            self._reject()
        self._rejected = 0
        if self._patience == LONGEST_REST:
            self._too_wide = MOST + 1
        self._rest, self._patience = self._patience, min(LONGEST_REST, 2 * self._patience)
        return size

    def _reject(self) -> None:
        self._rejected += 1
        self._direction = -self._direction
        self._step = max(FINEST_STEP, sqrt(self._step))

    def _beside(self, size: int) -> int:
        """Return the next size in the present direction, the same where it cannot go further."""
        if self._direction < 0:
            return max(1, min(size - 1, round(size / self._step)))
        return max(size, min(max(size + 1, round(size * self._step)), MOST, self._too_wide - 1))

    def _set(self, size: int, now: float) -> bool:
        self._forget_epoch()
        size = max(1, size)
        has_changed = size != self.size
        if has_changed:
            self.size, self._since = size, now
        return has_changed

    def _forget_epoch(self) -> None:
        self._begun = None
        self._calls = self._tokens = self._new_tokens = 0
        self._new_seconds = 0.0
