"""How long one step of a modelled engine takes, and stretches of equal steps in closed form.

    seconds = base + per_prefill_token·P + per_sequence·N + per_kv_token·K

P: prompt tokens that the step computes; N: sequences that decode one token each; K: tokens of
context that those N read. While nobody comes or goes K grows by N a step, so that the time of
a stretch is a quadratic in its length: no step of it need be looked at. Linear in the batch's
tokens and its context, as engines are profiled in Vidur (arXiv 2405.05465, section 4) and
Sarathi-Serve (arXiv 2403.02310, section 3); docs/engine-model.md says what it leaves out.
"""

from __future__ import annotations

from math import isfinite, sqrt

from msgspec import Struct

from dynasor.core.errors import ConfigError

__all__ = ["MOST_STEPS", "StepTime"]

MOST_STEPS = 2**40
"""No stretch is longer: centuries of steps, and far from where adding one is rounded off."""


class StepTime(Struct, frozen=True):
    """Seconds of one engine step (iteration), and of stretches of them.

    All in seconds: `base` for any step (weights read, kernels launched), `per_prefill_token` for
    each prompt token computed, `per_sequence` for each sequence that decodes, `per_kv_token` for
    each token of context that these read. Raises `ConfigError` unless `base` is positive, or time
    might stand still, and the others are finite and not negative.
    """

    base: float
    per_prefill_token: float = 0.0
    per_sequence: float = 0.0
    per_kv_token: float = 0.0

    def __post_init__(self) -> None:
        """Check the coefficients."""
        if not (isfinite(self.base) and self.base > 0):
            raise ConfigError(f"step time: base is {self.base}; it must be positive seconds")
        for name in ("per_prefill_token", "per_sequence", "per_kv_token"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ConfigError(f"step time: {name} is {value}; it must be 0 or more seconds")

    def of(self, prefill: int, sequences: int, kv_tokens: int) -> float:
        """Return the seconds of one step; the three counts are 0 or more."""
        return (
            self.base
            + self.per_prefill_token * prefill
            + self.per_sequence * sequences
            + self.per_kv_token * kv_tokens
        )

    def stretch(self, steps: int, prefill: int, sequences: int, kv_tokens: int) -> float:
        """Return the seconds of `steps` steps, the first with `kv_tokens`, each with N more.

        Every step computes `prefill` prompt tokens and decodes `sequences`. Rises strictly with
        `steps`, up to `MOST_STEPS`; 0.0 for 0 steps, `of(...)` for 1.
        """
        growth = self.per_kv_token * sequences * (steps * (steps - 1) // 2)
        return steps * self.of(prefill, sequences, kv_tokens) + growth

    def steps_within(self, seconds: float, prefill: int, sequences: int, kv_tokens: int) -> int:
        """Return the most whole steps that `seconds` hold, 0 for none, at most `MOST_STEPS`.

        The largest k with `stretch(k, ...) <= seconds`, exactly: the quadratic's root is only
        where the search begins.
        """
        load = (prefill, sequences, kv_tokens)
        first = self.of(*load)
        if not seconds >= first:  # also where it is not a number
            return 0
        seconds = min(seconds, self.stretch(MOST_STEPS, *load))
        half = self.per_kv_token * sequences / 2  # half·k² + linear·k = seconds
        linear = first - half
        steps = int(2 * seconds / (linear + sqrt(linear * linear + 4 * half * seconds)))
        while self.stretch(steps + 1, *load) <= seconds:
            steps += 1
        while self.stretch(steps, *load) > seconds:
            steps -= 1
        return steps
