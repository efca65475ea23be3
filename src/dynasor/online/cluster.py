"""What serves: modelled engines of one kind, side by side; and what a program would take alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from dynasor.core.errors import ConfigError
from dynasor.online.systems import System
from dynasor.sim.batching import BatchEngine, EngineModel, Listener

__all__ = ["Cluster", "solo_seconds"]

Count = Annotated[int, Meta(ge=1)]


class Cluster(Struct, frozen=True):
    """So many replicas of one engine.

    `slots`: calls that the scheduler believes a replica runs at once; None for `max_running`.
    Fewer are right where memory holds fewer, or the scheduler sends what then waits in the engine.
    Raises `ConfigError` for less than one of either.
    """

    model: EngineModel
    replicas: Count = 1
    slots: Count | None = None

    def __post_init__(self) -> None:
        """Check that there is an engine, and that it is sent something."""
        for name, value in (("replicas", self.replicas), ("slots", self.slots)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")

    def engines(self, system: System, listener: Listener | None = None) -> dict[str, BatchEngine]:
        """Return fresh engines for a system, by name."""
        model = replace(self.model, order=system.engine_order)
        return {
            f"replica-{place}": BatchEngine(model, self.slots, listener)
            for place in range(self.replicas)
        }


def solo_seconds(model: EngineModel, prompt: int, lengths: Sequence[int]) -> float:
    """Return the time that branches of one prompt take on an engine that is otherwise idle.

    `lengths` are their completion tokens, in order of submission. The branches after the first
    compute what follows the last whole block of the prompt, chunk by chunk beside those that
    decode. Exact, but for rounding, where all of them can run at once (`max_running`, memory).
    """
    step, size = model.step, model.block_tokens
    prompts = [prompt] + [prompt - (prompt - 1) // size * size] * (len(lengths) - 1)
    decoded = [max(0, length - 1) for length in lengths]  # the first token comes with the prompt
    # A branch that decodes n tokens reads prompt + 1, ..., prompt + n tokens of context.
    context = sum(count * prompt + count * (count + 1) // 2 for count in decoded)
    return (
        _steps(model.token_budget, prompts, decoded) * step.base
        + sum(prompts) * step.per_prefill_token
        + sum(decoded) * step.per_sequence
        + context * step.per_kv_token
    )


def _steps(budget: int, prompts: Sequence[int], decoded: Sequence[int]) -> int:
    """Return the steps of calls, each with prompt tokens to compute and then tokens to decode."""
    step = room = 0
    last: list[int] = []
    for prompt, count in zip(prompts, decoded, strict=True):
        left = prompt
        while left:
            if not room:
                step += 1
                room = budget - sum(end >= step for end in last)
            done = min(left, room)
            left -= done
            room -= done
        last.append(step + count)
    return max(last)
