"""`BatchEngine` skips from event to event and comes to what going step by step comes to."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.stepwise import StepwiseEngine
from toys.visits import drive, models, workloads

from dynasor.core.events import Failed, Progressed
from dynasor.sim import BatchEngine
from dynasor.sim.presets import preset


def endings(log):
    """The log without the words of refusals."""
    return [
        (now, msgspec.structs.replace(end, message="") if isinstance(end, Failed) else end, used)
        for now, end, used in log
    ]


def counted(engine):
    """An engine's totals but for the one that is no sum over steps."""
    totals = msgspec.structs.asdict(engine.totals)
    del totals["kv_block_seconds"]
    return totals


def audit(engine):
    """Every block is in use, kept or free, and those that use and keep them are known."""
    cache = engine.cache
    kept = [*cache._idle.values(), *cache._live.values()]
    assert cache.kept == sum(one if isinstance(one, int) else one.resident for one in kept)
    assert cache.used + cache.kept + cache.free == cache.blocks
    assert min(cache.used, cache.kept, cache.free) >= 0
    shared = {piece.key: piece for one in engine.running.values() for piece in one.holding.pieces}
    alone = 0
    for one in engine.running.values():
        tokens = one.prompt + one.base
        if one.stop is not None:
            tokens += engine._count - one.began - 1
        alone += cache.blocks_of(tokens) - one.holding.shared
    assert cache.used == alone + sum(piece.resident for piece in shared.values())
    assert len(engine.running) <= engine.model.max_running
    assert engine._context == sum(
        one.prompt + one.done(engine._count)
        for one in engine.running.values()
        if one.stop is not None
    )


@settings(max_examples=150)
@given(models(), workloads())
def test_skipping_is_stepping(model, visits):
    """The same ends and reports come in the same order, at the same times, from the same work."""
    skipping, stepping = BatchEngine(model), StepwiseEngine(model)
    skipped = endings(drive(skipping, visits, seen=audit))
    assert skipped == endings(drive(stepping, visits))
    assert counted(skipping) == {**counted(stepping)}


@given(models(step=preset("a100-llama3.1-8b").step), workloads(has_times=False))
def test_skipping_is_stepping_on_a_gpu(model, visits):
    """With a real engine's step time it differs by nothing but rounding."""
    skipping, stepping = BatchEngine(model), StepwiseEngine(model)
    skipped, stepped = (endings(drive(one, visits)) for one in (skipping, stepping))
    assert [entry[1:] for entry in skipped] == [entry[1:] for entry in stepped]
    assert [now for now, *_ in skipped] == pytest.approx([now for now, *_ in stepped], rel=1e-9)
    assert skipping.totals.busy_seconds == pytest.approx(stepping.totals.busy_seconds, rel=1e-9)


@given(models(), workloads())
def test_every_call_ends_once(model, visits):
    """Every call ends exactly once, after reports of what it generated and no more."""
    log = drive(BatchEngine(model), visits)
    ends = Counter(end.call for _, end, _ in log if not isinstance(end, Progressed))
    assert ends == {one.attempt.id: 1 for one in visits}
    ended = set()
    for _, event, _ in log:
        assert event.call not in ended
        if not isinstance(event, Progressed):
            ended.add(event.call)
    for one in visits:
        told = [
            end.tokens for _, end, _ in log if (type(end), end.call) == (Progressed, one.attempt.id)
        ]
        assert sum(told) <= one.attempt.outcome.tokens


@given(models(), workloads())
def test_nothing_is_left(model, visits):
    """When all have ended nobody holds a block, nobody waits, and nothing more will happen."""
    engine = BatchEngine(model)
    drive(engine, visits)
    assert (engine.cache.used, len(engine.waiting), len(engine.running)) == (0, 0, 0)
    assert engine.wake == float("inf")
    assert not engine.cache._owned or model.eviction == "idle-first"


@given(models(), workloads(), st.data())
def test_retiring_at_any_time(model, visits, data):
    """Programs may be retired while their calls run: no block is lost by it."""
    engine = BatchEngine(model)

    def seen(engine):
        audit(engine)
        engine.retire(data.draw(st.sampled_from(["p0", "p1", "nobody"])))

    drive(engine, visits, seen=seen)
    assert engine.cache.used == 0


@given(workloads(), models())
def test_held_memory_lies_between(visits, model):
    """The integral of the blocks in use is no more than the most that were, all the time."""
    engine = BatchEngine(model)
    drive(engine, visits)
    totals = engine.totals
    assert 0 <= totals.kv_block_seconds <= totals.kv_most * totals.busy_seconds
    assert totals.kv_most <= model.kv_blocks
