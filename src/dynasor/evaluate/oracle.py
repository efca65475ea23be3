"""The oracle: what a policy could save that knew the reference answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynasor.evaluate.recorded import Recorded, check_cap, trajectory
from dynasor.evaluate.replay import Replayed

__all__ = ["oracle"]


def oracle(questions: Sequence[Recorded], cap: int, seed: int) -> Replayed:
    """Return what the oracle spends, one branch after the other, on the shuffle of that seed.

    It stops after the first branch if the whole vote is worth nothing anyway, else at the first
    branch whose vote is worth as much as the whole. It bounds every policy that must keep the
    accuracy of the whole vote, that of `self-consistency`; no policy can be it, for it looks at
    the answer.
    """
    check_cap(questions, cap)
    rows: list[tuple[float, ...]] = []
    for question in questions:
        votes = trajectory(question, cap, seed)
        knob = votes.needed or 1
        last = knob - 1
        spent, sure = votes.tokens[last], votes.certaindex[last]
        rows.append((spent, knob, knob, votes.quality[last], sure, spent, 0))
    return Replayed(*(np.array(column, dtype=float) for column in zip(*rows, strict=True)))
