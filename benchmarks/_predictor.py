"""A small predictor of the samples that a question needs, from its prompt's embedding alone.

Ridge regression from the vector of all-MiniLM-L6-v2 to the logarithm of the samples needed. The
paper's predictor reads the model's activations, which recorded texts do not have.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dynasor.evaluate.classes import default_cache
from dynasor.evaluate.recorded import Recorded, trajectory
from dynasor.workers.minilm import LocalVectors

__all__ = ["embed", "log_needed", "predict"]

PENALTIES = np.logspace(-2, 3, 16)

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def embed(questions: Sequence[Recorded]) -> Numbers:
    """Return one vector a question, from the user's cache or the local model.

    Raises `ConfigError` where they are not kept and the model is not installed.
    """
    prompts = [one.question for one in questions]
    key = hashlib.sha256("\0".join(prompts).encode()).hexdigest()[:24]
    kept = default_cache().parent / "vectors" / f"{key}.npy"
    if not kept.is_file():
        vectors = np.array(asyncio.run(LocalVectors()(prompts)), dtype=float)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, vectors)
    found: Numbers = np.load(kept)
    return found


def log_needed(questions: Sequence[Recorded], cap: int, seeds: int) -> Numbers:
    """Return the logarithm of the samples needed, a mean over shuffles.

    What no number of samples solves counts as the cap.
    """
    needed = [
        [trajectory(one, cap, seed).needed or cap for seed in range(seeds)] for one in questions
    ]
    return np.log(np.mean(needed, axis=1))


def predict(vectors: Numbers, target: Numbers, fit: np.ndarray[Any, Any]) -> Numbers:
    """Return predictions for all questions, of a ridge regression on the questions `fit`.

    A question of `fit` is predicted without itself (leave one out), so that a later choice on
    these questions is not fooled. The penalty is the one whose errors are the least there. With
    the eigenvectors of the kernel all of this has a closed form (Hastie, Tibshirani and Friedman,
    The Elements of Statistical Learning, section 7.10 and equation 7.52).
    """
    centred = vectors - vectors[fit].mean(axis=0)
    own, middle = centred[fit], target[fit].mean()
    values, axes = np.linalg.eigh(own @ own.T)
    values = np.maximum(values, 0)
    shares = axes.T @ (target[fit] - middle)

    def without_itself(penalty: float) -> Numbers:
        shrunk = values / (values + penalty)
        leverage = (axes**2) @ shrunk + 1 / len(fit)
        fitted = middle + axes @ (shrunk * shares)
        left_out: Numbers = target[fit] - (target[fit] - fitted) / (1 - leverage)
        return left_out

    penalty = min(
        PENALTIES, key=lambda one: float(((without_itself(one) - target[fit]) ** 2).sum())
    )
    predicted: Numbers = middle + centred @ (own.T @ (axes @ (shares / (values + penalty))))
    predicted[fit] = without_itself(penalty)
    return predicted
