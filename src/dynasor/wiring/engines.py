"""The engines that settings name: generating ones, those that score, those that embed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dynasor.config import Settings
from dynasor.core.errors import ConfigError
from dynasor.engines.classify import WriteOut
from dynasor.engines.faults import api_root
from dynasor.engines.http import HttpEngine
from dynasor.engines.judge import PLAIN_JUDGE, Judge
from dynasor.engines.llamacpp import SHIPPED_JUDGE, LlamaCppEngine
from dynasor.engines.protocol import Description, Engine
from dynasor.engines.reward import RewardEngine
from dynasor.engines.templates import FileTemplate
from dynasor.tasks.groupings import BY_MEANING

__all__ = ["LOCAL", "check_scores", "make_embedder", "make_engines", "make_reward_engines"]

GGUF = ".gguf"
LOCAL = "local"
"""As `embedding_engine`: the small model that the extra `semantic` installs."""
OWN_SLOTS, OWN_CONTEXT = 32, 768
"""The embedded model is tiny and so is its context."""
FILE_SLOTS, FILE_CONTEXT = 8, 4096
"""Any other file is larger: its cache for this many calls still fits a laptop's memory."""
REWARD_ONLY = ("reward_model", "reward_api_key", "reward_kind", "reward_step", "reward_template")
"""Settings that mean nothing to an engine that judges what it generates."""


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
        dialect=settings.engine_kind,
        slots=settings.slots,
        seconds_limit=settings.engine_seconds,
        api_key=settings.api_key,
        judge=_judge(settings, PLAIN_JUDGE),
        chat_template=settings.chat_template,
        has_priority=settings.engine_priority,
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
    """Return the replica of a generating engine that judges too, where nothing says otherwise."""
    is_same = (
        settings.reward_model in {None, settings.model}
        and settings.reward_api_key in {None, settings.api_key}
        and settings.reward_kind in {None, "judge"}
        and settings.reward_step is None
        and settings.reward_template is None
    )
    if not is_same:
        return None
    return next((r for r, one in engines.items() if _place(one.address) == _place(name)), None)


def _place(address: str) -> str:
    return api_root(address) if "://" in address else address


def _make_reward_engine(name: str, settings: Settings) -> Engine:
    if _is_local(name):
        kind = settings.reward_kind
        meant = {
            "reward_kind": None if kind == "judge" else kind,
            "reward_step": settings.reward_step,
            "reward_template": settings.reward_template,
        }
        for setting, value in meant.items():
            if value is not None:
                raise ConfigError(
                    f"{setting} is {str(value)!r}; reward_engine {name!r} is a {GGUF} file, which "
                    "can only be a judge"
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


def make_embedder(settings: Settings) -> Engine | None:
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


def check_scores(engines: Mapping[str, Engine], described: Mapping[str, Description]) -> None:
    """Refuse a reward engine that was named and cannot score; raises `ConfigError`."""
    for name, description in described.items():
        if "score" not in description.supports:
            raise ConfigError(
                f"reward_engine {engines[name].address!r} cannot score; name a server that can "
                "continue a text (vllm, sglang, llama.cpp), or one with a reward model"
            )
