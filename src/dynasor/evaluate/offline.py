"""Token-to-accuracy on recorded samples: policies over caps, paired over the same shuffles.

Every comparison is with even allocation at the same cap and the same number in flight, on the
same shuffles of the same questions; intervals are 95 %, bootstrap over questions of each
question's mean over the shuffles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from dynasor.core.allocation import EVEN, Policy
from dynasor.core.types import PolicySpec
from dynasor.evaluate.oracle import oracle
from dynasor.evaluate.paired import Interval, paired_mean, ratio_of_sums
from dynasor.evaluate.recorded import Recorded, check_cap
from dynasor.evaluate.replay import Job, Replayed, replay_all

__all__ = [
    "Figures",
    "Means",
    "Plan",
    "compare",
    "evaluate_plan",
    "length_specs",
    "means",
    "steps",
    "tune_length",
    "with_width",
]

TUNING_SEEDS = 4
"""Shuffles on which the length baseline is tuned: its threshold is coarse anyway."""
TUNING_STEPS = 12

Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]
OnDone = Callable[[], None]


class Means(Struct, frozen=True):
    """One policy's outcome of every question, a mean over shuffles each."""

    tokens: Numbers
    knob: Numbers
    launched: Numbers
    quality: Numbers
    missing: Numbers

    def at(self, places: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Means:
        """Return the outcomes of the questions at these places."""
        return Means(*(getattr(self, name)[places] for name in self.__struct_fields__))


class Figures(Struct, frozen=True):
    """One line of a table: a policy at a cap and a width, compared with even allocation.

    `saved` is the share of even's tokens that it does not spend, `accuracy_change` its accuracy
    minus even's, in [-1, 1]; `tokens`, `knob` and `launched` are means a question. `width` is the
    number of branches in flight, None for as many as the rule allows. `missing` is the share of
    generations for which a recorded search had nothing new.
    """

    policy: str
    cap: int
    width: int | None
    accuracy: Interval
    accuracy_change: Interval
    saved: Interval
    tokens: float
    knob: float
    launched: float
    missing: float = 0.0


class Plan(Struct, frozen=True):
    """What to evaluate: rows by label, caps, widths (None: all at once), and shuffles.

    `loss` is the accuracy that the tuned length baseline may lose, in [0, 1], and `detect` after
    how many units it looks; `program` with `params` is what every question runs; `policies` are
    one's own that rows name.
    """

    rows: dict[str, PolicySpec]
    caps: tuple[int, ...]
    widths: tuple[int | None, ...] = (1,)
    seeds: int = 20
    loss: float = 0.001
    program: str = "self-consistency"
    processes: int | None = None
    policies: dict[str, type[Policy]] = {}
    params: dict[str, Any] = {}
    detect: int = 5


def means(replayed: Sequence[Replayed]) -> Means:
    """Return every question's means over shuffles."""
    return Means(
        *(
            np.mean([getattr(one, name) for one in replayed], axis=0)
            for name in Means.__struct_fields__
        )
    )


def with_width(policy: PolicySpec, width: int | None) -> PolicySpec:
    """Return the policy with that many branches in flight, unless it says itself how many."""
    return replace(policy, params={"in_flight": width, **policy.params})


def compare(label: str, cap: int, width: int | None, own: Means, even: Means) -> Figures:
    """Return one line: a policy's means beside even's on the same questions.

    Questions on which even spends nothing have nothing to save; without any other, 0 is saved.
    """
    spends = even.tokens > 0
    ratio = Interval(1.0, 1.0, 1.0)
    if spends.any():
        ratio = ratio_of_sums(own.tokens[spends].tolist(), even.tokens[spends].tolist())
    quality = own.quality.tolist()
    return Figures(
        policy=label,
        cap=cap,
        width=width,
        accuracy=paired_mean(quality, [0.0] * len(quality)),
        accuracy_change=paired_mean(quality, even.quality.tolist()),
        saved=Interval(1 - ratio.estimate, 1 - ratio.high, 1 - ratio.low),
        tokens=float(own.tokens.mean()),
        knob=float(own.knob.mean()),
        launched=float(own.launched.mean()),
        missing=float(own.missing.sum() / max(1.0, own.launched.sum())),
    )


def evaluate_plan(
    questions: Sequence[Recorded], plan: Plan, on_done: OnDone | None = None
) -> list[Figures]:
    """Return the lines of all caps and widths: even, the plan's rows, tuned length, the oracle.

    The oracle bounds a vote over independent samples: of searches and thoughts there is none.
    Raises `UserError` for a cap beyond what was recorded. `on_done` is called up to
    `steps(plan)` times.
    """
    for cap in plan.caps:
        check_cap(questions, cap)
    lines: list[Figures] = []
    for cap in plan.caps:
        for width in plan.widths:
            lines += _block(questions, plan, cap, width, on_done)
    return lines


def steps(plan: Plan) -> int:
    """Return how many replays `evaluate_plan` makes at most, for a progress bar."""
    tuning = min(TUNING_SEEDS, plan.seeds) * TUNING_STEPS
    rows = (len(plan.rows) + 2) * plan.seeds
    return len(plan.caps) * len(plan.widths) * (rows + tuning)


def _block(
    questions: Sequence[Recorded],
    plan: Plan,
    cap: int,
    width: int | None,
    on_done: OnDone | None,
) -> list[Figures]:
    """Return the lines of one cap and one width."""
    length = tune_length(questions, plan, cap, width, on_done)
    rows = {"even": EVEN, **plan.rows, f"length:tokens={length.params['tokens']}": length}
    jobs = [_job(plan, spec, cap, width) for spec in rows.values()]
    seeds = range(plan.seeds)
    found = [means(one) for one in replay_all(questions, jobs, seeds, plan.processes, on_done)]
    lines = [
        compare(label, cap, width, own, found[0]) for label, own in zip(rows, found, strict=True)
    ]
    if any(one.is_ordered for one in questions):
        return lines
    best = means([oracle(questions, cap, seed) for seed in seeds])
    return [*lines, compare("oracle", cap, width, best, found[0])]


def _job(plan: Plan, spec: PolicySpec, cap: int, width: int | None) -> Job:
    return Job(with_width(spec, width), cap, plan.program, plan.policies, plan.params)


def tune_length(
    questions: Sequence[Recorded],
    plan: Plan,
    cap: int,
    width: int | None,
    on_done: OnDone | None = None,
) -> PolicySpec:
    """Return the length baseline that saves most on these questions, losing at most `plan.loss`.

    It is tuned in hindsight, on what it is judged on: no deployed threshold does better. Where
    none is good enough, the threshold is 0: it never stops.
    """
    specs = length_specs(questions, cap, plan.detect)
    jobs = [_job(plan, spec, cap, width) for spec in specs]
    seeds = range(min(TUNING_SEEDS, plan.seeds))
    found = [means(one) for one in replay_all(questions, jobs, seeds, plan.processes, on_done)]
    floor = found[0].quality.mean() - plan.loss
    allowed = [
        (float(own.tokens.mean()), place)
        for place, own in enumerate(found)
        if own.quality.mean() >= floor
    ]
    return specs[min(allowed)[1]]


def length_specs(questions: Sequence[Recorded], cap: int, detect: int = 5) -> list[PolicySpec]:
    """Return length baselines with thresholds from 0 (never stops) to the longest question.

    They look after `detect` units.
    """
    detect = min(detect, cap)
    spent = [sum(one.tokens) / len(one.tokens) * detect for one in questions]
    levels = np.quantile(spent, np.linspace(0, 1, TUNING_STEPS - 1))
    return [
        PolicySpec("length", {"tokens": tokens, "detect": detect}, has_lock=False)
        for tokens in sorted({0, *(int(level) for level in levels)})
    ]
