"""Choosing a policy's parameters on some questions and judging them on others.

A question's outcome under a policy does not depend on the other questions, so every candidate is
replayed once over all questions, and a split only chooses rows. What is fitted to the questions
themselves (the skyline) is fitted and replayed anew for every split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from dynasor.calibrate.candidates import FITTED, Tries, candidates
from dynasor.calibrate.skyline import fit_skyline
from dynasor.core.allocation import EVEN
from dynasor.core.errors import UnknownName, UserError
from dynasor.core.types import PolicySpec
from dynasor.evaluate.offline import Figures, Means, compare, means, with_width
from dynasor.evaluate.recorded import Recorded, check_cap
from dynasor.evaluate.replay import Job, replay_all

__all__ = ["Aim", "Chosen", "Measurements", "calibrate_splits", "halves", "measure", "replay_specs"]

FEWEST = 4
"""Questions below which no half is worth the name."""
COVERED = (1.0, 0.95)
EVERIES = (None, 5)

Indices = np.ndarray[tuple[int], np.dtype[np.int64]]
OnDone = Callable[[], None]
Tried = tuple[PolicySpec, Means]


class Aim(Struct, frozen=True):
    """What to optimise: tokens, losing at most `loss` of the accuracy, at this cap and width.

    `loss` is a difference of shares, in [0, 1]; `width` is the branches in flight, None for all.

    A candidate counts as losing what it lost on the questions at hand plus `caution` standard
    errors of that: with few questions, one that gained on some and lost on others by chance must
    not look free. 0 takes the losses as they are.
    `seeds` shuffles of every question are replayed; `has_lock` adds the lossless lock to every
    candidate. `program` with `params` is what the questions run, and `tries` what is tried.
    """

    cap: int
    width: int | None = 4
    loss: float = 0.001
    caution: float = 2.0
    seeds: int = 10
    has_lock: bool = False
    program: str = "self-consistency"
    processes: int | None = None
    params: dict[str, Any] = {}
    tries: Tries = Tries()


class Measurements(Struct, frozen=True):
    """All candidates' outcomes on all questions, even allocation's apart."""

    questions: tuple[Recorded, ...]
    aim: Aim
    even: Means
    specs: tuple[PolicySpec, ...]
    outcomes: tuple[Means, ...]

    def chosen(self, policy: str, fit: Indices, judge: Indices) -> Chosen:
        """Choose a policy's parameters on the questions `fit`, judge them on `judge`.

        Raises `UnknownName` for a policy that was not measured.
        """
        tried = self._fitted(fit) if policy in FITTED else self._measured(policy)
        return self.best(policy, tried, fit, judge)

    def best(self, label: str, tried: Sequence[Tried], fit: Indices, judge: Indices) -> Chosen:
        """Choose among policies with their outcomes on all questions, as `chosen` does."""
        spec, outcome = min(tried, key=lambda pair: self._cost(pair[1], fit))
        return Chosen(
            spec=spec,
            excess=self._cost(outcome, fit)[0],
            fitted=_figures(label, self, outcome, fit),
            judged=_figures(label, self, outcome, judge),
        )

    def _measured(self, policy: str) -> list[Tried]:
        pairs = zip(self.specs, self.outcomes, strict=True)
        tried = [(spec, outcome) for spec, outcome in pairs if spec.name == policy]
        if not tried:
            raise UnknownName("measured policy", policy, {spec.name for spec in self.specs})
        return tried

    def _fitted(self, fit: Indices) -> list[Tried]:
        """Fit skylines to the questions `fit`, and replay them all."""
        questions = [self.questions[place] for place in fit]
        seeds = range(self.aim.seeds)
        fits = [
            fit_skyline(questions, self.aim.cap, seeds, every, covered)
            for every in EVERIES
            for covered in COVERED
        ]
        specs = [replace(spec, has_lock=self.aim.has_lock) for spec in fits]
        return list(zip(specs, replay_specs(self.questions, specs, self.aim), strict=True))

    def _cost(self, outcome: Means, fit: Indices) -> tuple[float, float]:
        """Order candidates: those that lose little enough first, then by tokens.

        Where none is good enough, the one that loses least is the best.
        """
        lost = self.even.quality[fit] - outcome.quality[fit]
        # Around zero, not around the mean: a certain small loss is no less a loss.
        error = float(np.sqrt((lost**2).sum())) / len(lost)
        excess = max(0.0, float(lost.mean()) + self.aim.caution * error - self.aim.loss - 1e-9)
        return excess, float(outcome.tokens[fit].mean())


class Chosen(Struct, frozen=True):
    """A choice, how it did on the questions it was made on, and on the others.

    `excess` is how much more than allowed it counts as losing on the former, 0 where the aim
    was reached.
    """

    spec: PolicySpec
    excess: float
    fitted: Figures
    judged: Figures


def halves(count: int, seed: int) -> tuple[Indices, Indices]:
    """Return a random half of the questions' places, and the other half."""
    if count < FEWEST:
        raise UserError(
            f"{count} questions cannot be split into one half to choose on and one to judge on; "
            f"at least {FEWEST} are needed, and a few hundred are better"
        )
    order = list(range(count))
    Random(f"split {seed}").shuffle(order)
    middle = count // 2
    return np.array(sorted(order[:middle])), np.array(sorted(order[middle:]))


def measure(
    questions: Sequence[Recorded],
    names: Sequence[str],
    aim: Aim,
    on_done: OnDone | None = None,
    on_start: Callable[[int], None] | None = None,
) -> Measurements:
    """Replay every candidate of the named policies; `on_start` is told how many replays.

    Raises `UserError` for a policy without candidates and a cap beyond what was recorded.
    """
    check_cap(questions, aim.cap)
    specs = [
        spec
        for name in names
        if name not in FITTED
        for spec in candidates(name, questions, aim.cap, aim.has_lock, aim.tries)
    ]
    if on_start is not None:
        on_start((len(specs) + 1) * aim.seeds)
    found = replay_specs(questions, [EVEN, *specs], aim, on_done)
    return Measurements(tuple(questions), aim, found[0], tuple(specs), tuple(found[1:]))


def calibrate_splits(
    measured: Measurements, policy: str, splits: int, on_done: OnDone | None = None
) -> list[Chosen]:
    """Choose and judge a policy on `splits` random halves; the first one is the profile's."""
    found: list[Chosen] = []
    for seed in range(splits):
        found.append(measured.chosen(policy, *halves(len(measured.questions), seed)))
        if on_done is not None:
            on_done()
    return found


def replay_specs(
    questions: Sequence[Recorded],
    specs: Sequence[PolicySpec],
    aim: Aim,
    on_done: OnDone | None = None,
) -> list[Means]:
    """Replay policies at the aim's cap, width and shuffles; return every question's means."""
    jobs = [
        Job(with_width(spec, aim.width), aim.cap, aim.program, params=aim.params) for spec in specs
    ]
    replayed = replay_all(questions, jobs, range(aim.seeds), aim.processes, on_done)
    return [means(one) for one in replayed]


def _figures(label: str, measured: Measurements, outcome: Means, places: Indices) -> Figures:
    aim = measured.aim
    return compare(label, aim.cap, aim.width, outcome.at(places), measured.even.at(places))
