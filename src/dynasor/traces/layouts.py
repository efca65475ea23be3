"""The files that traces are made of: what tells them apart, and what becomes of their lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from dynasor.traces.format import Kind, Line, Sample, SamplingLine
from dynasor.traces.lines import TraceError, spoken
from dynasor.traces.thoughts import Search, tree_line

__all__ = ["Layout", "Record", "layout_of"]

Record = dict[str, Any]
"""One line of a file, as JSON gives it."""

T = TypeVar("T", bound=Struct)

NO_ANSWER = frozenset({"", "none", "null"})
"""What stands for no answer, in any case of letters."""


class Layout(Struct, frozen=True):
    """One kind of file.

    `fields` are those that all its lines have. `line` makes a trace's line of a record; it raises
    `TraceError`, which says what is wrong but not where. `is_graded`: samples come with verdicts.
    """

    name: str
    fields: frozenset[str]
    kind: Kind
    task: str
    line: Callable[[Record], Line]
    is_graded: bool = False


class _Sample(Struct, frozen=True):
    text: str
    tokens: Annotated[int, Meta(ge=0)]
    answer: str | None = None
    correct: bool | None = None
    step_rewards: tuple[float, ...] = ()


class _Question(Struct, frozen=True):
    id: str
    question: str
    samples: tuple[_Sample, ...]
    gold: str | None = None


class _Code(_Question, frozen=True, kw_only=True):
    entry_point: str
    test: str
    generated_tests: tuple[str, ...] = ()


class _Beams(_Question, frozen=True, kw_only=True):
    model: str
    beams: int


def layout_of(record: Record) -> Layout:
    """Return the layout that a file's first line has; raises `TraceError` for an unknown one."""
    if "dynasor_trace" in record:
        raise TraceError("it is a trace already")
    layout = next((one for one in _LAYOUTS if one.fields <= record.keys()), None)
    if layout is None:
        known = "; ".join(f"{one.name}: {', '.join(sorted(one.fields))}" for one in _LAYOUTS)
        raise TraceError(
            f"no known layout has just the fields {', '.join(sorted(record)) or '(none)'} "
            f"(known are {known})"
        )
    if layout is _SAMPLES and any("correct" in one for one in _dicts(record["samples"])):
        return _GRADED
    return layout


def _samples(record: Record) -> Line:
    """Take samples as they are; what is not known of a question goes into `extra`."""
    found = _converted(record, _Question)
    extra = {key: value for key, value in record.items() if key not in _Question.__struct_fields__}
    samples = tuple(_sample(one) for one in found.samples)
    return SamplingLine(found.id, found.question, samples, found.gold, extra)


def _code(record: Record) -> Line:
    """Take the whole text as the answer, and the program that grades it as the reference."""
    found = _converted(record, _Code)
    samples = tuple(
        Sample(one.text, one.tokens, one.text if one.text.strip() else None)
        for one in found.samples
    )
    reference = f"{found.test}\ncheck({found.entry_point})\n"
    extra = {"entry_point": found.entry_point, "own_tests": list(found.generated_tests)}
    return SamplingLine(found.id, found.question, samples, reference, extra)


def _beams(record: Record) -> Line:
    """Take finished beams as samples; a beam is worth what its last step is."""
    found = _converted(record, _Beams)
    return SamplingLine(
        found.id, found.question, tuple(_sample(one) for one in found.samples), found.gold
    )


def _trees(record: Record) -> Line:
    return tree_line(_converted(record, Search))


def _sample(found: _Sample) -> Sample:
    answer = found.answer
    if answer is not None and answer.strip().casefold() in NO_ANSWER:
        answer = None
    rewards = tuple(min(max(one, 0.0), 1.0) for one in found.step_rewards)
    return Sample(
        found.text,
        found.tokens,
        answer,
        reward=rewards[-1] if rewards else None,
        step_rewards=rewards,
        is_right=found.correct,
    )


def _converted(record: Mapping[str, Any], cls: type[T]) -> T:
    try:
        return msgspec.convert(record, cls)
    except msgspec.ValidationError as exc:
        raise TraceError(spoken(exc)) from exc


def _dicts(values: object) -> list[Record]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


_QUESTION = frozenset({"id", "question", "samples"})
_SAMPLES = Layout("samples", _QUESTION, "sampling", "math", _samples)
_GRADED = Layout("graded samples", _QUESTION, "sampling", "expression", _samples, is_graded=True)
# The more particular ones first.
_LAYOUTS = (
    Layout(
        "tree search",
        frozenset({"id", "steps", "ys", "infos"}),
        "tree",
        "expression",
        _trees,
    ),
    Layout("code", _QUESTION | {"entry_point", "test"}, "sampling", "code", _code),
    Layout("beams", _QUESTION | {"model", "beams"}, "sampling", "math", _beams),
    _SAMPLES,
)
