"""Fitted engines as files: what `dynasor fit-engine` writes and a simulation reads.

A small JSON file with the coefficients of a step, the engine's limits, and how well the formula
fitted what was measured. docs/engine-model.md has the format for people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from dynasor.core.errors import UserError
from dynasor.sim.batching import EngineModel
from dynasor.sim.step_time import StepTime
from dynasor.stored import Kind, read, write

__all__ = ["VERSION", "EngineFile", "EngineFileError", "Fit", "read_engine"]

VERSION = 1

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0.0)]


class EngineFileError(UserError):
    """A file of an engine that cannot be used: the message names it and says what is wrong."""


class Fit(Struct, frozen=True, kw_only=True):
    """How the coefficients came about, and how well they explain what was measured.

    Of `loads`, each some calls sent at once, `calls` in all and `most_calls` at most;
    `prompt_tokens` and `completion_tokens` are the longest of a call. `r_squared` is the share of
    the variance of the loads' seconds that the formula explains, `mean_error` its mean distance
    from them as a share of each. `call_seconds` went to each call beside its tokens (connection,
    template, the engine's own work on a request). `unsure` names coefficients that the loads do
    not tell from zero, or from each other.
    """

    loads: Count
    calls: Count
    most_calls: Count
    prompt_tokens: int
    completion_tokens: int
    r_squared: float
    mean_error: float
    call_seconds: Seconds
    unsure: tuple[str, ...] = ()


class EngineFile(Struct, frozen=True, kw_only=True):
    """An engine to simulate; `kv_tokens` None where nobody knows what its KV cache holds."""

    dynasor_engine: int = VERSION
    model: str
    step: StepTime
    kv_tokens: Count | None = None
    block_tokens: Count = 16
    max_running: Count
    token_budget: Count = 2048
    fit: Fit | None = None

    def engine_model(self, kv_tokens: int | None = None) -> EngineModel:
        """Return the engine to model; `kv_tokens`, if given, go before the file's.

        Raises `EngineFileError` where neither says how much the cache holds, or less than one
        block, and `ConfigError` for limits that contradict each other.
        """
        held = self.kv_tokens if kv_tokens is None else kv_tokens
        if held is None or held < self.block_tokens:
            raise EngineFileError(
                f"the KV cache of {self.model} holds {held or 'an unknown number of'} tokens; set "
                f"kv_tokens in its file to {self.block_tokens} or more"
            )
        return EngineModel(
            step=self.step,
            kv_blocks=held // self.block_tokens,
            block_tokens=self.block_tokens,
            max_running=self.max_running,
            token_budget=self.token_budget,
            call_seconds=0.0 if self.fit is None else self.fit.call_seconds,
        )

    def write(self, path: Path) -> None:
        """Write the file, replacing what stands there at once; raises `EngineFileError`."""
        write(KIND, path, self)


KIND = Kind(
    "engine", "dynasor_engine", VERSION, "dynasor fit-engine", "fit it again", EngineFileError
)


def read_engine(path: Path) -> EngineFile:
    """Read an engine; raises `EngineFileError` for a file that is none, or of another version."""
    return read(KIND, path, EngineFile)
