"""What the scheduler inside an engine is told: its settings at the start, hints with requests."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from dynasor.core.config import OrderingSpec
from dynasor.core.errors import ConfigError
from dynasor.core.ordering import Ordering, make_ordering, orderings
from dynasor.plugins.rescue import Rescue

__all__ = ["ENVIRONMENT", "Hinted", "PluginSettings", "read_hints", "read_settings"]

ENVIRONMENT = "DYNASOR_VLLM"
"""The environment variable that may hold the settings, as JSON."""
SECTION = "dynasor"
"""Their key in the engine's own additional configuration."""

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]


class PluginSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How requests are put in order.

    `ordering` and `params` name an ordering of `core.ordering`, or `rescue`; `aging_factor` is
    `OrderingSpec`'s, and after `patience_seconds`, which needs aging, a program has waited too long
    in any case. `tokens_per_knob` and `seconds_per_token` are what is assumed until measured. A
    program of which nothing was seen for `idle_seconds` is taken to have ended.
    """

    ordering: str = "rescue"
    params: dict[str, Any] = field(default_factory=dict)
    aging_factor: NotNegative = 10.0
    patience_seconds: Positive | None = None
    tokens_per_knob: Positive = 256.0
    seconds_per_token: Positive = 0.02
    idle_seconds: NotNegative = 60.0

    def make_ordering(self) -> Ordering:
        """Build the ordering; raises `UnknownName` or `ConfigError`."""
        spec = OrderingSpec(self.ordering, self.params, self.aging_factor, self.patience_seconds)
        return make_ordering(spec, {**orderings(), "rescue": Rescue})


class Hinted(Struct, frozen=True):
    """What a request says of its program (see `Hints`); None is what it does not say.

    The names are those of vLLM's extra arguments: flat, since a nested object is refused there.
    """

    workload: str | None = field(default=None, name="dynasor_workload")
    knob_left: NotNegative | None = field(default=None, name="dynasor_knob_left")
    tokens_per_knob: Positive | None = field(default=None, name="dynasor_tokens_per_knob")
    slack_seconds: float | None = field(default=None, name="dynasor_slack_seconds")


def read_settings(additional: object, environment: Mapping[str, str]) -> PluginSettings:
    """Return the settings: of the environment, else of the engine's additional configuration.

    Raises `ConfigError` for what is unknown, of the wrong type or out of range.
    """
    written = environment.get(ENVIRONMENT)
    try:
        if written:
            return msgspec.json.decode(written, type=PluginSettings)
        section = additional.get(SECTION, {}) if isinstance(additional, Mapping) else {}
        return msgspec.convert(section, PluginSettings)
    except msgspec.DecodeError as exc:
        place = f"${ENVIRONMENT}" if written else f"--additional-config, {SECTION!r}"
        known = ", ".join(PluginSettings.__struct_fields__)
        raise ConfigError(
            f"{place}: {exc}; give a JSON object with some of the keys {known}"
        ) from exc


def read_hints(extra: Mapping[str, Any] | None) -> Hinted | None:
    """Return the hints among a request's extra arguments, None where there are none.

    Raises `ConfigError` for one of the wrong type or out of range.
    """
    if not extra:
        return None
    try:
        hinted = msgspec.convert(extra, Hinted)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"hints of a request: {exc}; docs/vllm-plugin.md lists them") from exc
    numbers = (hinted.knob_left, hinted.tokens_per_knob, hinted.slack_seconds)
    if any(number is not None and not isfinite(number) for number in numbers):
        raise ConfigError(f"hints of a request: {hinted}; a number must be finite")
    return None if hinted == _NOTHING else hinted


_NOTHING = Hinted()
