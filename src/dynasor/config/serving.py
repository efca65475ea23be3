"""`Serving`: what `dynasor serve` needs besides the settings that every command has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dynasor.config.written import parse_policy, parse_program
from dynasor.core.errors import ConfigError

__all__ = ["Serving"]

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Serving(BaseModel):
    """The table `[serve]`; see docs/configuration.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(
        "127.0.0.1", description="address to listen on; '0.0.0.0' for every network of the machine"
    )
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        8000, description="port to listen on; 0 takes a free one and says which"
    )
    keys: Path | None = Field(
        None,
        description="file of the API keys that may come in (`dynasor keys add`); everybody may if "
        "unset",
    )
    max_body_bytes: Annotated[int, Field(ge=1)] = Field(
        8 * 1024 * 1024, description="longest request body, in bytes"
    )
    body_seconds: Seconds = Field(10.0, description="time in which a request body must have come")
    request_seconds: Seconds = Field(
        600.0,
        description="longest time a request may take; a program that is not done by then is "
        "answered with the best so far",
    )
    queue: Annotated[int, Field(ge=1)] = Field(
        10_000, description="requests that may wait or run at once; more are told to come back"
    )
    drain_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        30.0, description="time that requests still running have to end when the server stops"
    )
    health_seconds: Seconds = Field(5.0, description="time between two looks at an engine's health")
    algorithm: str | None = Field(
        None,
        description="algorithm for requests that name none, as NAME or NAME:key=value,...; they "
        "pass through to the engine if unset",
    )
    shadow: str | None = Field(
        None,
        description="policy that decides and does not act, as NAME or NAME:key=value,...: what it "
        "would have saved is reported",
    )
    record: Path | None = Field(
        None, description="folder in which served programs are recorded as traces, a folder a day"
    )
    kept_programs: Annotated[int, Field(ge=0)] = Field(
        1_000,
        description="ended programs that /v1/programs still shows, and passed requests as many",
    )
    log: Literal["text", "json", "none"] = Field(
        "text",
        description="one line for each request and program on stderr: 'text', 'json', 'none'",
    )
    metrics: Literal["open", "key", "none"] | None = Field(
        None,
        description="who may read /metrics: everybody, who has an API key, or nobody; where there "
        "are keys those who have one, if unset",
    )

    @field_validator("algorithm")
    @classmethod
    def _check_algorithm(cls, text: str | None) -> str | None:
        return _readable(text, parse_program)

    @field_validator("shadow")
    @classmethod
    def _check_shadow(cls, text: str | None) -> str | None:
        return _readable(text, parse_policy)

    @property
    def metrics_for(self) -> Literal["open", "key", "none"]:
        """Who may read /metrics."""
        return self.metrics or ("open" if self.keys is None else "key")

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show what was chosen only: a dozen defaults hide it."""
        return ((name, getattr(self, name)) for name in sorted(self.model_fields_set))


def _readable(text: str | None, parse: Any) -> str | None:
    """Refuse what cannot be read as NAME:key=value,...; pydantic wants a `ValueError`."""
    if text is None:
        return None
    try:
        parse(text)
    except ConfigError as exc:
        raise ValueError(str(exc)) from exc
    return text
