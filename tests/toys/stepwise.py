"""A modelled engine that goes step by step, block by block: what `BatchEngine` must come to.

Everything is a list that is walked through, nothing is counted ahead. The rules are those in the
docstrings of `dynasor.sim.batching`, `kv` and `waiting`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from dynasor.core.events import Cancelled, Failed
from dynasor.core.types import Usage
from dynasor.sim import EngineTotals
from dynasor.sim.engine import Attempt, ending, report

__all__ = ["StepwiseEngine"]


@dataclass(eq=False)
class _Block:
    name: tuple | None = None
    owner: str = ""
    users: int = 0


class _Memory:
    """Blocks, each used by some sequences, or in a list from the least recently used on."""

    def __init__(self, blocks, eviction):
        self.blocks = blocks
        self.free = blocks
        self.unused = []
        self.named = {}
        self.eviction = eviction

    @property
    def kept(self):
        return len(self.unused)

    @property
    def used(self):
        return self.blocks - self.free - self.kept

    @property
    def available(self):
        return self.free + self.kept

    def new(self):
        if self.free:
            self.free -= 1
        else:
            victim = self.unused[0]
            if self.eviction == "idle-first":
                victim = next((one for one in self.unused if not one.owner), victim)
            self.unused.remove(victim)
            self.named.pop(victim.name, None)
        return _Block(users=1)

    def share(self, block, owner):
        if block in self.unused:
            self.unused.remove(block)
        block.users += 1
        block.owner = owner

    def name(self, block, name, owner):
        block.name, block.owner = name, owner
        self.named[name] = block

    def give_back(self, blocks):
        for block in reversed(blocks):
            block.users -= 1
            if not block.users:
                self.unused.append(block)

    def retire(self, owner):
        if self.eviction != "idle-first":
            return
        its = [one for one in self.unused if one.owner == owner]
        self.unused = [one for one in self.unused if one.owner != owner] + its
        for block in self.named.values():
            if block.owner == owner:
                block.owner = ""


@dataclass(eq=False)
class _Sequence:
    attempt: Attempt
    done: int = 0  # tokens generated
    kv: int = 0  # tokens computed
    goal: int = 0  # tokens to compute before the next one is generated
    chunk: int = 0  # of these in the present step
    blocks: list = field(default_factory=list)

    def __post_init__(self):
        self.path = self.attempt.outcome.path
        self.prompt = max(1, sum(segment.tokens for segment in self.path))
        self.tokens = self.attempt.outcome.tokens
        self.program = self.attempt.submit.call.program

    @property
    def is_decoding(self):
        return self.kv >= self.goal

    def names(self, size):
        """The names of the prompt's whole blocks: the segment in which each ends, and its place."""
        keys = [segment.key for segment in self.path for _ in range(segment.tokens)]
        return [(keys[(place + 1) * size - 1], place) for place in range(len(keys) // size)]


class StepwiseEngine:
    """Runs attempts as an `EngineModel` says, one step after the other."""

    def __init__(self, model, slots=None):
        self.model = model
        self.slots = slots or model.max_running
        self.wake = inf
        self.totals = EngineTotals()
        self.cache = _Memory(model.kv_blocks, model.eviction)
        self.waiting = []
        self.running = []
        self.aborting = []
        self.ended = []
        self.is_full = False
        self.known = set()
        self.coming = 0

    # What a host does.

    def add(self, attempt, now):
        sequence = _Sequence(attempt)
        most = sequence.prompt + max(0, sequence.tokens - 1)
        if most > self.model.kv_tokens:
            self.totals.refused += 1
            number = attempt.submit.attempt
            return Failed(attempt.id, number, "EngineRefused", "", is_retryable=False)
        self.waiting.append(sequence)
        self.is_full = False
        return None

    def abort(self, call, now):
        for sequence in self.waiting:
            if sequence.attempt.id == call:
                self.waiting.remove(sequence)
                self.is_full = False
                return self._cancelled(sequence)
        self.aborting += [one for one in self.running if one.attempt.id == call]
        return None

    def take(self, now):
        if self.wake <= now:
            self.wake = inf
            self._end_step()
        if self.wake == inf:
            self._stop_aborted()
        return self.ended.pop(0) if self.ended else None

    def go_on(self, now):
        if self.wake < inf:
            return
        has_preempted = self._preempt()
        self._plan_chunks()
        if not has_preempted and not self.is_full:
            self._admit()
        if self.running:
            self.wake = now + self._seconds()

    def retire(self, program):
        self.cache.retire(program)

    # Between two steps.

    @property
    def decoding(self):
        return [one for one in self.running if one.is_decoding]

    def _needing(self):
        """Those whose next token begins a block."""
        size = self.model.block_tokens
        return [one for one in self.decoding if one.kv == len(one.blocks) * size]

    def _room(self):
        taken = sum(one.chunk for one in self.running)
        return self.model.token_budget - len(self.decoding) - taken

    def _preempt(self):
        has_preempted = False
        while len(self._needing()) > self.cache.available:
            sequence = self.running[-1]
            self._leave(sequence)
            self.waiting.insert(0, sequence)
            self.totals.preemptions += 1
            has_preempted = True
        return has_preempted

    def _plan_chunks(self):
        for one in self.running:
            one.chunk = 0
        for one in self.running:
            if not one.is_decoding:
                one.chunk = min(one.goal - one.kv, self._room())
                self._name(one)

    def _name(self, sequence):
        """Let others find the blocks that this step completes."""
        size = self.model.block_tokens
        names = sequence.names(size)[: (sequence.kv + sequence.chunk) // size]
        for name, block in zip(names, sequence.blocks, strict=False):
            if block.name is None:
                assert name not in self.cache.named, "the same tokens are computed twice"
                self.cache.name(block, name, sequence.program)

    def _found(self, sequence):
        found = 0
        for name in sequence.names(self.model.block_tokens):
            if name not in self.cache.named:
                break
            found += 1
        return found * self.model.block_tokens

    def _head(self):
        order = self.model.order
        if order == "fcfs" or (order == "lpm-128" and len(self.waiting) > 128):
            return self.waiting[0]
        programs = {one.program for one in self.waiting}
        firsts = [next(one for one in self.waiting if one.program == name) for name in programs]
        return max(firsts, key=lambda one: (self._found(one), -self.waiting.index(one)))

    def _admit(self):
        while self.waiting and len(self.running) < self.model.max_running and self._room() > 0:
            sequence = self._head()
            found = min(self._found(sequence), sequence.prompt + sequence.done - 1)
            if not self._hold(sequence):
                self.is_full = True
                return
            self.waiting.remove(sequence)
            self.coming += sequence not in self.known
            self.known.add(sequence)
            sequence.kv = found // self.model.block_tokens * self.model.block_tokens
            sequence.chunk = min(sequence.goal - sequence.kv, self._room())
            self.running.append(sequence)
            self.totals.cached += sequence.kv
            self._name(sequence)

    def _hold(self, sequence):
        size, cache = self.model.block_tokens, self.cache
        names = sequence.names(size)
        tokens = sequence.prompt + sequence.done
        blocks = -(-tokens // size)
        shared = [cache.named[name] for name in names if name in cache.named]
        pinned = sum(not block.users for block in shared)
        if blocks - len(shared) + len(self._needing()) > cache.available - pinned:
            return False
        for block in shared:
            cache.share(block, sequence.program)
        sequence.blocks = [cache.named.get(name) for name in names] + [None] * (blocks - len(names))
        sequence.blocks = [block or cache.new() for block in sequence.blocks]
        sequence.goal = tokens
        return True

    def _seconds(self):
        context = sum(one.prompt + one.done for one in self.decoding)
        chunks = sum(one.chunk for one in self.running)
        step = self.model.step.of(chunks, len(self.decoding), context)
        return self.model.call_seconds * self.coming + step

    # At the end of a step.

    def _end_step(self):
        totals, decoding = self.totals, self.decoding
        totals.busy_seconds += self._seconds()
        totals.steps += 1
        self.coming = 0
        for one in self._needing():
            one.blocks.append(self.cache.new())
        totals.kv_most = max(totals.kv_most, self.cache.used)
        totals.prefilled += sum(one.chunk for one in self.running)
        for one in list(self.running):
            is_new = one not in decoding
            one.kv += one.chunk if is_new else 1
            if one.is_decoding:
                self._token(one, is_new)

    def _token(self, one, is_new):
        """Count the token that the step has generated for a sequence; none for an empty one."""
        every = one.attempt.report_every
        if one.done < one.tokens:
            one.done += 1
            self.totals.generated += 1
            if every and one.done % every == 0:
                self.ended.append(report(one.attempt, one.done))
        if one.done == one.tokens:
            self._leave(one)
            self.ended.append(ending(one.attempt))

    def _stop_aborted(self):
        for one in self.aborting:
            if one in self.running:
                self._leave(one)
                self.ended.append(self._cancelled(one))
        self.aborting.clear()

    def _leave(self, one):
        key, size = one.attempt.outcome.key, self.model.block_tokens
        is_known = any(name[0] == key for name in self.cache.named)
        if one.done == one.tokens and key and not is_known:
            for place in range(sum(part.tokens for part in one.path) // size, one.kv // size):
                self.cache.name(one.blocks[place], (key, place), one.program)
        self.cache.give_back(one.blocks)
        one.blocks, one.chunk = [], 0
        self.running.remove(one)
        self.is_full = False

    def _cancelled(self, one):
        usage = Usage(one.prompt if one.done else 0, one.done)
        return Cancelled(one.attempt.id, one.attempt.submit.attempt, usage)
