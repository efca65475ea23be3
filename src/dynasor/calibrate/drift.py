"""Drift: whether programs still behave as they did when a profile was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from dynasor.core.errors import ConfigError, UserError
from dynasor.profile import Behaviour, Profile

__all__ = ["FEWEST", "Change", "Drift", "compare_behaviour", "read_behaviour"]

FEWEST = 30
"""Questions, then or now, below which nothing is said: the test would hardly see a change."""
SIGNIFICANT = 0.01
NOTABLE = 0.15
"""Kolmogorov-Smirnov distance below which a change, however certain, is too small to matter."""


class Change(Struct, frozen=True):
    """One measure then and now: means, the greatest distance of the distributions, its p-value."""

    measure: str
    then: float
    now: float
    distance: float
    p_value: float
    has_changed: bool


class Drift(Struct, frozen=True):
    """What became of each measure, and whether the profile should be made anew.

    `is_due` None: too few questions to say.
    """

    live: int
    changes: tuple[Change, ...]
    is_due: bool | None
    advice: str


def compare_behaviour(profile: Profile, live: Behaviour) -> Drift:
    """Compare live programs with those of the profile's calibration.

    Two-sample Kolmogorov-Smirnov tests, with Holm's correction over the measures; a change counts
    where it is significant at 1 % and the distance is at least 0.15. Raises `ConfigError` where
    scipy is not installed.
    """
    try:
        from scipy.stats import ks_2samp  # noqa: PLC0415 - an optional dependency
    except ImportError as exc:
        raise ConfigError(
            "drift needs scipy: install it with pip install 'dynasor-serve[eval]'"
        ) from exc
    count, judged = len(live.knob), len(profile.behaviour.knob)
    for number, which in ((count, "live"), (judged, "judged")):
        if number < FEWEST:
            advice = f"{number} {which} questions say too little: at least {FEWEST} are needed"
            return Drift(count, (), None, advice)
    found: list[tuple[str, float, float, float, float]] = []
    for measure in Behaviour.__struct_fields__:
        then, now = getattr(profile.behaviour, measure), getattr(live, measure)
        test = ks_2samp(then, now, method="asymp")
        found.append(
            (
                measure,
                float(np.mean(then)),
                float(np.mean(now)),
                float(test.statistic),
                float(test.pvalue),
            )
        )
    passed = _holm([row[4] for row in found])
    changes = tuple(
        Change(*row, has_changed=is_significant and row[3] >= NOTABLE)
        for row, is_significant in zip(found, passed, strict=True)
    )
    changed = [change.measure for change in changes if change.has_changed]
    if changed:
        advice = f"calibrate again: {', '.join(changed)} changed"
    else:
        advice = "the profile still fits"
    return Drift(count, changes, bool(changed), advice)


def read_behaviour(path: Path) -> tuple[Behaviour, dict[str, set[str]]]:
    """Read how programs behaved from an output of `dynasor batch`.

    Returns that, and the names that stand there of each `model`, `task` and `policy`. Records of
    failed questions are left out. Raises `UserError` for a file that is none.
    """
    certaindex: list[float] = []
    knob: list[float] = []
    tokens: list[float] = []
    names: dict[str, set[str]] = {"model": set(), "task": set(), "policy": set()}
    for body in _bodies(path):
        story, usage = body.dynasor, body.usage
        if body.error is not None or story is None or usage is None or not story.knob:
            continue
        certaindex.append(next(iter(story.certaindex.values()), 0.0))
        knob.append(story.knob / story.cap)
        tokens.append(usage.completion_tokens_details.finished_tokens / story.knob)
        names["model"].add(body.model)
        names["task"].add(story.task)
        names["policy"].add(story.policy)
    return Behaviour(tuple(certaindex), tuple(knob), tuple(tokens)), names


class _Story(Struct):
    knob: Annotated[int, Meta(ge=0)]
    cap: Annotated[int, Meta(ge=1)]
    certaindex: dict[str, float]
    task: str
    policy: str


class _Details(Struct):
    finished_tokens: int


class _Usage(Struct):
    completion_tokens_details: _Details


class _Body(Struct):
    """What matters of a record's body; a failed question's has an `error`."""

    model: str = ""
    usage: _Usage | None = None
    dynasor: _Story | None = None
    error: Any = None


class _Response(Struct):
    body: _Body


class _Record(Struct):
    response: _Response | None


def _bodies(path: Path) -> Iterable[_Body]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise UserError(f"{path} cannot be read: {exc.strerror}") from exc
    for number, line in enumerate(lines, start=1):
        try:
            response = msgspec.json.decode(line, type=_Record).response
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            if 1 < number == len(lines):
                return  # the last record of a run that was killed, or is still running
            raise UserError(
                f"{path}, line {number} is no record of a batch; give the output of "
                "`dynasor batch`, or a trace"
            ) from exc
        if response is not None:
            yield response.body


def _holm(p_values: Sequence[float]) -> list[bool]:
    """Return which tests are significant by Holm's step-down procedure (1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    passed = [False] * len(p_values)
    for rank, place in enumerate(order):
        if p_values[place] > SIGNIFICANT / (len(p_values) - rank):
            break
        passed[place] = True
    return passed
