"""Best-of-n and the reward-weighted vote: sample many paths, let a reward model judge each."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal

from dynasor.core.certaindex import confidence
from dynasor.core.errors import CallFailed
from dynasor.core.program import Operation
from dynasor.core.types import Answer, Generate, Generated, Prompt, Score, Scored
from dynasor.programs.self_consistency import SelfConsistency

__all__ = ["NEUTRAL", "BestOfN"]

NEUTRAL = 0.5
"""The reward of what could not be scored: as good as not, for all that is known."""


@dataclass
class BestOfN(SelfConsistency):
    """Sample up to `cap` branches, score each whole branch, and answer with the best one.

    `choose` is `best` (the branch of the highest reward) or `vote` (the class of the highest sum
    of rewards; arXiv 2206.02336). `rewards` come from a `model` (the pool `reward`), or are the
    generator's own `confidence`: the geometric mean of its tokens' probabilities. The knob is the
    number of branches. Certaindex: `entropy` over the answers, and `reward`, the highest so far
    (paper, section 3.1, its form for Rebase). A branch that cannot be scored counts for
    `NEUTRAL`. Only `vote` may stop early because its leader cannot be overtaken: the best branch
    can still come.
    """

    name = "best-of-n"

    choose: Literal["best", "vote"] = "best"
    rewards: Literal["model", "confidence"] = "model"
    _best: tuple[float, Answer] | None = field(default=None, init=False, repr=False, compare=False)
    _highest: float = field(default=0.0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.choose == "best":
            self.votes = None  # nothing that a majority says is final
        if self.rewards == "confidence":
            self.has_logprobs = True

    def _weigh(self, work: Generate, sample: Generated) -> Generator[Operation, Any, float]:
        reward: float | None = None
        if self.rewards == "confidence":
            reward = confidence(sample.mean_logprob)
        else:
            try:
                scored: Scored = yield Score((Prompt(work.prompt.messages, sample.text),))
                (reward,) = scored.rewards
            except CallFailed:
                pass
        if reward is None:
            self.note("scores lost")
            return NEUTRAL
        self._highest = max(self._highest, reward)
        return reward

    def _keep(self, group: int, answer: Answer, weight: float) -> None:
        super()._keep(group, answer, weight)
        if self._best is None or weight > self._best[0]:
            self._best = (weight, answer)

    def update_certaindex(self) -> dict[str, float]:
        """Return the entropy form over all answers so far, and the highest reward."""
        return {**super().update_certaindex(), "reward": self._highest}

    def answer(self) -> Answer | None:
        """Return the branch of the highest reward, or a member of the winning class."""
        if self.choose == "vote":
            return super().answer()
        return None if self._best is None else self._best[1]
