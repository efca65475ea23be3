"""Settings: one typed tree from defaults, a TOML file, the environment and flags, in that order.

Unknown keys are refused wherever they stand. `DYNASOR_POLICY=even` sets `policy`, and so on.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dynasor.core.config import OrderingSpec, SchedulerConfig
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.profile import read_profile

__all__ = [
    "MOST_BRANCHES",
    "SAID_ELSEWHERE",
    "Settings",
    "format_policy",
    "format_program",
    "load_settings",
    "parse_ordering",
    "parse_policy",
    "parse_program",
]

MOST_BRANCHES = 1_000
"""A cap above this is a slip of the pen: thirty times the largest in the paper's table 2."""
PREFIX = "DYNASOR_"
NOT_SETTINGS = frozenset({"DYNASOR_TRACES"})
"""Where benchmarks and tests look for recordings: it stands in the same shells."""
DEFAULT_FILE = "dynasor.toml"
QUOTED_OR_CHAR = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)
SAID_ELSEWHERE = frozenset({"question", "messages", "task", "cap"})
"""Fields of every program that say what is asked, of whom and how far, not how."""


class Settings(BaseModel):
    """Every setting a user may choose; see docs/configuration.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: list[str] = Field(
        ["embedded"],
        description="URLs of OpenAI-compatible servers (the replicas of one model), "
        "the path of one GGUF file, or 'embedded'",
    )
    model: str | None = Field(
        None, description="model name to ask for; the server's first if unset"
    )
    api_key: str | None = Field(None, description="bearer token for the engine", repr=False)
    slots: Annotated[int, Field(ge=1)] | None = Field(
        None, description="calls one engine runs at once; asked from the engine if unset"
    )
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="threads of the embedded engine; all cores but one if unset"
    )
    context_tokens: Annotated[int, Field(ge=64)] | None = Field(
        None,
        description="longest prompt plus completion of a GGUF engine, in tokens; "
        "768 for the embedded model and 4096 for other files if unset",
    )
    chat_template: Path | None = Field(
        None,
        description="the model's chat template: its folder, tokenizer_config.json or "
        "chat_template.jinja; the engine's own if unset",
    )
    engine_seconds: Annotated[float, Field(gt=0)] = Field(
        120.0, description="silence after which a call to an engine has failed"
    )
    judge_instruction: str | None = Field(
        None,
        description="system message that makes the model judge partial solutions; "
        "what the embedded model needs, or nothing, if unset",
    )
    judge_mark: str | None = Field(
        None,
        description="text after a partial solution that makes it judge; as above if unset",
    )
    reward_engine: Annotated[list[str], Field(min_length=1)] | None = Field(
        None,
        description="where partial solutions are scored, as in `engine` (the replicas of one "
        "reward model); the engine itself judges if unset",
    )
    reward_model: str | None = Field(
        None, description="model name to ask the reward engine for; its first if unset"
    )
    reward_api_key: str | None = Field(
        None, description="bearer token for the reward engine", repr=False
    )
    reward_slots: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="calls for scores that one replica runs at once; as `slots` if unset",
    )
    reward_kind: Literal["judge", "pooling", "classify"] | None = Field(
        None,
        description="how the reward engine scores: 'pooling' (vLLM), 'classify' (SGLang) or "
        "'judge' (the next token, + or -); found out if unset",
    )
    reward_step: str | None = Field(
        None,
        description="text that ends a step in the reward model's input, '' for nothing; by the "
        "model's name if unset",
    )
    reward_template: Path | None = Field(
        None,
        description="chat template of a reward model on SGLang: a folder, a "
        "tokenizer_config.json or a .jinja file",
    )
    task: str = Field("math", description="prompt, answer extraction, grouping and grading")
    grouping: str = Field(
        "task",
        description="which answers are the same: what the task says, or 'meaning' "
        "(free text, by embeddings)",
    )
    similarity: Annotated[float, Field(gt=0, le=1)] = Field(
        0.75, description="cosine of two embeddings from which on their texts mean the same"
    )
    embedding_engine: str | None = Field(
        None,
        description="URL of a server with /v1/embeddings, or 'local'; if unset the engine where "
        "it embeds, else the local model",
    )
    embedding_model: str | None = Field(
        None, description="model name to ask the embedding engine for; its first if unset"
    )
    embedding_api_key: str | None = Field(
        None, description="bearer token for the embedding engine", repr=False
    )
    profile: Path | None = Field(
        None,
        description="a calibrated policy from `dynasor calibrate`: its program, policy, lock, cap "
        "and task hold unless a flag says otherwise",
    )
    run_code: bool = Field(
        default=False,
        description="permit to run answers of the task 'code' as programs, in a sandbox, to grade "
        "them",
    )
    program: str = Field(
        "self-consistency", description="reasoning algorithm, as NAME or NAME:key=value,..."
    )
    policy: str = Field(
        "beta",
        description="allocation policy, as NAME or NAME:key=value,...; if unset, a program's own "
        "usual one goes before",
    )
    lock: bool = Field(default=True, description="also stop when the leader cannot be overtaken")
    ordering: str = Field("gang", description="whose calls run next, as NAME or NAME:key=value,...")
    aging_factor: Annotated[float, Field(ge=0)] = Field(
        10.0, description="solo times after which a program is raised above all others; 0: never"
    )
    cap: Annotated[int, Field(ge=1, le=MOST_BRANCHES)] = Field(
        20,
        description="most units of one question: branches, or what the program counts (its knob)",
    )
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(
        0.7, description="sampling temperature"
    )
    max_tokens: Annotated[int, Field(ge=1)] = Field(1024, description="longest branch, in tokens")
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = Field(
        0, description="seed of all sampling"
    )
    live: Annotated[int, Field(ge=1)] = Field(
        256, description="questions of a batch that are worked on at once, at most"
    )
    workers: Annotated[int, Field(ge=1)] = Field(
        1, description="processes that compare answers which take mathematics to compare"
    )

    def policy_spec(self) -> PolicySpec:
        """Return the policy with its lock."""
        return parse_policy(self.policy, has_lock=self.lock)

    def policy_for(self, usual: PolicySpec | None) -> PolicySpec:
        """Return the policy that was chosen, else a program's usual one where it has its own.

        A lock that was chosen goes before the usual policy's.
        """
        if usual is None or "policy" in self.model_fields_set:
            return self.policy_spec()
        has_lock = self.lock if "lock" in self.model_fields_set else usual.has_lock
        return msgspec.structs.replace(usual, has_lock=has_lock)

    def program_spec(self) -> ProgramSpec:
        """Return the program and its own parameters."""
        return parse_program(self.program)

    def scheduler_config(self) -> SchedulerConfig:
        """Return what the scheduler must know."""
        ordering = parse_ordering(self.ordering, self.aging_factor)
        return SchedulerConfig(seed=self.seed, ordering=ordering)


def load_settings(path: Path | None = None, **flags: Any) -> Settings:
    """Return the settings; flags that are None were not given.

    From weak to strong: defaults, the file, the environment, the profile, flags.
    `path` None reads `dynasor.toml` of the working folder if there is one. Raises `ConfigError`
    or `UnknownName` in one line that says where the setting stands.
    """
    if path is None and Path(DEFAULT_FILE).is_file():
        path = Path(DEFAULT_FILE)
    merged = _from_file(path) if path is not None else {}
    places = dict.fromkeys(merged, f" in {path}")
    environment = _from_environment()
    places |= {name: f" in the environment ({PREFIX}{name.upper()})" for name in environment}
    merged |= environment
    given = {name: value for name, value in flags.items() if value is not None}
    _refuse_unknown(given, "setting")
    profile = given.get("profile") or merged.get("profile")
    if profile:
        calibrated = _from_profile(Path(profile))
        merged |= calibrated
        places |= dict.fromkeys(calibrated, f" in the profile {profile}")
    merged |= given
    places |= dict.fromkeys(given, "")
    for name in ("engine", "reward_engine"):
        if isinstance(merged.get(name), str):
            merged[name] = [part.strip() for part in merged[name].split(",")]
    try:
        return Settings.model_validate(merged)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        place = places.get(str(first["loc"][0]), "")
        shown = "unusable" if name.endswith("api_key") else repr(first["input"])
        raise ConfigError(f"setting {name!r}{place} is {shown}: {first['msg']}") from exc


def parse_policy(text: str, *, has_lock: bool = True) -> PolicySpec:
    """Read `NAME` or `NAME:key=value,...`; values are JSON where they can be, else text."""
    name, params = _parse(text, "policy")
    return PolicySpec(name, params, has_lock)


def format_policy(spec: PolicySpec) -> str:
    """Write a policy so that `parse_policy` reads it again; the lock is not part of it."""
    return _format(spec.name, spec.params)


def parse_program(text: str) -> ProgramSpec:
    """Read a program, written like a policy; raises `ConfigError` for what is said elsewhere.

    That is the question and what every question has a setting for: task and cap.
    """
    name, params = _parse(text, "program")
    for key in params:
        if key in SAID_ELSEWHERE:
            is_setting = key in Settings.model_fields
            place = "has a setting of its own" if is_setting else "comes with each question"
            raise ConfigError(f"program {text!r}: {key!r} {place}; leave it out")
    return ProgramSpec(name, params)


def format_program(spec: ProgramSpec) -> str:
    """Write a program so that `parse_program` reads it again."""
    return _format(spec.name, spec.params)


def parse_ordering(text: str, aging_factor: float) -> OrderingSpec:
    """Read an ordering, written like a policy."""
    name, params = _parse(text, "ordering")
    return OrderingSpec(name, params, aging_factor)


def _parse(text: str, kind: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = text.partition(":")
    params: dict[str, Any] = {}
    for part in _split(rest):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{kind} {text!r}: expected NAME:key=value,key=value, got {part!r}")
        if key.strip() in params:
            raise ConfigError(f"{kind} {text!r}: {key.strip()!r} is given twice")
        params[key.strip()] = _value(value.strip())
    return name.strip(), params


def _format(name: str, params: dict[str, Any]) -> str:
    written = ",".join(f"{key}={json.dumps(value)}" for key, value in params.items())
    return f"{name}:{written}" if written else name


def _split(text: str) -> list[str]:
    """Split at commas that stand outside of braces and quoted texts."""
    parts, depth = [""], 0
    for piece in QUOTED_OR_CHAR.findall(text):
        if len(piece) == 1:
            depth += (piece in "{[") - (piece in "}]")
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return [part for part in parts if part.strip()]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of 5,000 digits, a tower of brackets
        return text


def _from_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"settings file {path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"settings file {path} is not TOML: {exc}") from exc
    _refuse_unknown(values, f"setting in {path}:")
    return values


def _from_profile(path: Path) -> dict[str, Any]:
    profile = read_profile(path)
    return {
        "program": profile.program,
        "policy": format_policy(profile.policy_spec()),
        "lock": profile.lock,
        "cap": profile.cap,
        "task": profile.task,
    }


def _from_environment() -> dict[str, Any]:
    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and name not in NOT_SETTINGS
    }
    _refuse_unknown(values, f"setting in the environment ({PREFIX}...):")
    return values


def _refuse_unknown(values: dict[str, Any], kind: str) -> None:
    for name in values:
        if name not in Settings.model_fields:
            raise UnknownName(kind, name, Settings.model_fields)
