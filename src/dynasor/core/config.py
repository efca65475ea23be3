"""The scheduler's own settings: one frozen struct, journalled, changed by an event."""

from __future__ import annotations

from math import inf
from typing import Any

from msgspec import Struct, field

from dynasor.core.errors import ConfigError

__all__ = ["OrderingSpec", "SchedulerConfig"]


class OrderingSpec(Struct, frozen=True):
    """An ordering by name and JSON parameters.

    `aging_factor`: a program that has been in the system for this many times its estimated solo
    time, or for `patience_seconds` where they are less, joins a FIFO above all others; a factor of
    0 switches aging off, and leaves nothing for patience to bound: both raise `ConfigError`.
    """

    name: str = "gang"
    params: dict[str, Any] = field(default_factory=dict)
    aging_factor: float = 10.0
    patience_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.patience_seconds is not None and self.aging_factor == 0:
            raise ConfigError(
                "patience is set and aging is 0, which switches both off; leave one of them out"
            )


class SchedulerConfig(Struct, frozen=True):
    """Everything about scheduling that is a choice.

    `window_slack`: calls sent beyond an engine's slots, as a fraction of them, so that a slot
    never waits for the round trip; `max_attempts` and `retry_seconds` (doubling) rule failed
    calls; `tokens_per_knob` and `seconds_per_token` are what is assumed until measured.

    `has_hints`: engines are told of the program behind each call. `has_shares`: tenants whose calls
    wait share each pool by weight (`core.shares`); `shares` has the weights, above 0, of those
    that do not count once.
    """

    seed: int = 0
    ordering: OrderingSpec = OrderingSpec()
    window_slack: float = 0.1
    max_attempts: int = 3
    retry_seconds: float = 0.5
    tokens_per_knob: float = 256.0
    seconds_per_token: float = 0.02
    has_hints: bool = False
    has_shares: bool = False
    shares: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise `ConfigError` for a value out of range."""
        patience = self.ordering.patience_seconds
        checks = {
            "window_slack": self.window_slack >= 0,
            "max_attempts": self.max_attempts >= 1,
            "retry_seconds": self.retry_seconds >= 0,
            "tokens_per_knob": self.tokens_per_knob > 0,
            "seconds_per_token": self.seconds_per_token > 0,
            "ordering.aging_factor": self.ordering.aging_factor >= 0,
            "ordering.patience_seconds": patience is None or patience > 0,
            "shares": all(0 < weight < inf for weight in self.shares.values()),
        }
        for name, is_in_range in checks.items():
            if not is_in_range:
                raise ConfigError(f"scheduler setting {name} is out of range in {self}")
