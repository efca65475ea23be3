"""From settings to objects: engines, workers, catalog, scheduler, driver."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dynasor.config import Settings
from dynasor.core.allocation import Policy, make_policy, policies
from dynasor.core.catalog import Catalog
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.events import PoolChanged
from dynasor.core.ordering import Ordering, make_ordering, orderings
from dynasor.core.program import Program
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Replica
from dynasor.engines.classify import WriteOut
from dynasor.engines.faults import api_root
from dynasor.engines.http import HttpEngine
from dynasor.engines.judge import PLAIN_JUDGE, Judge
from dynasor.engines.llamacpp import SHIPPED_JUDGE, LlamaCppEngine
from dynasor.engines.protocol import Description, Engine
from dynasor.engines.remembering import KeptRewards, RememberingEngine
from dynasor.engines.reward import RewardEngine
from dynasor.engines.templates import FileTemplate
from dynasor.installed import installed
from dynasor.journal import Header, JournalWriter, refuse_existing
from dynasor.profile import read_profile
from dynasor.programs import programs
from dynasor.programs.pass_through import PassThrough
from dynasor.runtime import Driver, MonotonicClock
from dynasor.tasks import tasks
from dynasor.tasks.groupings import BY_MEANING, groupings
from dynasor.workers import Workers
from dynasor.workers.comparer import Comparer, Comparers
from dynasor.workers.sandbox import Sandbox

__all__ = [
    "Machine",
    "build_id",
    "grouped",
    "make_catalog",
    "make_engines",
    "make_reward_engines",
]

GGUF = ".gguf"
LOCAL = "local"
"""As `embedding_engine`: the small model that the extra `semantic` installs."""
OWN_SLOTS, OWN_CONTEXT = 32, 768
"""The embedded model is tiny and so is its context."""
FILE_SLOTS, FILE_CONTEXT = 8, 4096
"""Any other file is larger: its cache for this many calls still fits a laptop's memory."""
REWARD_ONLY = ("reward_model", "reward_api_key", "reward_kind", "reward_step", "reward_template")
"""Settings that mean nothing to an engine that judges what it generates."""
REWARDS_KEPT = 16_384
"""A thousand searches of a dozen steps each; with their texts some tens of megabytes."""


def build_id() -> str:
    """Return the installed version: journals replay exactly only within one build."""
    try:
        return version("dynasor-serve")
    except PackageNotFoundError:
        return "source"


def make_catalog(
    extra_programs: Mapping[str, type[Program]] | None = None,
    extra_policies: Mapping[str, type[Policy]] | None = None,
    extra_orderings: Mapping[str, type[Ordering]] | None = None,
) -> Catalog:
    """Return everything that ships, what other packages register, and the user's own."""
    return Catalog(
        programs={
            PassThrough.name: PassThrough,
            **programs(),
            **installed("programs"),
            **(extra_programs or {}),
        },
        tasks=tasks(),
        policies={**policies(), **installed("policies"), **(extra_policies or {})},
        orderings={**orderings(), **installed("orderings"), **(extra_orderings or {})},
    )


def make_engines(settings: Settings) -> list[Engine]:
    """Return the engines that the settings name; nothing is started."""
    return [_make_engine(name, settings) for name in settings.engine]


def _make_engine(name: str, settings: Settings) -> Engine:
    if _is_local(name):
        return _make_local(name, settings, settings.slots)
    _check_url(name, "engine")
    return HttpEngine(
        name,
        model=settings.model,
        slots=settings.slots,
        seconds_limit=settings.engine_seconds,
        api_key=settings.api_key,
        judge=_judge(settings, PLAIN_JUDGE),
        chat_template=settings.chat_template,
    )


def _is_local(name: str) -> bool:
    return name == "embedded" or name.endswith(GGUF)


def _check_url(name: str, setting: str) -> None:
    if "://" not in name:
        raise ConfigError(
            f"{setting} {name!r} is neither a URL (http://host:port) nor a {GGUF} file nor "
            "'embedded'"
        )


def _make_local(name: str, settings: Settings, slots: int | None) -> Engine:
    is_own = name == "embedded"
    return LlamaCppEngine(
        None if is_own else Path(name),
        slots=slots or (OWN_SLOTS if is_own else FILE_SLOTS),
        threads=settings.threads,
        context_tokens=settings.context_tokens or (OWN_CONTEXT if is_own else FILE_CONTEXT),
        seconds_limit=settings.engine_seconds,
        judge=_judge(settings, SHIPPED_JUDGE if is_own else PLAIN_JUDGE),
        chat_template=settings.chat_template,
    )


def make_reward_engines(settings: Settings, engines: Mapping[str, Engine]) -> dict[str, Engine]:
    """Return the replicas that score, by name; nothing is started.

    They are `engines` (the generating ones, by replica name) where the settings name no others;
    one of them that is named again serves both roles. Raises `ConfigError` for a setting that
    cannot be used, or that says how to ask a reward engine where none is named.
    """
    if settings.reward_engine is None:
        for name in REWARD_ONLY:
            if getattr(settings, name) is not None:
                raise ConfigError(f"{name} is set and reward_engine is not: name the engine")
        return dict(engines)
    replicas: dict[str, Engine] = {}
    for place, name in enumerate(settings.reward_engine):
        shared = _serves_both(name, settings, engines)
        replica = shared or f"reward-{place}@{name}"
        replicas[replica] = engines[shared] if shared else _make_reward_engine(name, settings)
    return replicas


def _serves_both(name: str, settings: Settings, engines: Mapping[str, Engine]) -> str | None:
    """Return the replica of a generating engine that judges too."""
    is_same_model = settings.reward_model in {None, settings.model}
    if not is_same_model or settings.reward_kind not in {None, "judge"}:
        return None
    return next((r for r, one in engines.items() if _place(one.address) == _place(name)), None)


def _place(address: str) -> str:
    return api_root(address) if "://" in address else address


def _make_reward_engine(name: str, settings: Settings) -> Engine:
    if _is_local(name):
        if settings.reward_kind not in {None, "judge"}:
            raise ConfigError(
                f"reward_kind is {settings.reward_kind!r}; reward_engine {name!r} is a {GGUF} "
                "file, which can only be a judge"
            )
        return _make_local(name, settings, settings.reward_slots)
    _check_url(name, "reward_engine")
    return RewardEngine(
        name,
        kind=settings.reward_kind,
        model=settings.reward_model,
        step=settings.reward_step,
        write_out=_reward_template(settings),
        slots=settings.reward_slots,
        seconds_limit=settings.engine_seconds,
        api_key=settings.reward_api_key,
        judge=_judge(settings, PLAIN_JUDGE),
    )


def _reward_template(settings: Settings) -> WriteOut | None:
    path = settings.reward_template
    return None if path is None else FileTemplate(path, setting="reward_template").whole


def _judge(settings: Settings, otherwise: Judge) -> Judge:
    """Return the judge that the settings describe; what they leave out is as in `otherwise`."""
    instruction, mark = settings.judge_instruction, settings.judge_mark
    return Judge(
        otherwise.instruction if instruction is None else instruction,
        otherwise.mark if mark is None else mark,
    )


def _make_embedder(settings: Settings) -> Engine | None:
    """Return the server that the settings name for embeddings only; nothing is started."""
    name = settings.embedding_engine
    if settings.grouping != BY_MEANING or name is None or name == LOCAL:
        return None
    if "://" not in name:
        raise ConfigError(
            f"embedding_engine {name!r} is neither a URL (http://host:port) nor {LOCAL!r}"
        )
    return HttpEngine(
        name,
        model=settings.embedding_model,
        seconds_limit=settings.engine_seconds,
        api_key=settings.embedding_api_key,
    )


def _check_scores(engines: Mapping[str, Engine], described: Mapping[str, Description]) -> None:
    """Refuse a reward engine that was named and cannot score; raises `ConfigError`."""
    for name, description in described.items():
        if "score" not in description.supports:
            raise ConfigError(
                f"reward_engine {engines[name].address!r} cannot score; name a server that can "
                "continue a text (vllm, sglang, llama.cpp), or one with a reward model"
            )


def grouped(catalog: Catalog, task: str, grouping: str) -> Catalog:
    """Return the catalog whose task of that name sorts answers as the grouping says.

    Raises `UnknownName` for a grouping that nobody registered, and whatever the grouping raises
    for a task that it cannot sort.
    """
    known = {**groupings(), **installed("groupings")}
    if grouping not in known:
        raise UnknownName("grouping", grouping, known)
    return replace(catalog, tasks={**catalog.tasks, task: known[grouping](catalog.tasks[task])})


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
        self._embedder = _make_embedder(settings)
        if journal is not None:
            refuse_existing(journal)
        self._journal_path = journal
        self._journal: JournalWriter | None = None
        scheduler = Scheduler(config, catalog)
        self.driver = Driver(scheduler, self._all_engines, self.comparers, MonotonicClock())

    @property
    def _all_engines(self) -> dict[str, Engine]:
        return {**self.engines, **self.reward_engines}

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
            _check_scores(self.reward_engines, self.reward_descriptions)
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
            Replica(name, slots or description.slots)
            for name, description in described.items()
            if role in description.supports
        )
        if replicas:
            self.driver.send(PoolChanged(pool, replicas))

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
