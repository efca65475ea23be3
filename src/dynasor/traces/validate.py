"""The validator: all that is wrong with a trace, and what is in one that can be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from dynasor.traces.files import numbered, opened
from dynasor.traces.format import ChainLine, Header, Kind, Line, SamplingLine
from dynasor.traces.lines import LineReader, TraceError, read_header, shown

__all__ = ["Problem", "Report", "Summary", "validate"]


class Problem(Struct, frozen=True):
    """One thing that is wrong; `line` counts from 1, 0 stands for the whole file."""

    line: int
    message: str


class Summary(Struct, frozen=True):
    """What a trace holds.

    `samples` counts samples, chains or trees, `least` and `most` those of one question. `answers`
    counts what could have given one (samples, chains, finished paths), `null_answers` what did
    not. `verdicts`, `rewards` and `logprobs` count what was recorded of them. `tokens` is the sum
    of everything generated, probes too; `has_estimated_tokens` says that it is an estimate.
    """

    kind: Kind
    workload: str
    model: str
    task: str
    questions: int
    samples: int
    least: int
    most: int
    answers: int
    null_answers: int
    without_reference: int
    verdicts: int
    rewards: int
    logprobs: int
    tokens: int
    has_estimated_tokens: bool

    @property
    def null_share(self) -> float:
        """The share of answers that were not given; 0 where there are none."""
        return self.null_answers / self.answers if self.answers else 0.0


class Report(Struct, frozen=True):
    """What the validator found.

    `problems` are the first ones, `omitted` counts the others. `summary` is None unless the trace
    can be used; `warnings` say what it is no good for.
    """

    path: str
    problems: tuple[Problem, ...] = ()
    omitted: int = 0
    summary: Summary | None = None
    warnings: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the summary needs of one question."""

    samples: int
    answers: Sequence[str | None]
    tokens: Sequence[int]
    has_reference: bool
    verdicts: int = 0
    rewards: int = 0
    logprobs: int = 0


def validate(path: Path, most: int = 20) -> Report:
    """Read a trace to its end and report all that is wrong with it, `most` problems in full."""
    scan = _Scan(path)
    try:
        with opened(path) as file:
            for number, data in numbered(path, file):
                scan.take(number, data)
        if scan.reader is None:
            raise TraceError(f"trace {path} is empty; its first line should be a header")
    except TraceError as exc:
        scan.problems.append(Problem(scan.line, str(exc)))
    if scan.problems or scan.reader is None:
        omitted = max(len(scan.problems) - most, 0)
        return Report(shown(path), tuple(scan.problems[:most]), omitted)
    summary = _summary(scan.reader.header, scan.counts)
    warnings = tuple(_warnings(summary, scan.counts))
    return Report(shown(path), summary=summary, warnings=warnings)


class _Scan:
    """What has been found up to some line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0
        self.reader: LineReader | None = None
        self.problems: list[Problem] = []
        self.counts: list[_Counts] = []

    def take(self, number: int, data: bytes) -> None:
        """Look at the next line; raises `TraceError` where it should be a header and is none."""
        self.line = number
        if self.reader is None:
            self.reader = LineReader(self.path, read_header(self.path, number, data))
            return
        line, problems = self.reader.check(number, data)
        self.problems.extend(Problem(number, one) for one in problems)
        if line is not None:
            self.counts.append(_count(line))


def _count(line: Line) -> _Counts:
    known = line.reference is not None
    if isinstance(line, SamplingLine):
        samples = line.samples
        return _Counts(
            len(samples),
            [one.answer for one in samples],
            [one.tokens for one in samples],
            known,
            _given(one.is_right for one in samples),
            _given(one.reward for one in samples),
            _given(one.mean_logprob for one in samples),
        )
    if isinstance(line, ChainLine):
        probes = [probe for chain in line.chains for probe in chain.probes]
        return _Counts(
            len(line.chains),
            [one.answer for one in line.chains],
            [one.tokens + sum(probe.tokens for probe in one.probes) for one in line.chains],
            known,
            logprobs=_given(probe.mean_logprob for probe in probes),
        )
    nodes = [node for tree in line.trees for node in tree.nodes]
    return _Counts(
        len(line.trees),
        [node.answer for node in nodes if node.is_finished],
        [sum(node.tokens for node in tree.nodes) for tree in line.trees],
        known,
        _given(node.is_right for node in nodes),
        _given(node.reward for node in nodes),
    )


def _given(values: Iterable[object]) -> int:
    return sum(value is not None for value in values)


def _summary(header: Header, counts: Sequence[_Counts]) -> Summary:
    samples = [one.samples for one in counts]
    return Summary(
        kind=header.kind,
        workload=header.workload,
        model=header.model,
        task=header.task,
        questions=len(counts),
        samples=sum(samples),
        least=min(samples, default=0),
        most=max(samples, default=0),
        answers=sum(len(one.answers) for one in counts),
        null_answers=sum(answer is None for one in counts for answer in one.answers),
        without_reference=sum(not one.has_reference for one in counts),
        verdicts=sum(one.verdicts for one in counts),
        rewards=sum(one.rewards for one in counts),
        logprobs=sum(one.logprobs for one in counts),
        tokens=sum(sum(one.tokens) for one in counts),
        has_estimated_tokens=header.has_estimated_tokens,
    )


def _warnings(summary: Summary, counts: Sequence[_Counts]) -> Iterator[str]:
    """Yield what a trace without an error is no good for."""
    if not counts:
        yield "no questions"
        return
    none, one = (sum(each.samples == size for each in counts) for size in (0, 1))
    if none:
        yield f"{_questions(none)} without a sample"
    if one and summary.kind == "sampling":
        yield f"{_questions(one)} with one sample: a vote needs two"
    if summary.answers and summary.null_answers == summary.answers:
        yield "all answers are null: there is nothing to vote on"
    else:
        mute = sum(bool(each.answers) and not _given(each.answers) for each in counts)
        if mute:
            yield f"{_questions(mute)} with null answers only"
    if summary.without_reference:
        so = "its verdicts say what is right" if summary.verdicts else "nothing says what is right"
        yield f"{_questions(summary.without_reference)} without a reference; {so}"
    idle = sum(tokens == 0 for each in counts for tokens in each.tokens)
    if idle:
        yield f"{idle:,} of {summary.samples:,} samples have zero tokens"


def _questions(count: int) -> str:
    return f"{count:,} question" if count == 1 else f"{count:,} questions"
