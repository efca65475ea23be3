"""Looks after engines beside their work: whether each is well, and how busy it says it is.

One loop an engine, so that one that does not answer holds up no other. What is seen becomes
`Observed` events, one for each pool that an engine serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from dynasor.core.errors import EngineError
from dynasor.core.events import Observed
from dynasor.engines.protocol import Engine, Load, Watched
from dynasor.runtime.driver import Driver

__all__ = ["Watch"]

# A server whose processors are all at work may be late once.
FAILURES = 2


class Watch:
    """Looks at each engine every `seconds`, and tells the driver.

    `pools` names the replicas of each pool, `engines` says who they are; one that cannot be
    asked (see `Watched`) is left alone. An engine that fails `FAILURES` looks in a row, by saying
    so or by saying nothing for `seconds`, is not healthy until a look goes well.
    """

    def __init__(
        self,
        driver: Driver,
        engines: Mapping[str, Engine],
        pools: Mapping[str, Sequence[str]],
        seconds: float,
    ) -> None:
        self._driver = driver
        self._engines = {
            name: engine for name, engine in engines.items() if isinstance(engine, Watched)
        }
        self._pools = {
            name: [pool for pool, replicas in pools.items() if name in replicas]
            for name in self._engines
        }
        self._seconds = seconds
        self._failures = dict.fromkeys(self._engines, 0)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look, on the running event loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep_looking(name)) for name in self._engines]

    async def close(self) -> None:
        """Look no more; safe to call twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self, replica: str) -> None:
        """Look at one engine once, and tell what was seen."""
        is_well, load = await self._see(self._engines[replica])
        self._failures[replica] = 0 if is_well else self._failures[replica] + 1
        is_healthy = self._failures[replica] < FAILURES
        if not is_well and is_healthy:
            return  # neither good news nor bad yet
        seen = load or Load(0, 0)
        for pool in self._pools[replica]:
            self._driver.send(Observed(pool, replica, seen.waiting, seen.running, is_healthy))

    async def _see(self, engine: Watched) -> tuple[bool, Load | None]:
        try:
            async with asyncio.timeout(self._seconds):
                if not await engine.healthy():
                    return False, None
                return True, await engine.observe()
        except (TimeoutError, EngineError):
            return False, None

    async def _keep_looking(self, replica: str) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self.look(replica)
