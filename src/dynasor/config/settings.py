"""`Settings`: every choice a user has, with its default and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from dynasor.config.serving import Serving
from dynasor.config.written import parse_ordering, parse_policy, parse_program
from dynasor.core.config import SchedulerConfig
from dynasor.core.types import PolicySpec, ProgramSpec

__all__ = ["MOST_BRANCHES", "Settings"]

MOST_BRANCHES = 1_000
"""A cap above this is a slip of the pen: thirty times the largest in the paper's table 2."""

WIDE_SLACK = 15.0
"""An engine that orders chooses among sixteen times its slots: enough to reorder, and still not
the whole queue, which would lie in its memory and could no longer be cancelled for nothing."""


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
    engine_kind: Literal["vllm", "sglang", "tensorrt-llm", "llama.cpp", "openai"] | None = Field(
        None, description="what kind of server the engines are; found out if unset"
    )
    engine_order: Literal["gateway", "engine"] = Field(
        "gateway",
        description="who orders an engine's calls: 'gateway' (a window of about its slots), or "
        "'engine' where our plug-in runs inside it (a wide window, with hints)",
    )
    engine_priority: bool = Field(
        default=False,
        description="send each call's rank as the engine's own priority; it must have been started "
        "with priority scheduling",
    )
    hints: bool = Field(
        default=False,
        description="tell engines which program a call belongs to and how much of it is left; "
        "always where the engine orders",
    )
    learn_window: bool = Field(
        default=True,
        description="where nobody says how many calls an engine runs at once, learn it from its "
        "throughput and its queue",
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
    patience_seconds: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="seconds after which it is raised in any case; needs an `aging_factor` above 0",
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
    serve: Serving = Field(
        Serving(), description="what `dynasor serve` needs besides: the table below"
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
        ordering = parse_ordering(self.ordering, self.aging_factor, self.patience_seconds)
        if self.engine_order == "engine":
            return SchedulerConfig(
                seed=self.seed, ordering=ordering, has_hints=True, window_slack=WIDE_SLACK
            )
        return SchedulerConfig(seed=self.seed, ordering=ordering, has_hints=self.hints)
