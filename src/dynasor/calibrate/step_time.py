"""Fit the seconds of an engine's steps to timed loads, by least squares without negative costs.

A load's seconds are linear in the coefficients of `dynasor.sim.step_time`: so many steps, prompt
tokens, tokens decoded, and tokens of context read in all. All of these follow from the engine's own
counts, where the calls of a load start together and go on in step. One coefficient more, for what
each call costs beside its tokens, keeps connections and templates out of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, sqrt

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from dynasor.calibrate.loads import TimedLoad
from dynasor.core.errors import ConfigError, UserError
from dynasor.sim.engine_file import Fit
from dynasor.sim.step_time import StepTime

__all__ = ["COEFFICIENTS", "FittedStep", "Term", "fit_step_time", "solver"]

COEFFICIENTS = ("base", "per_prefill_token", "per_sequence", "per_kv_token")
CALL = "per_call"
LEAST_BASE = 1e-6
"""Seconds of a step that seems to cost nothing by itself: time has to go on."""
SURE = 2.0
"""Standard errors that a coefficient must lie above zero."""
ALIKE = 1e-6
"""Of the largest singular value: below it two kinds of work never came apart."""

Array = NDArray[np.float64]


class Term(Struct, frozen=True):
    """One coefficient in seconds, its standard error, and its share of all the time measured."""

    name: str
    seconds: float
    error: float
    share: float

    @property
    def is_sure(self) -> bool:
        """Whether the loads tell it from zero, and from the others."""
        return self.seconds > SURE * self.error


class FittedStep(Struct, frozen=True):
    """What was fitted: the step, each coefficient with its error, and how good the fit is.

    `terms` has the four of `COEFFICIENTS` and, last, `per_call`, which is no part of a step.
    """

    step: StepTime
    terms: tuple[Term, ...]
    fit: Fit


def fit_step_time(timed: Sequence[TimedLoad], token_budget: int = 2048) -> FittedStep:
    """Return the coefficients that explain the loads' seconds best, none of them below zero.

    Every load counts by its relative error (Lawson and Hanson's algorithm, as scipy has it).
    `token_budget` is the most tokens that the engine takes into one step. Raises `UserError` for
    fewer loads than coefficients, and `ConfigError` where scipy is not installed.
    """
    names = (*COEFFICIENTS, CALL)
    if len(timed) <= len(names):
        raise UserError(
            f"{len(timed)} timed loads cannot tell {len(names)} coefficients; send at least "
            f"{len(names) + 1}"
        )
    seconds = np.array([one.seconds for one in timed])
    work = np.array([_work(one, token_budget) for one in timed])
    found = _least_squares(work / seconds[:, None])
    guessed = work @ found
    errors = _errors(work / seconds[:, None], guessed / seconds - 1, found)
    shares = work.sum(axis=0) * found / guessed.sum()
    terms = tuple(
        Term(*one) for one in zip(names, found.tolist(), errors, shares.tolist(), strict=True)
    )
    coefficients = dict(zip(COEFFICIENTS, found.tolist(), strict=False))
    step = StepTime(**{**coefficients, "base": max(LEAST_BASE, coefficients["base"])})
    return FittedStep(step, terms, _quality(timed, guessed, terms))


def solver() -> Callable[[Array, Array], tuple[Array, float]]:
    """Return scipy's non-negative least squares; raises `ConfigError` where it is not installed."""
    try:
        from scipy.optimize import nnls  # noqa: PLC0415 - an optional dependency
    except ImportError as exc:
        raise ConfigError(
            "fit-engine needs scipy: install it with pip install 'dynasor-serve[eval]'"
        ) from exc
    return nnls  # type: ignore[no-any-return]


def _work(one: TimedLoad, token_budget: int) -> tuple[float, ...]:
    """Count what a load's steps did: a column a coefficient.

    Sequence i decodes after its first token, which its prompt's last step yields, for O-1 steps
    with P+1, P+2, ... tokens of context.
    """
    prompts = sum(usage.prompt_tokens for usage in one.usages)
    decoded = [(usage.prompt_tokens, max(0, usage.completion_tokens - 1)) for usage in one.usages]
    return (
        ceil(prompts / token_budget) + max(steps for _, steps in decoded),
        prompts,
        sum(steps for _, steps in decoded),
        sum(steps * prompt + steps * (steps + 1) // 2 for prompt, steps in decoded),
        len(one.usages),
    )


def _least_squares(rows: Array) -> Array:
    """Solve rows · x = 1 with x >= 0."""
    scale = _scale(rows)
    solved: Array = solver()(rows / scale, np.ones(len(rows)))[0]
    return solved / scale


def _scale(rows: Array) -> Array:
    """Return the columns' lengths, 1 for an empty one: seconds and tokens lie far apart."""
    lengths: Array = np.linalg.norm(rows, axis=0)
    lengths[lengths == 0] = 1.0
    return lengths


def _errors(rows: Array, residuals: Array, found: Array) -> list[float]:
    """Return the standard errors, infinite where columns cannot be told apart.

    Those of ordinary least squares with the coefficients that came out above zero; one at zero
    gets the error that it would have among them.
    """
    scale = _scale(rows)
    scaled = rows / scale
    freedom = max(1, len(rows) - int((found > 0).sum()))
    deviation = sqrt(float(residuals @ residuals) / freedom)
    _, values, vectors = np.linalg.svd(scaled, full_matrices=False)
    errors: list[float] = []
    for column in range(rows.shape[1]):
        parts = vectors[:, column] ** 2
        is_lost = parts[values < ALIKE * values[0]].sum() > ALIKE
        kept = values >= ALIKE * values[0]
        spread = sqrt(float((parts[kept] / values[kept] ** 2).sum()))
        errors.append(float("inf") if is_lost else deviation * spread / float(scale[column]))
    return errors


def _quality(timed: Sequence[TimedLoad], guessed: Array, terms: tuple[Term, ...]) -> Fit:
    seconds = np.array([one.seconds for one in timed])
    variance = float(((seconds - seconds.mean()) ** 2).sum())
    usages = [usage for one in timed for usage in one.usages]
    return Fit(
        loads=len(timed),
        calls=len(usages),
        most_calls=max(len(one.usages) for one in timed),
        prompt_tokens=max(usage.prompt_tokens for usage in usages),
        completion_tokens=max(usage.completion_tokens for usage in usages),
        r_squared=1 - float(((seconds - guessed) ** 2).sum()) / variance if variance else 0.0,
        mean_error=float(np.abs(guessed / seconds - 1).mean()),
        call_seconds=terms[-1].seconds,
        unsure=tuple(term.name for term in terms[:-1] if not term.is_sure),
    )
