"""What serves all requests: an open `Dynasor`, who watches it, and its way to close."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self, Unpack

from msgspec.structs import replace

from dynasor.api import Dynasor, Extensions, Handle, RunOptions
from dynasor.api.choosing import check_policy
from dynasor.config import Serving, Settings, parse_policy
from dynasor.core.allocation import make_policy
from dynasor.core.errors import UnknownName
from dynasor.core.events import Configured
from dynasor.core.program import Program
from dynasor.core.types import PolicySpec
from dynasor.engines.protocol import Engine
from dynasor.gateway.errors import BadRequest, Closing
from dynasor.gateway.gate import Gate
from dynasor.gateway.keys import Keys
from dynasor.gateway.lives import Ended
from dynasor.gateway.logs import log_program
from dynasor.gateway.metrics import Metrics
from dynasor.gateway.recording import ServedTraces
from dynasor.gateway.registry import Registry
from dynasor.gateway.thoughts import Streams
from dynasor.requests.program import algorithms
from dynasor.runtime.clock import wall_clock
from dynasor.runtime.driver import Recorder

__all__ = ["Service"]

FAREWELL_SECONDS = 10.0
"""What programs that were told to come to an end may still take: their calls are aborted."""


class Service:
    """Everything that endpoints need; one for each application, an async context manager.

    `gate` is set by the application once its layers are built. `recorders` hear every event of the
    driver; add yours before it is opened.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        engine: Engine | Sequence[Engine] | None = None,
        extensions: Extensions | None = None,
    ) -> None:
        """Check the settings and read the keys; raises `UserError`."""
        self.serving: Serving = settings.serve
        self.settings = settings
        if self.serving.algorithm is not None:
            chosen = {"program": self.serving.algorithm}
            self.settings = settings = settings.model_copy(update=chosen)
        self.dynasor = Dynasor(engine, settings=settings, extensions=extensions)
        self._shadow = _shadow(settings)
        if self._shadow is not None:
            make_policy(self._shadow, self.dynasor.machine.catalog.policies)
        self.registry = Registry(self.serving.kept_programs)
        self.streams = Streams()
        self.metrics = Metrics(request_seconds=self.serving.request_seconds)
        self.keys = None if self.serving.keys is None else Keys.load(self.serving.keys)
        self.gate: Gate | None = None
        self.recorders: list[Recorder] = [self.metrics, self.registry, self.streams]
        self.started = wall_clock()
        self._closing = AsyncExitStack()
        self._is_open = False
        self._is_draining = False
        self._handles: dict[str, Handle] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def check(self) -> None:
        """Refuse settings with which no request would be served, or no shadow could be asked.

        Raises `UserError`.
        """
        catalog = self.dynasor.machine.catalog
        name = self.settings.program_spec().name
        if name not in algorithms(catalog):
            raise UnknownName("algorithm", name, algorithms(catalog))
        program = self.dynasor.make_program("?")
        self.dynasor.policy_for(program)
        if self.serving.shadow is not None:
            check_policy(program, parse_policy(self.serving.shadow), catalog.policies)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            await opening.enter_async_context(self.dynasor)
            self._watch(opening)
            self._closing = opening.pop_all()
        self.started = wall_clock()
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        await self._closing.aclose()

    def _watch(self, opening: AsyncExitStack) -> None:
        """Let everybody hear of programs who has to; raises `ConfigError` for a bad folder."""
        driver, catalog = self.dynasor.machine.driver, self.dynasor.machine.catalog
        if self.serving.record is not None:
            traces = ServedTraces(self.serving.record, catalog.tasks, self.models[0])
            opening.callback(traces.close)
            self.recorders.append(traces)
        for recorder in self.recorders:
            driver.record_in(recorder)
        self.metrics.watch(driver.scheduler, driver.clock)
        self.metrics.when_ended(log_program)
        self.metrics.when_ended(self._charge)
        if self.keys is not None:
            self._share(self.keys)
            self.keys.on_change = partial(self._share, self.keys)
        self.dynasor.machine.look_after_engines(self.serving.health_seconds)

    def _share(self, keys: Keys) -> None:
        """Let keys share the engines by their weights."""
        driver = self.dynasor.machine.driver
        config = replace(driver.scheduler.config, has_shares=True, shares=keys.shares())
        if config != driver.scheduler.config:
            driver.send(Configured(config))

    @property
    def models(self) -> list[str]:
        """The models that engines here generate with, the first engine's first."""
        described = self.dynasor.machine.descriptions.values()
        return list(dict.fromkeys(one.model for one in described))

    @property
    def is_draining(self) -> bool:
        """Whether new programs are refused because the server is being stopped."""
        return self._is_draining

    @property
    def is_ready(self) -> bool:
        """Whether a program that came now would be served."""
        return self._is_open and not self._is_draining and any(self.replicas().values())

    def replicas(self) -> dict[str, bool]:
        """Return every generating replica, and whether it can be reached and is not taken out."""
        pool = self.dynasor.machine.driver.scheduler.dispatcher.pools.get("generate")
        if pool is None:
            return {}
        return {
            name: not (replica.is_down or replica.told.is_draining)
            for name, replica in pool.replicas.items()
        }

    def model(self, wanted: str | None) -> str:
        """Return the model that answers; raises `BadRequest` (404) where no engine has it."""
        models = self.models
        if wanted is None:
            return models[0]
        if wanted not in models:
            raise self.unknown_model(wanted)
        return wanted

    def unknown_model(self, wanted: str) -> BadRequest:
        """Return the refusal of a model that no engine has."""
        listed = ", ".join(self.models)
        message = f"no engine here has the model {wanted!r}; there is {listed}"
        return BadRequest("model", message, 404, "model_not_found")

    def policy_for(self, program: Program, policy: str | None) -> PolicySpec:
        """Return the policy that a program runs under, as a request names it or None.

        Raises `UserError` for one that cannot be used with it. Where the settings have a shadow,
        that only decides, and every unit is run.
        """
        if policy is None and self._shadow is not None:
            return self._shadow
        return self.dynasor.policy_for(program, policy)

    def submit(self, program: Program, **options: Unpack[RunOptions]) -> Handle:
        """Start a program; raises `UserError`, and `Closing` while the server is being stopped.

        It has the time that a request may take, or less where `deadline_seconds` says so.
        """
        if self._is_draining:
            raise Closing("the server is being stopped; try again soon")
        limit = self.serving.request_seconds
        options["deadline_seconds"] = min(options.get("deadline_seconds") or limit, limit)
        handle = self.dynasor.submit(program, **options)
        self._handles[handle.program] = handle
        self._idle.clear()
        handle.when_done(self._done)
        return handle

    def is_taken(self, program: str, tenant: str) -> bool:
        """Whether a program of that name runs, or is another tenant's."""
        known = self.registry.find(program)
        if known is not None and known.tenant != tenant:
            return True
        return program in self._handles

    async def cancel(self, program: str) -> None:
        """Take a program back, if it runs, and wait until its calls have ended."""
        handle = self._handles.get(program)
        if handle is not None:
            handle.withdraw()
            await handle

    async def drain(self, seconds: float) -> None:
        """Refuse new programs; return when those that run have ended.

        Those that still run after `seconds` are answered with the best so far.
        """
        self._is_draining = True
        if await self._is_idle_within(seconds):
            return
        for handle in list(self._handles.values()):
            handle.hurry()
        await self._is_idle_within(FAREWELL_SECONDS)

    def _charge(self, ended: Ended) -> None:
        """Charge a program to the key that it came with."""
        if self.gate is not None:
            self.gate.spent(ended.tenant, ended.tokens)

    async def _is_idle_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _done(self, handle: Handle) -> None:
        if self._handles.get(handle.program) is handle:
            del self._handles[handle.program]
        if not self._handles:
            self._idle.set()


def _shadow(settings: Settings) -> PolicySpec | None:
    """Return the policy that asks the settings' shadow and does not obey it."""
    if settings.serve.shadow is None:
        return None
    asked = parse_policy(settings.serve.shadow)
    params = {"policy": asked.name, "params": asked.params}
    return PolicySpec("shadow", params, settings.lock)
