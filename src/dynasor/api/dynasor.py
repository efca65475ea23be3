"""`Dynasor`: run reasoning programs on engines from asynchronous Python."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import msgspec

from dynasor.api.choosing import build_program, check_policy, suitable_policy
from dynasor.api.handle import Handle, OnProgress, Result
from dynasor.config import Settings, load_settings, parse_policy
from dynasor.core.allocation import Policy
from dynasor.core.catalog import describe_program
from dynasor.core.commands import Closed
from dynasor.core.errors import ConfigError, DynasorError
from dynasor.core.events import Arrived
from dynasor.core.ordering import Ordering
from dynasor.core.program import Program
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.engines.protocol import Engine
from dynasor.profile import read_profile
from dynasor.runtime import Happening
from dynasor.wiring import Machine, make_catalog, make_engines

__all__ = ["Dynasor", "Extensions", "RunOptions"]


class RunOptions(TypedDict, total=False):
    """What may be said of one program's run.

    `policy`: instead of the settings' one. `deadline_seconds`, positive: when the best answer so
    far is returned. `workload`: programs of one workload share their statistics. `tenant`: whose
    it is. `program_id`: names it in journals and seeds its sampling; it must be free.
    `affinity`: programs of one affinity prefer one replica, for what it has cached.
    """

    policy: str | PolicySpec | None
    deadline_seconds: float | None
    workload: str
    tenant: str
    program_id: str | None
    affinity: str


@dataclass(frozen=True, slots=True)
class Extensions:
    """A user's own programs, policies and orderings, by name."""

    programs: dict[str, type[Program]] = field(default_factory=dict)
    policies: dict[str, type[Policy]] = field(default_factory=dict)
    orderings: dict[str, type[Ordering]] = field(default_factory=dict)


class Dynasor:
    """Runs reasoning programs on engines: many at once, in the order that suits them all.

    `engine` is a URL, a GGUF file, `"embedded"`, an `Engine`, or several of them (replicas of one
    model); the other settings are those of `dynasor.config.Settings`, also read from
    `dynasor.toml` and the environment. `journal` names a file for `dynasor replay`.
    """

    def __init__(
        self,
        engine: str | Engine | Sequence[str | Engine] | None = None,
        *,
        settings: Settings | None = None,
        journal: Path | None = None,
        extensions: Extensions | None = None,
        **flags: Any,
    ) -> None:
        """Check the settings; raises `UserError`. Nothing starts before `async with`."""
        given = [] if engine is None else _as_list(engine)
        names = [one for one in given if isinstance(one, str)]
        if settings is None:
            settings = load_settings(engine=names or None, **flags)
        elif flags:
            raise ConfigError(f"give settings or single ones, not both: {', '.join(flags)}")
        elif names:
            settings = settings.model_copy(update={"engine": names})
        self.settings = settings
        own = extensions or Extensions()
        engines = [one for one in given if not isinstance(one, str)]
        if names or not engines:
            engines += make_engines(settings)
        catalog = make_catalog(own.programs, own.policies, own.orderings)
        self.machine = Machine(settings, engines, catalog, journal)
        self._profile = None if settings.profile is None else read_profile(settings.profile)
        self._misfits: set[str] = set()
        self._handles: dict[str, Handle] = {}
        self._count = 0
        self._is_open = False
        self._was_opened = False

    async def __aenter__(self) -> Self:
        if self._was_opened:
            raise ConfigError("this Dynasor was opened before; make a new one")
        self._was_opened = True
        try:
            await self.machine.start()
        except BaseException:
            await self.machine.close()
            raise
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        try:
            await self.machine.close()
        finally:
            for handle in self._handles.values():
                handle.abandon(DynasorError("Dynasor was closed before the program had ended"))
            self._handles.clear()

    def make_program(self, question: str, **params: Any) -> Program:
        """Return the program that the settings name; `params` go before its own and the settings.

        What nobody chose has the program's own default. Raises `UserError` for a program, a task
        or a parameter that cannot be used.
        """
        given = {"question": question, **params}
        return build_program(
            self.settings.program_spec(), given, self.settings, self.machine.catalog
        )

    def policy_for(self, program: Program, policy: str | PolicySpec | None = None) -> PolicySpec:
        """Return the policy that a program runs under: `policy`, or the settings' one.

        Where neither was chosen, it is what suits the program. Raises `UserError` for one that
        cannot be used with it.
        """
        if policy is None:
            spec = suitable_policy(program, self.settings)
        elif isinstance(policy, str):
            spec = parse_policy(policy, has_lock=self.settings.lock)
        else:
            spec = policy
        if policy is None:
            self._check_profile(program)
        check_policy(program, spec, self.machine.catalog.policies)
        return spec

    def submit(
        self,
        program: Program,
        **options: Unpack[RunOptions],
    ) -> Handle:
        """Start a program and return at once; await the handle for its result.

        Raises `UserError` for a policy, a parameter or an id that cannot be used.
        """
        if not self._is_open:
            raise ConfigError("Dynasor is not open; use `async with Dynasor(...) as dynasor:`")
        deadline_seconds = options.get("deadline_seconds")
        if deadline_seconds is not None and not deadline_seconds > 0:
            raise ConfigError(f"deadline_seconds is {deadline_seconds}; it must be positive")
        self._check_rewards(program)
        self._register(type(program))
        described = _describe(program.suited_to(self.machine.abilities))
        fresh = self.machine.catalog.build_program(described)
        spec = self.policy_for(fresh, options.get("policy"))
        identity = options.get("program_id") or self._free_id()
        if identity in self._handles:
            raise ConfigError(f"program id {identity!r} is in use; give each program its own")
        handle = self._handles[identity] = Handle(program, identity, self.machine)

        def hear(news: Happening) -> None:
            handle.hear(news)
            if isinstance(news, Closed):
                self._handles.pop(identity, None)

        self.machine.driver.watch(identity, hear)
        workload, tenant = options.get("workload", "default"), options.get("tenant", "")
        self.machine.driver.send(
            Arrived(
                identity,
                described,
                spec,
                workload,
                tenant,
                deadline_seconds,
                options.get("affinity", ""),
            )
        )
        return handle

    async def run(
        self,
        program: Program,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[RunOptions],
    ) -> Result:
        """Run one program to its end; options are those of `submit`.

        Raises the error of a program that failed. Cancelling this coroutine withdraws the
        program.
        """
        handle = self.submit(program, **options)
        handle.on_progress(on_progress)
        try:
            result: Result = await handle
        except asyncio.CancelledError:
            handle.withdraw()
            raise
        return result.raise_for_status()

    async def map(
        self, programs: Iterable[Program], *, live: int | None = None, **options: Unpack[RunOptions]
    ) -> AsyncIterator[Result]:
        """Run many programs, `live` at once, and yield their results as they end.

        A program that fails yields a result with its `error` and disturbs no other. `programs`
        may be a generator: it is read as places become free. Whoever stops iterating withdraws
        the programs that still run.
        """
        limit = self.settings.live if live is None else live
        if limit < 1:
            raise ConfigError(f"live is {limit}; at least 1 is needed")
        source, running = iter(programs), set[Handle]()
        ended: asyncio.Queue[Handle] = asyncio.Queue()
        try:
            while True:
                while len(running) < limit and (program := next(source, None)) is not None:
                    handle = self.submit(program, **options)
                    handle.when_done(ended.put_nowait)
                    running.add(handle)
                if not running:
                    return
                handle = await ended.get()
                running.remove(handle)
                yield await handle
        finally:
            for handle in running:
                handle.withdraw()

    def _free_id(self) -> str:
        self._count += 1
        while f"p{self._count}" in self._handles:
            self._count += 1
        return f"p{self._count}"

    def _check_profile(self, program: Program) -> None:
        """Warn, once a program, where the profile's policy was made for another program."""
        if self._profile is None or program.name in self._misfits:
            return
        self._misfits.add(program.name)
        for misfit in self._profile.misfits(program=program.name):
            logging.getLogger("dynasor").warning(
                "warning: %s: %s; calibrate for it", self.settings.profile, misfit
            )

    def _check_rewards(self, program: Program) -> None:
        """Refuse a program whose paths nobody here can score, before it has spent anything."""
        described = self.machine.reward_descriptions.values()
        is_scored = getattr(program, "rewards", "") == "model"
        if is_scored and not any("score" in one.supports for one in described):
            raise ConfigError(
                f"program {program.name!r} has its paths scored, and no engine here can: name a "
                'reward_engine, or give the program rewards="confidence"'
            )

    def _register(self, kind: type[Program]) -> None:
        """Let a user's own program be built by its name."""
        known = self.machine.catalog.programs.get(kind.name)
        if known is None:
            self.machine.catalog.programs[kind.name] = kind
        elif known is not kind:
            raise ConfigError(
                f"two programs are named {kind.name!r}: {known.__qualname__} and "
                f"{kind.__qualname__}; give yours another `name`"
            )


def _describe(program: Program) -> ProgramSpec:
    """Describe a program; raises `ConfigError` for one that is not made of JSON values."""
    try:
        described = describe_program(program)
        msgspec.json.encode(described)
    except (TypeError, ValueError, OverflowError) as exc:  # a lone surrogate is a ValueError
        raise ConfigError(f"program {program.name!r} is not made of JSON values: {exc}") from exc
    return described


def _as_list(engine: str | Engine | Sequence[str | Engine]) -> list[str | Engine]:
    if isinstance(engine, str) or not isinstance(engine, Sequence):
        return [engine]
    if not engine:
        raise ConfigError("the list of engines is empty; at least one is needed")
    return list(engine)
