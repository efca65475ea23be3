"""The answers of pooling servers, and rewards in [0, 1] from the numbers in them.

vLLM answers `/pooling` with one list of numbers for a text, or with one list a token; SGLang
answers `/classify` with one list a text. A list has one number (a scalar reward) or two (a wrong
and a right label).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

__all__ = [
    "Classified",
    "MetaInfo",
    "ModelInfo",
    "NoReward",
    "Pooled",
    "PooledList",
    "Served",
    "ServedList",
    "reward_of",
    "rows_of",
]

# What rounding to single precision leaves of a sum that is 1.
ROUNDING = 1e-3


class NoReward(ValueError):
    """Numbers that are no reward; the message says what they are and what was expected."""


class Served(Struct):
    """One served model; `root` is where vLLM took it from."""

    id: str
    root: str | None = None
    owned_by: str | None = None
    max_model_len: int | None = None


class ServedList(Struct):
    """The answer of `/v1/models`."""

    data: list[Served]


class Pooled(Struct):
    """What vLLM pooled from one text; `data` is read with distrust."""

    data: Any
    index: int | None = None


class PooledList(Struct):
    """The answer of vLLM's `/pooling`."""

    data: list[Pooled]
    usage: Any = None


class MetaInfo(Struct):
    """What SGLang says about one text."""

    prompt_tokens: Any = None


class Classified(Struct):
    """SGLang's answer for one text; its reward models answer in the form of embeddings."""

    embedding: Any
    meta_info: MetaInfo = field(default_factory=MetaInfo)


class ModelInfo(Struct):
    """The answer of SGLang's `/model_info`; reward models are served with `--is-embedding`."""

    is_generation: bool


def rows_of(data: object) -> list[Sequence[object]]:
    """Return the lists of numbers in one answer; one list of numbers is one row.

    Raises `NoReward` for anything else.
    """
    if not isinstance(data, list):
        raise NoReward(f"expected numbers, got {_shown(data)}")
    if data and all(isinstance(row, list) for row in data):
        return data
    if any(isinstance(row, list) for row in data):
        raise NoReward(f"expected numbers, got {_shown(data)}")
    return [data] if data else []


def reward_of(row: Sequence[object]) -> float:
    """Return the reward in [0, 1] that a row of one or two numbers stands for.

    One number is a logit and goes through the logistic function, which keeps the order of
    rewards without bounds. Of two, the second is the right label's: probabilities stay, logits go
    through the softmax. Raises `NoReward` where there is no number, or another count of them.
    """
    if len(row) not in {1, 2}:
        raise NoReward(f"{len(row)} numbers a text; expected one (a reward) or two (wrong, right)")
    numbers = [_number(value) for value in row]
    if len(numbers) == 1:
        return _logistic(numbers[0])
    wrong, right = numbers
    if min(numbers) >= 0.0 and abs(wrong + right - 1.0) <= ROUNDING:
        return min(1.0, right)
    return _logistic(right - wrong)


def _number(value: object) -> float:
    # JSON has no NaN: servers write null, or the word where their library allows it.
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
        with contextlib.suppress(OverflowError):
            return float(value)
    raise NoReward(f"expected a number, got {_shown(value)}")


def _logistic(logit: float) -> float:
    if logit < 0.0:
        odds = math.exp(logit)
        return odds / (1.0 + odds)
    return 1.0 / (1.0 + math.exp(-logit))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."
