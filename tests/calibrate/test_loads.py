from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.calibrate.loads import Bench, Load, Plan, plan_for
from dynasor.core.errors import EngineGarbage
from dynasor.core.types import Usage
from dynasor.engines.scripted import Lie, ScriptedEngine
from dynasor.runtime import MonotonicClock

PLAN = Plan(most_calls=5, prompt_tokens=200, completion_tokens=10, repeats=2)


def test_every_kind():
    """Every concurrency meets short and long prompts, with one token and with many, equally often.

    Concurrencies double up to the most calls, which is among them.
    """
    loads = PLAN.loads()
    kinds = {Load(n, p, c) for n in (1, 2, 4, 5) for p in (32, 200) for c in (1, 10)}
    assert set(loads) == kinds
    assert all(loads.count(kind) == 2 for kind in kinds)


def test_order():
    """The order is the seed's: neither that of the grid, nor another at the next run."""
    assert PLAN.loads() == PLAN.loads()
    assert PLAN.loads() != sorted(PLAN.loads(), key=repr)
    assert PLAN.loads() != Plan(5, 200, 10, 2, seed=1).loads()


@given(st.one_of(st.none(), st.integers(1, 200_000)), st.integers(1, 300))
def test_plan_fits_the_context(context, most_calls):
    """A plan keeps within the engine's context, and within what a minute allows."""
    plan = plan_for(context, most_calls)
    assert plan.prompt_tokens <= 2048
    assert plan.completion_tokens <= 128
    if context is not None and context >= 2:
        assert plan.prompt_tokens + plan.completion_tokens <= context
    assert max(load.calls for load in plan.loads()) == most_calls


async def test_run():
    """Every load of the plan is sent with its calls at once, and counted as the engine counts."""
    engine = ScriptedEngine(lambda work: "x " * work.sampling.max_tokens)
    await engine.start()
    heard = []
    timed = await Bench(engine, MonotonicClock()).run(PLAN, lambda: heard.append(1))
    assert [len(one.usages) for one in timed] == [load.calls for load in PLAN.loads()]
    assert len(heard) == len(timed)
    assert engine.peak == 5
    for one, load in zip(timed, PLAN.loads(), strict=True):
        assert one.seconds > 0
        for usage in one.usages:
            assert usage.completion_tokens == load.completion_tokens
            # a prompt is at least its instruction, and long ones come near to what was aimed at
            assert load.prompt_tokens < 100 or usage.prompt_tokens == pytest.approx(200, rel=0.1)


async def test_no_two_prompts_begin_alike():
    """No prompt shares its beginning with another: a prefix cache would spare the engine work."""
    engine = ScriptedEngine(lambda work: "x")
    await engine.start()
    await Bench(engine, MonotonicClock()).run(Plan(4, 100, 2))
    texts = [work.prompt.messages[-1].content[:40] for work in engine.asked]
    long_ones = [text for text in texts if "\n" not in text]
    assert len(set(long_ones)) == len(long_ones) > 20


async def test_no_usage():
    """An engine that does not count its tokens is told so at the first call, by its address."""
    engine = ScriptedEngine(lambda work: "x", faults={0: Lie(Usage(1, 1, is_counted=False))})
    await engine.start()
    with pytest.raises(EngineGarbage, match=f"{engine.address}: gives no usage"):
        await Bench(engine, MonotonicClock()).run(PLAN)
