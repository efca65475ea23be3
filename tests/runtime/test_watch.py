"""Engines are looked after: what is seen of them becomes events, and failures are seen in time."""

from __future__ import annotations

import asyncio

import pytest

from dynasor.core.errors import EngineUnreachable
from dynasor.core.events import Observed
from dynasor.engines.protocol import Load
from dynasor.engines.scripted import ScriptedEngine
from dynasor.runtime import Watch

POOLS = {"generate": ("a", "b"), "reward": ("b",)}


class Patient(ScriptedEngine):
    """An engine that is as the test says; `is_well` None says nothing at all."""

    def __init__(self, is_well=True, load=None):
        super().__init__()
        self.is_well, self.load, self.looks = is_well, load, 0

    async def healthy(self):
        self.looks += 1
        if self.is_well is None:
            await asyncio.Event().wait()
        return self.is_well

    async def observe(self):
        return self.load


class Host:
    """Keeps what a driver would be sent."""

    def __init__(self):
        self.events = []
        self.news = asyncio.Event()

    def send(self, event):
        self.events.append(event)
        self.news.set()


async def test_every_pool_hears():
    """What an engine shows is told to each pool that it serves."""
    host = Host()
    watch = Watch(host, {"b": Patient(load=Load(3, 2))}, POOLS, 1.0)
    await watch.look("b")
    assert host.events == [
        Observed("generate", "b", waiting=2, running=3),
        Observed("reward", "b", waiting=2, running=3),
    ]


async def test_unknown_load():
    """An engine that does not say how busy it is shows nothing that waits."""
    host = Host()
    await Watch(host, {"a": Patient()}, POOLS, 1.0).look("a")
    assert host.events == [Observed("generate", "a")]


@pytest.mark.parametrize("is_well", [False, None])
async def test_failures_in_a_row(is_well):
    """One bad look is no news, the second is; one good look is enough."""
    host, engine = Host(), Patient(is_well)
    watch = Watch(host, {"a": engine}, POOLS, 0.01)
    await watch.look("a")
    assert host.events == []
    await watch.look("a")
    await watch.look("a")
    assert host.events == [Observed("generate", "a", is_healthy=False)] * 2
    engine.is_well = True
    await watch.look("a")
    assert host.events[-1] == Observed("generate", "a")
    engine.is_well = is_well
    await watch.look("a")
    assert host.events[-1] == Observed("generate", "a")


async def test_keeps_looking():
    """Looks go on until it is closed, and an engine that hangs holds up no other."""
    host = Host()
    engines = {"a": Patient(None), "b": Patient(), "c": ScriptedEngine()}
    watch = Watch(host, engines, POOLS, 0.002)
    watch.start()
    while engines["b"].looks < 5 or engines["a"].looks < 3:
        host.news.clear()
        await host.news.wait()
    await watch.close()
    await watch.close()
    assert {event.replica for event in host.events} == {"a", "b"}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_engine_that_is_gone():
    """An engine whose own questions fail is as one that says that it is not well."""

    class Gone(Patient):
        async def healthy(self):
            raise EngineUnreachable("e", "gone")

    host = Host()
    watch = Watch(host, {"a": Gone()}, POOLS, 1.0)
    await watch.look("a")
    await watch.look("a")
    assert host.events == [Observed("generate", "a", is_healthy=False)]
