"""A modelled engine with continuous batching: chunked prefill, paged KV, preemption.

Every step decodes one token of each running sequence and computes prompt tokens of those that
still have some, first admitted first, within a budget of tokens. Calls come and go between steps;
whoever finds no memory left at the next step preempts the call that was admitted last, which
gives up its blocks and is computed again later (vLLM's recomputation). The first token of a
completion comes with the last of its prompt's steps.

Lengths are known when a call is admitted, so no step is looked at that changes nothing: from
one finish, report, admission or shortage of memory to the next the engine goes in one stretch,
whose time and memory have a closed form. A call that comes, or is aborted, while a step runs
counts from that step's end; one step's reports and ends come in order of admission. Who has
found no memory is tried again when somebody comes, ends or is preempted (as SGLang does; vLLM
tries at each step, to no other effect). tests/toys/stepwise.py has the same rules step by step.

This file must not know of schedulers or programs, beyond the name by which calls share.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import inf
from typing import Protocol

from msgspec import Struct

from dynasor.core.events import Cancelled, Failed
from dynasor.core.types import Usage
from dynasor.sim.engine import Attempt, Ending, ending, report
from dynasor.sim.engine_model import EngineModel, EngineTotals
from dynasor.sim.kv import PagedCache
from dynasor.sim.sequence import Sequence
from dynasor.sim.waiting import Waiting, make_waiting

__all__ = ["BatchEngine", "EngineModel", "EngineTotals", "Listener"]


class Listener(Protocol):
    """Who is told when attempts enter and leave the batch, at time `now` (seconds)."""

    def entered(self, attempt: Attempt, now: float) -> None:
        """Note that an attempt runs."""

    def left(self, attempt: Attempt, now: float) -> None:
        """Note that an attempt runs no more: it ended, or was preempted."""


class _Stretch(Struct):
    """Equal steps that the engine is in: `steps` of them, each computing `prefill` tokens.

    The first also takes in `calls` that were not in the batch before.
    """

    steps: int
    prefill: int
    sequences: int
    kv_tokens: int
    calls: int


class BatchEngine:
    """Runs attempts as `EngineModel` says; `slots` (default `max_running`) is what it announces."""

    def __init__(
        self, model: EngineModel, slots: int | None = None, listener: Listener | None = None
    ) -> None:
        self.model = model
        self._listener = listener
        self.slots = model.max_running if slots is None else slots
        self.wake = inf
        self.totals = EngineTotals()
        self.cache = PagedCache(model.kv_blocks, model.block_tokens, model.eviction)
        self.waiting: Waiting[Sequence] = make_waiting(model.order)
        self.running: dict[str, Sequence] = {}
        self._clock = 0.0
        self._count = 0  # steps that decoded, ever: the sequences' own clock
        self._context = 0  # tokens that the decoding sequences will read in the next step
        self._decoding = 0
        self._pages = [0] * model.block_tokens  # sequences that need a block at count = i mod size
        self._prefills: deque[Sequence] = deque()
        self._stops: list[tuple[int, int, Sequence]] = []
        self._stretch: _Stretch | None = None
        self._aborting: list[Sequence] = []
        self._ended: deque[Ending] = deque()
        self._is_short = False
        self._serial = 0
        self._coming = 0  # calls that come into the batch with the next step

    def __repr__(self) -> str:
        return f"<BatchEngine {len(self.running)} running, {len(self.waiting)} wait, {self.cache}>"

    # What a host does.

    def add(self, attempt: Attempt, now: float) -> Ending | None:
        """Queue an attempt; one whose tokens would never fit into memory is refused."""
        sequence = Sequence(attempt)
        tokens = sequence.prompt + max(0, attempt.outcome.tokens - 1)
        if self.cache.blocks_of(tokens) > self.model.kv_blocks:
            self.totals.refused += 1
            message = (
                f"{sequence.prompt} prompt tokens and {attempt.outcome.tokens} more need "
                f"{tokens} tokens of KV cache; the engine has {self.model.kv_tokens}"
            )
            return Failed(
                attempt.id, attempt.submit.attempt, "EngineRefused", message, is_retryable=False
            )
        self.waiting.add(sequence)
        if not (self._is_short and self.model.order == "fcfs"):
            self._look_again(now)
        return None

    def abort(self, call: str, now: float) -> Ending | None:
        """Stop an attempt: at once if it waits, at the end of the present step if it runs."""
        sequence = self.waiting.remove(call)
        if sequence is not None:
            self._look_again(now)  # whoever waited behind it may fit
            return self._cancelled(sequence)
        sequence = self.running.get(call)
        if sequence is not None:
            self._aborting.append(sequence)
            self._cut(now)
        return None

    def take(self, now: float) -> Ending | None:
        """Return the next thing that has come about by the end of a step."""
        if not self._ended and self._stretch is not None and self.wake <= now:
            self._clock = self.wake
            self._commit(self._stretch)
            self._stretch = None
        if self._stretch is None and self._aborting:
            self._stop_aborted()
        return self._ended.popleft() if self._ended else None

    def go_on(self, now: float) -> None:
        """Between two steps: make room, admit who waits, and plan up to the next event."""
        if self._stretch is not None:
            return
        self._clock = max(self._clock, now)
        has_preempted = self._make_room()
        if not (has_preempted or self._is_short):
            self._admit()
        if not self.running:
            self.wake = inf
            return
        self._stretch = stretch = self._plan()
        if has_preempted and self.model.order != "fcfs":
            stretch.steps = 1  # another than the preempted may come first, and fit
        self.wake = self._clock + self._seconds(stretch, stretch.steps)

    def retire(self, program: str) -> None:
        """Let what is cached of a program go first, where the model's eviction asks for that."""
        self.cache.retire(program)
        self.waiting.retire(program)

    # Planning.

    def _make_room(self) -> bool:
        """Preempt until all that decode can take their next step; return whether one had to."""
        was_short = False
        while self._pages[self._count % len(self._pages)] > self.cache.available:
            was_short = True
            sequence = self.running[next(reversed(self.running))]
            self._leave(sequence)
            self.totals.preemptions += 1
            self.waiting.put_back(sequence)
        return was_short

    def _admit(self) -> None:
        """Admit who waits, by the engine's order, while slots, memory and budget last."""
        waiting, running = self.waiting, self.running
        room = self.model.token_budget - self._decoding - sum(one.left for one in self._prefills)
        next_pages = self._pages[self._count % len(self._pages)]
        while len(waiting) and len(running) < self.model.max_running and room > 0:
            sequence = waiting.head(self.cache)
            assert sequence is not None  # somebody waits
            tokens = sequence.prompt + sequence.base
            found = min(self.cache.found(sequence.path), tokens - 1)
            holding = self.cache.hold(sequence.path, tokens, sequence.program, next_pages)
            if holding is None:
                self._is_short = True
                return
            waiting.remove(sequence.id)
            sequence.holding = holding
            found -= found % self.model.block_tokens
            sequence.left = tokens - found
            room -= sequence.left
            self.totals.cached += found
            self._serial += 1
            if not sequence.place:  # one that was preempted has been here
                self._coming += 1
            sequence.place = self._serial
            running[sequence.id] = sequence
            self._prefills.append(sequence)
            if self._listener is not None:
                self._listener.entered(sequence.attempt, self._clock)

    def _plan(self) -> _Stretch:
        """Return the longest stretch of equal steps from here."""
        steps = self._steps_of_memory()
        if self._stops:
            while self._stops and self._stops[0][2].stop != self._stops[0][0]:
                heappop(self._stops)  # of a sequence that has left meanwhile
            if self._stops:
                steps = min(steps, self._stops[0][0] - self._count)
        prefill = 0
        if self._prefills:
            room = self.model.token_budget - self._decoding
            first = self._prefills[0].left
            if first > room:
                prefill = room
                steps = min(steps, (first - 1) // room)
            else:
                prefill = min(room, sum(one.left for one in self._prefills))
                steps = 1
        calls, self._coming = self._coming, 0
        return _Stretch(steps, prefill, self._decoding, self._context, calls)

    def _steps_of_memory(self) -> int:
        """Return for how many steps all that decode find the blocks they need."""
        if not self._decoding:
            return 1 << 40  # without them only prompts are computed, whose blocks are held
        size = len(self._pages)
        rounds, left = divmod(self.cache.available, self._decoding)
        steps = rounds * size
        for place in range(size):
            left -= self._pages[(self._count + place) % size]
            if left < 0:
                break
            steps += 1
        return steps

    def _pages_of(self, steps: int) -> int:
        """Return how many blocks the sequences that decode need for so many steps."""
        size = len(self._pages)
        rounds, rest = divmod(steps, size)
        return rounds * self._decoding + sum(
            self._pages[(self._count + place) % size] for place in range(rest)
        )

    def _seconds(self, stretch: _Stretch, steps: int) -> float:
        load = (stretch.prefill, stretch.sequences, stretch.kv_tokens)
        return self._entry_seconds(stretch) + self.model.step.stretch(steps, *load)

    def _entry_seconds(self, stretch: _Stretch) -> float:
        return self.model.call_seconds * stretch.calls

    def _look_again(self, now: float) -> None:
        """Try to admit somebody after the step that runs now."""
        self._is_short = False
        if len(self.running) < self.model.max_running:
            self._cut(now)

    def _cut(self, now: float) -> None:
        """Let the present stretch end with the step that runs now."""
        stretch = self._stretch
        if stretch is None or stretch.steps == 1 or now >= self.wake:
            return
        since = now - self._clock - self._entry_seconds(stretch)
        load = (stretch.prefill, stretch.sequences, stretch.kv_tokens)
        whole = self.model.step.steps_within(since, *load)
        if whole + 1 < stretch.steps:
            stretch.steps = whole + 1
            self.wake = max(now, self._clock + self._seconds(stretch, stretch.steps))

    # Carrying out.

    def _commit(self, stretch: _Stretch) -> None:
        """Do a stretch: count its tokens, take its blocks, note what has ended."""
        totals, steps = self.totals, stretch.steps
        seconds = self._seconds(stretch, steps)
        before = self.cache.used
        self.cache.grow(self._pages_of(steps))
        totals.steps += steps
        totals.busy_seconds += seconds
        totals.kv_block_seconds += seconds * (before + self.cache.used) / 2
        totals.kv_most = max(totals.kv_most, self.cache.used)
        totals.generated += steps * stretch.sequences
        totals.prefilled += steps * stretch.prefill
        self._count += steps
        self._context += steps * stretch.sequences
        if self._prefills:
            self._prefill(steps * stretch.prefill)
        while self._stops and self._stops[0][0] <= self._count:
            stop, _, sequence = heappop(self._stops)
            if sequence.stop == stop:
                self._stopped(sequence)

    def _prefill(self, tokens: int) -> None:
        """Compute so many prompt tokens, first admitted first."""
        while tokens:
            sequence = self._prefills[0]
            done = min(tokens, sequence.left)
            sequence.left -= done
            tokens -= done
            if sequence.left == 0:
                self._prefills.popleft()
                self._begin(sequence)

    def _begin(self, sequence: Sequence) -> None:
        """Let a sequence decode whose prompt is computed: its next token came with it."""
        attempt = sequence.attempt
        if sequence.base < attempt.outcome.tokens:
            sequence.base += 1
            self.totals.generated += 1
        sequence.began = self._count
        self._decoding += 1
        self._context += sequence.prompt + sequence.base
        self._pages[self._page(sequence)] += 1
        self._plan_stop(sequence)

    def _plan_stop(self, sequence: Sequence) -> None:
        """Plan a sequence's next report, or its end."""
        tokens, every = sequence.attempt.outcome.tokens, sequence.attempt.report_every
        stop = tokens
        if every:
            done = sequence.done(self._count) if sequence.stop is not None else sequence.base - 1
            stop = min(tokens, (done // every + 1) * every)
        sequence.stop = sequence.began + stop - sequence.base
        heappush(self._stops, (sequence.stop, sequence.place, sequence))

    def _stopped(self, sequence: Sequence) -> None:
        """Note a report or an end that a sequence has come to."""
        attempt, done = sequence.attempt, sequence.done(self._count)
        every, tokens = attempt.report_every, attempt.outcome.tokens
        if every and done and done % every == 0:
            self._ended.append(report(attempt, done))
        if done < tokens:
            self._plan_stop(sequence)
            return
        self._leave(sequence)
        self._ended.append(ending(attempt))

    def _stop_aborted(self) -> None:
        for sequence in self._aborting:
            if self.running.get(sequence.id) is sequence:
                self._leave(sequence)
                self._ended.append(self._cancelled(sequence))
        self._aborting.clear()

    def _leave(self, sequence: Sequence) -> None:
        """Take a sequence out of the batch and give its memory back."""
        del self.running[sequence.id]
        self._is_short = False
        if self._listener is not None:
            self._listener.left(sequence.attempt, self._clock)
        if sequence.stop is None:
            self._prefills.remove(sequence)
            held = sequence.prompt + sequence.base
            self.cache.forget(sequence.holding, held - sequence.left)
            self.cache.release(sequence.holding, held)
            return
        done = sequence.done(self._count)
        computed = sequence.prompt + max(0, done - 1)  # the newest would be the next step's
        self._decoding -= 1
        self._context -= sequence.prompt + done
        self._pages[self._page(sequence)] -= 1
        is_whole = done >= sequence.attempt.outcome.tokens
        key = sequence.attempt.outcome.key if is_whole else ""
        self.cache.release(sequence.holding, computed, key, sequence.program)
        sequence.base, sequence.stop = done, None

    def _page(self, sequence: Sequence) -> int:
        """Return at which counts, modulo a block, the sequence begins a new block.

        At `count` it computes the KV of its newest token, the one numbered prompt + base + count -
        began: the first of a block whenever that number minus one is a multiple of the block.
        """
        first = sequence.prompt + sequence.base - 1
        return (sequence.began - first) % self.model.block_tokens

    def _cancelled(self, sequence: Sequence) -> Cancelled:
        attempt, done = sequence.attempt, sequence.base
        usage = Usage(sequence.prompt if done else 0, done)
        return Cancelled(attempt.id, attempt.submit.attempt, usage)
