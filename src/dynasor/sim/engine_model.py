"""What an engine with continuous batching is modelled by, and what it counts."""

from __future__ import annotations

from math import isfinite
from typing import Annotated

from msgspec import Meta, Struct

from dynasor.core.errors import ConfigError
from dynasor.sim.kv import Eviction
from dynasor.sim.step_time import StepTime
from dynasor.sim.waiting import Order

__all__ = ["EngineModel", "EngineTotals"]

Count = Annotated[int, Meta(ge=1)]


class EngineModel(Struct, frozen=True):
    """What an engine is modelled by.

    `kv_blocks` blocks of `block_tokens` tokens hold the KV cache; at most `max_running` sequences
    run at once and a step has at most `token_budget` tokens (vLLM's `max_num_seqs` and
    `max_num_batched_tokens`). `order` is the engine's own among the calls that wait in it.
    `call_seconds` is what each call adds to the step in which it is admitted, beside its tokens:
    the engine's work on a request. Raises `ConfigError` for an engine without memory or slots, for
    a budget that leaves no room for prompts beside a full batch, and unless `call_seconds` is
    finite and not negative.
    """

    step: StepTime
    kv_blocks: Count
    block_tokens: Count = 16
    max_running: Count = 256
    token_budget: Count = 2048
    eviction: Eviction = "lru"
    order: Order = "fcfs"
    call_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Check that something can run, and that prompts go on in a full batch."""
        for name in ("kv_blocks", "block_tokens", "max_running"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not (isfinite(self.call_seconds) and self.call_seconds >= 0):
            raise ConfigError(f"call_seconds is {self.call_seconds}; it must be 0 or more seconds")
        if self.token_budget <= self.max_running:
            raise ConfigError(
                f"token_budget is {self.token_budget} and max_running {self.max_running}; a step "
                "needs room for prompts beside one token of every sequence: raise the budget"
            )

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds."""
        return self.kv_blocks * self.block_tokens


class EngineTotals(Struct):
    """What an engine has done so far.

    `kv_block_seconds` is the integral of the blocks in use over the seconds in which it was busy,
    `kv_most` their maximum; `prefilled` prompt tokens were computed (again after a preemption),
    `cached` were found in the cache; `refused` calls could never have fitted.
    """

    steps: int = 0
    busy_seconds: float = 0.0
    generated: int = 0
    prefilled: int = 0
    cached: int = 0
    preemptions: int = 0
    refused: int = 0
    kv_block_seconds: float = 0.0
    kv_most: int = 0
