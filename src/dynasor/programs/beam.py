"""Beam search over steps, led by a reward model (arXiv 2408.03314, section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dynasor.core.errors import ConfigError
from dynasor.core.types import PolicySpec
from dynasor.programs.rebase import Rebase

__all__ = ["Beam", "beam_shares"]


def beam_shares(rewards: Sequence[float], width: int, expand: int) -> list[int]:
    """Let the best steps go on, each in `expand` ways; the shares sum to `width`.

    Of `width` paths `width / expand` steps are kept, rounded up, or as many as there are. They
    share alike, the best first, so that none gets more than `expand` unless there are too few.
    """
    kept = min(len(rewards), -(-width // expand))
    best = sorted(range(len(rewards)), key=lambda at: -rewards[at])[:kept]
    shares = [0] * len(rewards)
    for place, at in enumerate(best):
        shares[at] = width // kept + (place < width % kept)
    return shares


@dataclass
class Beam(Rebase):
    """Search level by level, and keep the best steps of each level alone.

    As `Rebase` but for how the width is shared: `1 / expand` of the steps, those of the highest
    rewards, go on, each in `expand` ways. `balance` has no meaning here.
    """

    name = "beam"
    usual_policy = PolicySpec("even", has_lock=False)

    expand: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.expand < 1:
            raise ConfigError(f"expand is {self.expand}; at least 1 is needed")

    def _shares(self, rewards: Sequence[float], width: int) -> list[int]:
        return beam_shares(rewards, width, self.expand)
