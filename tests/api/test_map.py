"""Running many programs with `map`."""

from __future__ import annotations

import asyncio

import pytest
from plays import Gate, Raiser, even, one, sums

from dynasor.core.errors import ConfigError, DynasorError, ProgramFailed
from dynasor.engines.scripted import ScriptedEngine


async def turns(count=50):
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def collect(results):
    """All results, as they come."""
    return [result async for result in results]


async def test_all():
    """Every program has its result, once."""
    count = 100
    async with even(sums()) as dynasor:
        results = await collect(dynasor.map(one(f"{n}+1") for n in range(count)))
    assert {r.question: r.answer for r in results} == {f"{n}+1": str(n + 1) for n in range(count)}
    assert len(results) == count


async def test_none():
    """No programs have no results."""
    async with even(sums()) as dynasor:
        assert await collect(dynasor.map([])) == []


@pytest.mark.parametrize("live", [1, 3, 1000])
async def test_live(live):
    """No more than `live` programs run at once, and as many as that while there are enough."""
    engine = sums()
    async with even(engine) as dynasor:
        await collect(dynasor.map((one(f"{n}+1", cap=1) for n in range(20)), live=live))
    assert engine.peak == min(live, 20)


async def test_live_of_the_settings():
    """Without a limit of its own `map` takes that of the settings."""
    engine = sums()
    async with even(engine, live=2) as dynasor:
        await collect(dynasor.map(one(f"{n}+1", cap=1) for n in range(20)))
    assert engine.peak == 2


@pytest.mark.parametrize("live", [0, -1])
async def test_bad_live(live):
    """A limit below one is refused."""
    async with even(sums()) as dynasor:
        with pytest.raises(ConfigError, match=f"live is {live}"):
            await collect(dynasor.map([one("1+1")], live=live))


async def test_order_is_that_of_completion():
    """Results come as programs end, whatever the order they were given in."""
    gate = Gate()
    names = ["a", "b", "c", "d"]
    got = []
    async with even(gate) as dynasor:
        results = dynasor.map([one(name, cap=1) for name in names])
        for name in ("c", "a", "d", "b"):
            gate.open(name)
            got.append((await anext(results)).question)
        with pytest.raises(StopAsyncIteration):
            await anext(results)
    assert got == ["c", "a", "d", "b"]


async def test_several_that_end_together():
    """Results that are ready at once come in the order in which they ended."""
    gate = Gate()
    async with even(gate) as dynasor:
        results = dynasor.map([one(name, cap=1) for name in "abcdefgh"])
        waiting = asyncio.create_task(collect(results))
        await turns()
        for name in "hgfedcba":
            gate.open(name)
            await turns()
        assert [result.question for result in await waiting] == list("hgfedcba")


async def test_generator_is_read_as_places_become_free():
    """A generator of programs is not read further than there are places."""
    gate, made = Gate(), []

    def programs():
        for n in range(10):
            made.append(n)
            yield one(str(n), cap=1)

    async with even(gate) as dynasor:
        results = dynasor.map(programs(), live=3)
        reading = asyncio.create_task(anext(results))
        await turns()
        assert made == [0, 1, 2]
        gate.open("1")
        assert (await reading).question == "1"
        reading = asyncio.create_task(anext(results))
        await turns()
        assert made == [0, 1, 2, 3]
        reading.cancel()
        await asyncio.wait([reading])


async def test_generator_that_raises():
    """An error of the generator comes out, and what runs is withdrawn."""
    gate = Gate()

    def programs():
        yield one("a")
        raise KeyError("mine")

    async with even(gate) as dynasor:
        with pytest.raises(KeyError, match="mine"):
            await collect(dynasor.map(programs()))
        await turns()
        assert dynasor._handles == {}


async def test_abandoned():
    """Leaving the loop withdraws what still runs, and no task is left."""
    gate = Gate()
    gate.open("a")
    async with even(gate) as dynasor:
        async for result in dynasor.map([one("a"), one("b"), one("c")]):
            assert result.question == "a"
            break
        await turns()
        assert sorted(gate.aborted) == ["b"] * 3 + ["c"] * 3
        assert dynasor._handles == {}
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_abandoned_and_closed():
    """Leaving the loop and closing at once is no error either."""
    gate = Gate()
    gate.open("a")
    async with even(gate) as dynasor:
        results = dynasor.map([one("a"), one("b")])
        await anext(results)
    await results.aclose()
    await turns()
    assert gate.running == 0


async def test_cancelled():
    """Cancelling the task that iterates withdraws what runs."""
    gate = Gate()
    async with even(gate) as dynasor:
        task = asyncio.create_task(collect(dynasor.map([one("a"), one("b")])))
        await turns()
        task.cancel()
        await asyncio.wait([task])
        await turns()
        assert task.cancelled()
        assert len(gate.aborted) == 6


async def test_errors_are_carried():
    """A program that fails is a result with its error, and disturbs no other."""
    async with even(sums()) as dynasor:
        programs = [one("1+1"), Raiser("2+1"), one("3+1")]
        results = {r.question: r for r in [r async for r in dynasor.map(programs)]}
    assert [results[f"{n}+1"].answer for n in (1, 2, 3)] == ["2", None, "4"]
    assert isinstance(results["2+1"].error, ProgramFailed)


async def test_options_count_for_all():
    """The options of `map` are those of every program."""
    async with even(sums()) as dynasor:
        programs = [one(f"{n}+1", cap=9) for n in range(5)]
        results = await collect(dynasor.map(programs, policy="threshold:detect=2,at=0.5"))
    assert [result.knob for result in results] == [2] * 5


async def test_closed_while_mapping():
    """Closing while somebody maps ends the iteration with an error."""
    async with even(Gate()) as dynasor:
        task = asyncio.create_task(collect(dynasor.map([one("a"), one("b")])))
        await turns()
    with pytest.raises(DynasorError, match="closed before"):
        await task


async def test_two_at_once():
    """Two iterations side by side have each its own results."""
    async with even(ScriptedEngine(sums().outputs)) as dynasor:
        left, right = await asyncio.gather(
            collect(dynasor.map(one(f"{n}+1") for n in range(20))),
            collect(dynasor.map(one(f"{n}+1") for n in range(20, 40))),
        )
    assert {result.answer for result in left} == {str(n + 1) for n in range(20)}
    assert {result.answer for result in right} == {str(n + 1) for n in range(20, 40)}
