"""Which program is sent when, all of it drawn before the first one leaves.

Nothing that the server does can move a departure: that is what makes a load open-loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from random import Random
from typing import Any

from dynasor.core.errors import ConfigError, UserError

__all__ = ["MOST_PROGRAMS", "Departure", "Question", "plan", "rate_of"]

MOST_PROGRAMS = 1_000_000
"""A plan is held in memory, and a longer one is a slip of the pen: a day at 11 a second."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a program asks; `fields` are those of its request's body beside what all have.

    `reference` is the right answer, None where nobody knows it.
    """

    id: str
    text: str
    reference: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Departure:
    """A program that is to be sent `due` seconds after the beginning; `program` is its id."""

    program: str
    due: float
    question: Question


def plan(
    questions: Sequence[Question],
    times: Iterator[float],
    *,
    programs: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> list[Departure]:
    """Return the departures in order: `programs` of them, or those before `seconds`.

    The first bound that is reached counts. Questions are drawn without replacement in a seeded
    shuffle, and in another one when all have been drawn. Raises `ConfigError` for a plan without
    an end or a program, or of more than `MOST_PROGRAMS`, and what `times` raises.
    """
    if not questions:
        raise UserError("there is no question to ask; at least one is needed")
    if programs is None and seconds is None:
        raise ConfigError("neither programs nor seconds is given; a load needs an end")
    if seconds is not None:
        times = takewhile(lambda time: time < seconds, times)
    due = list(islice(times, MOST_PROGRAMS + 1 if programs is None else programs))
    if len(due) > MOST_PROGRAMS:
        raise ConfigError(f"more than {MOST_PROGRAMS:,} programs; lower the rate or the time")
    if not due:
        raise ConfigError("no program arrives in that time; raise the rate or the time")
    drawn = _drawn(questions, Random(f"{seed}/questions"))
    return [
        Departure(f"bench-{seed}-{number:05}", time, next(drawn)) for number, time in enumerate(due)
    ]


def rate_of(times: Sequence[float]) -> float | None:
    """Return how many a second came: the gaps between the first and the last, per second.

    None for fewer than two, and where all came at once.
    """
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (len(times) - 1) / (times[-1] - times[0])


def _drawn(questions: Sequence[Question], random: Random) -> Iterator[Question]:
    while True:
        left = list(questions)
        random.shuffle(left)
        yield from left
