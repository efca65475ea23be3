"""Which programs were answered right, once the load is over: comparing takes processor time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dynasor.load.outcome import FAILED, Outcome
from dynasor.workers import Workers

__all__ = ["judge"]


async def judge(outcomes: Sequence[Outcome], workers: Workers, task: str) -> None:
    """Set `is_right` of every program whose reference is known and that did not fail.

    The answers of several requests vote; of equally large classes the first one counts.
    """
    for one in outcomes:
        if one.reference is not None and one.status != FAILED:
            answer = await _winner(one.answers, workers, task)
            one.is_right = await workers.grade(task, one.question, answer, one.reference)


async def _winner(answers: Sequence[str | None], workers: Workers, task: str) -> str | None:
    known = tuple(answer for answer in answers if answer is not None)
    if len(known) < 2:
        return known[0] if known else None
    classes, _ = await workers.compare(task, (), known)
    [(first, _)] = Counter(classes).most_common(1)
    return known[first]
