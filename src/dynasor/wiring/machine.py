"""Everything that runs: a scheduler, its driver, engines and workers, started and stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from dynasor.config import Settings
from dynasor.core.allocation import make_policy
from dynasor.core.catalog import Catalog
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.events import PoolChanged
from dynasor.core.ordering import make_ordering
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Replica
from dynasor.engines.protocol import Description, Engine
from dynasor.engines.remembering import KeptRewards, RememberingEngine
from dynasor.journal import Header, JournalWriter, refuse_existing
from dynasor.profile import read_profile
from dynasor.runtime import Driver, MonotonicClock, Watch
from dynasor.tasks.groupings import BY_MEANING
from dynasor.wiring.catalog import build_id, grouped
from dynasor.wiring.engines import LOCAL, check_scores, make_embedder, make_reward_engines
from dynasor.workers import Workers
from dynasor.workers.comparer import Comparer, Comparers
from dynasor.workers.sandbox import Sandbox

__all__ = ["Machine"]

REWARDS_KEPT = 16_384
"""A thousand searches of a dozen steps each; with their texts some tens of megabytes."""


class Machine:
    """Everything that runs: a scheduler, its driver, engines and workers, started and stopped.

    `engines` and `descriptions` are of those that generate, `reward_engines` and
    `reward_descriptions` of those that score, both by replica; one that does both is in both.
    """

    def __init__(
        self,
        settings: Settings,
        engines: Sequence[Engine],
        catalog: Catalog,
        journal: Path | None = None,
    ) -> None:
        """Check every name of the settings; raises `UserError`."""
        config = settings.scheduler_config()
        make_policy(settings.policy_spec(), catalog.policies)
        make_ordering(config.ordering, catalog.orderings)
        if settings.task not in catalog.tasks:
            raise UnknownName("task", settings.task, catalog.tasks)
        if not engines:
            raise ConfigError("no engine is named; at least one is needed")
        self.settings = settings
        self.catalog = catalog = grouped(catalog, settings.task, settings.grouping)
        named = {f"{n}@{engine.address}": engine for n, engine in enumerate(engines)}
        kept = KeptRewards(REWARDS_KEPT)
        self.reward_engines: dict[str, Engine] = {
            name: RememberingEngine(engine, kept)
            for name, engine in make_reward_engines(settings, named).items()
        }
        self.engines = {name: self.reward_engines.get(name, one) for name, one in named.items()}
        self.descriptions: dict[str, Description] = {}
        self.reward_descriptions: dict[str, Description] = {}
        sandbox = (
            Sandbox(is_allowed=True, processes=settings.workers) if settings.run_code else None
        )
        self.workers = Workers(settings.workers, sandbox=sandbox)
        self.comparers = Comparers(self.workers)
        self._embedder = make_embedder(settings)
        if journal is not None:
            refuse_existing(journal)
        self._journal_path = journal
        self._journal: JournalWriter | None = None
        scheduler = Scheduler(config, catalog)
        self.driver = Driver(scheduler, self._all_engines, self.comparers, MonotonicClock())
        self._pools: dict[str, list[str]] = {}
        self._watch: Watch | None = None

    @property
    def _all_engines(self) -> dict[str, Engine]:
        return {**self.engines, **self.reward_engines}

    @property
    def replicas(self) -> tuple[str, ...]:
        """The names of all replicas, those that generate first."""
        return tuple(self._all_engines)

    @property
    def abilities(self) -> frozenset[str]:
        """What all generating engines can do (`Description.supports`); nothing before the start."""
        supports = [one.supports for one in self.descriptions.values()]
        return frozenset.intersection(*supports) if supports else frozenset()

    @property
    def slots(self) -> int:
        """Calls that all generating engines together run at once."""
        return sum(description.slots for description in self.descriptions.values())

    async def start(self) -> None:
        """Start all engines at once; one that cannot be reached fails the start."""
        described = await self._start_engines()
        self.descriptions = {name: described[name] for name in self.engines}
        self.reward_descriptions = {name: described[name] for name in self.reward_engines}
        if self.settings.reward_engine is not None:
            check_scores(self.reward_engines, self.reward_descriptions)
        _check_models(self.descriptions)
        self._check_profile()
        if self.settings.grouping == BY_MEANING:
            self.comparers.use(await self._by_meaning(), self.settings.task)
        if self._journal_path is not None:  # not before: a failed start leaves no file behind
            header = Header(
                1,
                build_id(),
                self.driver.scheduler.config,
                self.settings.task,
                self.settings.grouping,
            )
            self._journal = JournalWriter(self._journal_path, header)
            self.driver.record_in(self._journal)
        self._open_pool("generate", "generate", self.descriptions, None)
        self._open_pool("reward", "score", self.reward_descriptions, self.settings.reward_slots)
        self._open_pool("embed", "embed", self.descriptions, None)

    async def _start_engines(self) -> dict[str, Description]:
        """Start all at once, and raise the first failure once none is starting any more."""
        engines = self._all_engines
        described = await asyncio.gather(
            *(engine.start() for engine in engines.values()), return_exceptions=True
        )
        descriptions: dict[str, Description] = {}
        for name, description in zip(engines, described, strict=True):
            if isinstance(description, BaseException):
                raise description
            descriptions[name] = description
        return descriptions

    def _open_pool(
        self, pool: str, role: str, described: Mapping[str, Description], slots: int | None
    ) -> None:
        """Let a pool consist of the replicas that can serve its role."""
        replicas = tuple(
            Replica(name, slots or one.slots, self._is_learnt(one, slots))
            for name, one in described.items()
            if role in one.supports
        )
        if replicas:
            self._pools[pool] = [replica.name for replica in replicas]
            self.driver.send(PoolChanged(pool, replicas))

    def _is_learnt(self, described: Description, slots: int | None) -> bool:
        """Whether a replica's window is learnt: nobody says how many calls it runs at once."""
        is_ours = self.settings.engine_order == "gateway"
        return is_ours and self.settings.learn_window and slots is None and not described.has_slots

    def look_after_engines(self, seconds: float) -> None:
        """Look at every engine's health and load that often, until closed."""
        self._watch = Watch(self.driver, self._all_engines, self._pools, seconds)
        self._watch.start()

    def drain(self, replica: str, *, is_draining: bool = True) -> None:
        """Send a replica nothing new from now on, or (False) again all that it can run.

        What it runs ends by itself; what waits goes elsewhere, or waits until there is room.
        """
        for pool in self.driver.scheduler.dispatcher.pools.values():
            if replica in pool.replicas:
                told = {name: state.told for name, state in pool.replicas.items()}
                told[replica] = replace(told[replica], is_draining=is_draining)
                self.driver.send(PoolChanged(pool.name, tuple(told.values())))

    def _check_profile(self) -> None:
        """Warn of a profile made for another model, task or grouping than what runs here."""
        if self.settings.profile is None:
            return
        profile = read_profile(self.settings.profile)
        task, grouping = self.settings.task, self.settings.grouping
        for model in sorted({one.model for one in self.descriptions.values()}):
            for misfit in profile.misfits(model=model, task=task, grouping=grouping):
                logging.getLogger("dynasor").warning(
                    "warning: %s: %s; calibrate for it", self.settings.profile, misfit
                )

    async def _by_meaning(self) -> Comparer:
        """Return who sorts by meaning, with the named source of embeddings or one that works."""
        from dynasor.runtime.embedding import by_meaning  # noqa: PLC0415 - loads numpy

        name = self.settings.embedding_engine
        engines = [
            engine
            for replica, engine in self.engines.items()
            if name is None and "embed" in self.descriptions[replica].supports
        ]
        if self._embedder is not None:
            await self._embedder.start()
            engines = [self._embedder]
        return await by_meaning(
            engines,
            self.settings.similarity,
            seconds_limit=self.settings.engine_seconds,
            or_local=name in {None, LOCAL},
        )

    async def close(self) -> None:
        """Stop everything, whatever state it is in."""
        if self._watch is not None:
            await self._watch.close()
        await self.driver.close()
        results = await asyncio.gather(
            *(engine.close() for engine in self._all_engines.values()),
            *([self._embedder.close()] if self._embedder is not None else []),
            self.workers.close(),
            return_exceptions=True,
        )
        if self._journal is not None:
            self._journal.close()  # raises if the journal is not whole
        for result in results:
            if isinstance(result, BaseException):
                raise result


def _check_models(described: Mapping[str, Description]) -> None:
    """Refuse engines of different models: any of them may serve any call."""
    models = {one.model: name for name, one in described.items()}
    if len(models) > 1:
        listed = ", ".join(f"{model} on {name.partition('@')[2]}" for model, name in models.items())
        raise ConfigError(
            f"engines are replicas of one model, and these serve several ({listed}); name the one "
            "to ask for (model), or run a Dynasor for each"
        )
