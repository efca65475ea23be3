"""A driver whose scheduler is a puppet: it says what a test tells it, and notes what it hears."""

from __future__ import annotations

import asyncio

from dynasor.core.events import Withdrew
from dynasor.core.types import Call, Generate, Message, Prompt
from dynasor.runtime import Driver, MonotonicClock

WORK = Generate(Prompt((Message("user", "q"),)))


def call(name="p#1", work=WORK, seed=7):
    """A call of program p."""
    return Call(name, "p", "generate", work, "p", "x", seed)


async def turns(count=20):
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


class Puppet:
    """A scheduler without a mind: `events` is what it heard, `plan` what it says next."""

    def __init__(self):
        self.events = []
        self.times = []
        self.plan = []
        self.is_handling = False
        self._news = asyncio.Event()

    def handle(self, event, now):
        assert not self.is_handling, "an event was handled within another"
        if not isinstance(event, Withdrew):
            self.events.append(event)
            self.times.append(now)
            self._news.set()
        commands, self.plan = self.plan, []
        return commands

    async def heard(self, count=1):
        """Wait for so many events."""
        while len(self.events) < count:
            self._news.clear()
            await self._news.wait()
        await turns()
        return self.events


class Recorder:
    """Keeps what it is told."""

    def __init__(self):
        self.lines = []

    def record(self, now, event, commands):
        self.lines.append((now, event, commands))


class Comparer:
    """Says that all answers are the first one, or raises."""

    def __init__(self):
        self.error = None
        self.asked = []

    async def compare(self, task, representatives, new):
        self.asked.append((task, representatives, new))
        if self.error is not None:
            raise self.error
        return (0,) * len(new), 0


class Rig:
    """A driver, its puppet and everything around them."""

    def __init__(self, engine):
        self.puppet = Puppet()
        self.engine = engine
        self.clock = MonotonicClock()
        self.recorder = Recorder()
        self.comparer = Comparer()
        self.driver = Driver(self.puppet, {"e": engine}, self.comparer, self.clock)
        self.driver.record_in(self.recorder)

    def do(self, *commands):
        """Let the scheduler give these commands."""
        self.puppet.plan = list(commands)
        self.driver.send(Withdrew("host"))
