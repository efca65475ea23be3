"""What serves: modelled engines of one kind, side by side; and what a program would take alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from dynasor.online.systems import System
from dynasor.sim.batching import BatchEngine, EngineModel, Listener

__all__ = ["Cluster", "solo_seconds"]

Count = Annotated[int, Meta(ge=1)]
ALL_AT_ONCE = 10**7
"""Slots of an engine that owns the order of calls: it is sent everything."""


class Cluster(Struct, frozen=True):
    """So many replicas of one engine.

    `slots`: calls that the scheduler believes a replica runs at once; None for `max_running`.
    Fewer are right where memory holds fewer, or the scheduler sends what then waits in the engine.
    """

    model: EngineModel
    replicas: Count = 1
    slots: Count | None = None

    def engines(self, system: System, listener: Listener | None = None) -> dict[str, BatchEngine]:
        """Return fresh engines for a system, by name."""
        model = replace(self.model, order=system.engine_order)
        slots = ALL_AT_ONCE if system.ordering is None else self.slots
        return {
            f"replica-{place}": BatchEngine(model, slots, listener)
            for place in range(self.replicas)
        }


def solo_seconds(model: EngineModel, prompt: int, lengths: Sequence[int]) -> float:
    """Return the time that branches of one prompt take on an engine that is otherwise idle.

    Exact where all of them run at once (`max_running`, memory) and their prompts fit into one
    step; `lengths` are their completion tokens.
    """
    step, size = model.step, model.block_tokens
    found = (prompt - 1) // size * size
    prompts = prompt + (len(lengths) - 1) * (prompt - found)
    chunks = ceil(prompts / model.token_budget)
    seconds = step.stretch(chunks, ceil(prompts / chunks), 0, 0)
    done, running = 1, len(lengths)
    for length in sorted(lengths):
        if length > done:
            context = running * (prompt + done)
            seconds += step.stretch(length - done, 0, running, context)
            done = length
        running -= 1
    return seconds
