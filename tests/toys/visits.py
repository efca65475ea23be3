"""Calls that visit a modelled engine, by hand or drawn, and a host that needs no scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hypothesis import strategies as st
from toys.words import said

from dynasor.core.commands import Submit
from dynasor.core.events import Progressed
from dynasor.core.types import Call, Generate, Prompt
from dynasor.sim import EngineModel, Outcome, Segment, StepTime
from dynasor.sim.engine import Attempt

__all__ = ["STEP", "Visit", "drive", "make_attempt", "models", "visit", "workloads"]

STEP = StepTime(1 / 8, 1 / 64, 1 / 32, 1 / 1024)
"""Sums of these, and of times that are multiples of a 64th, are exact whatever their order."""


def make_attempt(name, tokens=10, prompt=0, *, program="p", path=None, key="", report_every=0):
    """An attempt at a call, with a prompt of so many tokens of its own or with a path."""
    call = Call(name, program, "g", Generate(Prompt(()), report_every=report_every), program, "t")
    if path is None:
        path = (Segment(f"{name}/prompt", prompt),) if prompt else ()
    outcome = Outcome(said("0123456789", tokens), tokens, path=path, key=key)
    return Attempt(Submit(call, 1, "e", 0), outcome)


@dataclass
class Visit:
    """A call that comes at a time, or when another has ended, and may be aborted at a time."""

    time: float
    attempt: Attempt
    abort: float = inf
    after: str = ""


def visit(time, name, *args, abort=inf, after="", **rest):
    """A visit by a call as `make_attempt` makes it."""
    return Visit(time, make_attempt(name, *args, **rest), abort, after)


def drive(engine, visits, *, seen=None):
    """Run an engine until all calls have ended; return `(time, ending, blocks in use)` of each.

    Blocks in use are None while a step runs. A program is retired when its last call ends with a
    step. `seen(engine)` is called after everything that happens.
    """
    driven = _Drive(engine, visits)
    while driven.planned or engine.wake < inf:
        driven.advance()
        engine.go_on(driven.now)
        if seen is not None:
            seen(engine)
    return driven.log


class _Drive:
    """A host without a scheduler: at one instant a step ends first, then calls come, then go."""

    def __init__(self, engine, visits):
        self.engine = engine
        self.now = 0.0
        self.log = []
        self.live = {one.attempt.id: one.attempt.submit.call.program for one in visits}
        self.later = [one for one in visits if one.after]
        comes = [(one.time, 0, one.attempt) for one in visits if not one.after]
        goes = [(one.abort, 1, one.attempt) for one in visits if one.abort < inf]
        self.planned = sorted(comes + goes, key=lambda entry: entry[:2])

    def advance(self):
        time = min(self.engine.wake, self.planned[0][0] if self.planned else inf)
        assert time >= self.now, "time ran backwards"
        self.now = time
        if self.engine.wake > time:
            while self.planned and self.planned[0][0] == time:
                _, is_abort, attempt = self.planned.pop(0)
                does = self.engine.abort if is_abort else self.engine.add
                self.note(does(attempt.id if is_abort else attempt, time))
            return
        while (ended := self.engine.take(time)) is not None:
            program = self.note(ended, self.engine.cache.used)
            if program not in self.live.values():
                self.engine.retire(program)

    def note(self, ended, used=None):
        if ended is None:
            return None
        self.log.append((self.now, ended, used))
        if isinstance(ended, Progressed):
            return self.live[ended.call]
        for one in [one for one in self.later if one.after == ended.call]:
            self.note(self.engine.add(one.attempt, self.now))
        return self.live.pop(ended.call)


@st.composite
def models(draw, orders=("fcfs", "lpm", "lpm-128"), step=STEP):
    """Engines with little memory, few slots and small budgets."""
    block = draw(st.sampled_from([1, 2, 4, 16]))
    running = draw(st.integers(1, 6))
    return EngineModel(
        step,
        kv_blocks=draw(st.integers(1, 160 // block)),
        block_tokens=block,
        max_running=running,
        token_budget=running + draw(st.sampled_from([1, 2, 5, 20, 200])),
        eviction=draw(st.sampled_from(["lru", "idle-first"])),
        order=draw(st.sampled_from(orders)),
        call_seconds=draw(st.sampled_from([0.0, 0.125, 3.0])),
    )


@st.composite
def workloads(draw, *, has_times=True, most=12):
    """Visits by calls of a few programs: shared prompts, continued calls, aborts, reports.

    Without times all come at 0, or when another has ended, and none is aborted.
    """
    instructions = draw(st.just(0) | st.integers(1, 20))
    own = draw(st.lists(st.integers(0, 20), min_size=1, max_size=4))
    steps = draw(st.lists(st.integers(0, 10), min_size=2, max_size=2))
    last = draw(st.sampled_from([0, 2, 20, 100])) if has_times else 0
    sixty_fourths = st.integers(0, 64 * last).map(lambda number: number / 64)
    lengths = st.sampled_from([0, 1]) | st.integers(0, 60)
    continued, made = {}, []
    for number in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, len(own) - 1))
        program = f"p{place}"
        path = _path(instructions, program, own[place], draw(st.sampled_from([*steps, 0])))
        after = ""
        if program in continued and draw(st.booleans()):
            path, after = continued[program]
        tokens, name = draw(lengths), f"c{number}"
        time = draw(sixty_fourths)
        rest = {"program": program, "path": path, "key": name, "after": after}
        rest["report_every"] = draw(st.sampled_from([0, 0, 1, 3, 10]))
        if has_times and draw(st.integers(0, 3)) == 0:
            rest["abort"] = time + draw(st.integers(0, 64 * 20)) / 64
        made.append(visit(time, name, tokens, **rest))
        if tokens and draw(st.booleans()):
            continued[program] = ((*path, Segment(name, tokens)), name)
    return made


def _path(instructions, program, own, step):
    parts = (("all", instructions), (program, own), (f"{program}/{step}", step))
    return tuple(Segment(key, tokens) for key, tokens in parts if tokens)
