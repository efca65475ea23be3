"""What of a question is kept, by kind of program: what runs for it, and the line that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from math import log
from typing import Any, Protocol

import msgspec

from dynasor.api import Result
from dynasor.config import SAID_ELSEWHERE, Settings, format_policy
from dynasor.core.allocation import EVEN, make_policy
from dynasor.core.catalog import Catalog, describe_program
from dynasor.core.chance import program_seed
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.program import Program
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.datasets.questions import QuestionLine
from dynasor.programs import BestOfN, Mcts, SelfConsistency
from dynasor.programs.chain_of_thought import ChainOfThought
from dynasor.programs.recording import Drawn, Recording
from dynasor.programs.searching import SEARCHES, Step
from dynasor.programs.thinking import Thought, Thoughts
from dynasor.record.job import RecordJob
from dynasor.record.units import exact_knobs, ranked
from dynasor.traces import (
    Chain,
    ChainLine,
    Line,
    Node,
    Probe,
    Sample,
    SamplingLine,
    Tree,
    TreeLine,
)
from dynasor.traces.format import Kind

__all__ = ["Keeper", "Kept", "keeper_of"]

ONE_BY_ONE = PolicySpec("even", {"in_flight": 1}, has_lock=False)
"""Iterations that do not see what the others found are no search: side by side is what one asks
for."""
SAMPLING = ("temperature", "max_tokens", "top_p")
ELSEWHERE = frozenset({*SAID_ELSEWHERE, *SAMPLING, "seed", "has_logprobs"})
"""Parameters that stand elsewhere in a trace, or nowhere."""
KEEPING: dict[str, type[Program]] = {**SEARCHES, ChainOfThought.name: Thoughts}
"""What runs in a program's place, by its name."""

TINY = 1e-9
"""A confidence of 0 has no logarithm."""

_DRAWN = msgspec.json.Decoder(list[Drawn])
_THOUGHTS = msgspec.json.Decoder(list[Thought])
_STEPS = msgspec.json.Decoder(list[Step])


@dataclass(frozen=True, slots=True)
class Kept:
    """A question's line, without its `extra`, and what is counted of it.

    `pieces` are samples, finished paths or chains, `unanswered` of them without an answer;
    `estimated` tokens were not counted by an engine.
    """

    line: Line
    pieces: int
    unanswered: int
    estimated: int


class Keeper(Protocol):
    """How one kind of program is recorded.

    `kind` is that of its trace, `sampling` what stands in the header, `policy` what grants its
    units.
    """

    kind: Kind
    policy: PolicySpec

    @property
    def sampling(self) -> dict[str, Any]:
        """What must be given again to go on with the trace."""

    def programs(self, question: QuestionLine) -> dict[str, Program]:
        """Return what is run for a question, by the id under which it runs."""

    def keep(self, question: QuestionLine, results: Sequence[Result]) -> Kept:
        """Make a line of what the programs gave, in their order."""


def keeper_of(job: RecordJob, settings: Settings, catalog: Catalog, has_logprobs: bool) -> Keeper:
    """Return how a job's program is recorded; raises `UserError` for what cannot be."""
    name = job.program.name
    if job.policy is not None:
        make_policy(job.policy, catalog.policies)
    if name in SEARCHES:
        return _SearchKeeper(job, settings, catalog)
    if name == ChainOfThought.name:
        return _ThoughtKeeper(job, settings, catalog)
    if name in (SelfConsistency.name, BestOfN.name):
        return _SampleKeeper(job, settings, has_logprobs)
    known = (SelfConsistency.name, BestOfN.name, *KEEPING)
    raise UnknownName("program to record:", name, known)


def _named(question: QuestionLine, searches: int) -> list[str]:
    """Return the ids of a question's programs: the first one's is the question's own."""
    return [question.id, *(f"{question.id} (run {number})" for number in range(2, searches + 1))]


class _SampleKeeper:
    """Independent samples; those of `best-of-n` are scored."""

    kind: Kind = "sampling"
    policy = EVEN

    def __init__(self, job: RecordJob, settings: Settings, has_logprobs: bool) -> None:
        if job.searches != 1 or job.policy is not None or job.program.params:
            raise ConfigError(
                f"program {job.program.name!r} is recorded sample by sample, whoever grants them: "
                "leave out searches, policy and the program's parameters"
            )
        self._job = job
        self._settings = settings
        self._has_logprobs = has_logprobs
        self._is_scored = job.program.name == BestOfN.name

    @property
    def sampling(self) -> dict[str, Any]:
        """Return the parameters of a sample; what is scored says so."""
        return {
            "temperature": self._settings.temperature,
            "max_tokens": self._settings.max_tokens,
            "top_p": self._job.top_p,
            "samples": self._job.samples,
            "logprobs": self._has_logprobs,
        } | ({"program": BestOfN.name} if self._is_scored else {})

    def programs(self, question: QuestionLine) -> dict[str, Program]:
        """Return one program that draws all samples."""
        settings = self._settings
        program = Recording(
            question.question,
            task=settings.task,
            cap=self._job.samples,
            seed=program_seed(settings.seed, question.id),
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=self._job.top_p,
            has_logprobs=self._has_logprobs,
            is_scored=self._is_scored,
        )
        return {question.id: program}

    def keep(self, question: QuestionLine, results: Sequence[Result]) -> Kept:
        """Make a line of samples."""
        drawn = _DRAWN.decode(results[0].text or "[]")
        assert len(drawn) == self._job.samples
        line = SamplingLine(
            question.id, question.question, tuple(map(_sample, drawn)), question.reference
        )
        return Kept(
            line,
            len(drawn),
            sum(one.answer is None for one in drawn),
            sum(one.tokens for one in drawn if not one.is_counted),
        )


class _ProgramKeeper:
    """What runs of a program have in common: its parameters, checked once."""

    kind: Kind

    def __init__(self, job: RecordJob, settings: Settings, catalog: Catalog) -> None:
        self._job = job
        self._seed = settings.seed
        self._name = job.program.name
        self.policy = job.policy or (ONE_BY_ONE if self._name == Mcts.name else EVEN)
        self._catalog = replace_fields(catalog, programs={self._name: KEEPING[self._name]})
        sampling = (settings.temperature, settings.max_tokens, job.top_p)
        given = {**dict(zip(SAMPLING, sampling, strict=True)), **job.program.params}
        said = {"question": "", "task": settings.task, "cap": job.samples}
        program = self._catalog.build_program(ProgramSpec(self._name, {**given, **said}))
        self._params = describe_program(program).params

    @property
    def sampling(self) -> dict[str, Any]:
        """Return the program's parameters, and in which grants its cap is spent."""
        own = {name: value for name, value in self._params.items() if name not in ELSEWHERE}
        return {
            **{name: self._params[name] for name in SAMPLING},
            "program": self._name,
            "params": own,
            "policy": format_policy(self.policy),
            "samples": self._job.samples,
            "searches": self._job.searches,
        }

    def programs(self, question: QuestionLine) -> dict[str, Program]:
        """Return the program once for every run, each with seeds of its own."""
        found: dict[str, Program] = {}
        for name in _named(question, self._job.searches):
            params = {**self._params, "question": question.question}
            if "seed" in params:
                params["seed"] = program_seed(self._seed, name)
            found[name] = self._catalog.build_program(ProgramSpec(self._name, params))
        return found


class _SearchKeeper(_ProgramKeeper):
    """Searches, step by step."""

    kind: Kind = "tree"

    def keep(self, question: QuestionLine, results: Sequence[Result]) -> Kept:
        """Make a line of trees."""
        cap = self._job.samples
        found = [_STEPS.decode(one.text or "[]") for one in results]
        extra: dict[str, Any] = {}
        if self._name != Mcts.name:
            knobs = set.intersection(*(set(exact_knobs(steps, cap)) for steps in found))
            extra["exact_knobs"] = sorted(knobs)
            found = [ranked(steps, cap) for steps in found]
        trees = tuple(
            Tree(self._name, cap, tuple(map(_node, steps)), program_seed(self._seed, name))
            for name, steps in zip(_named(question, len(found)), found, strict=True)
        )
        paths = [step for steps in found for step in steps if step.is_finished]
        return Kept(
            TreeLine(question.id, question.question, trees, question.reference, extra),
            len(paths),
            sum(path.answer is None for path in paths),
            sum(one.spending.estimated_tokens for one in results),
        )


class _ThoughtKeeper(_ProgramKeeper):
    """Chains of thought, with their probes."""

    kind: Kind = "chain"

    def __init__(self, job: RecordJob, settings: Settings, catalog: Catalog) -> None:
        if job.policy is not None:
            raise ConfigError("chains of thought are recorded to their ends; leave out the policy")
        super().__init__(job, settings, catalog)

    def keep(self, question: QuestionLine, results: Sequence[Result]) -> Kept:
        """Make a line of chains."""
        thoughts = [one for result in results for one in _THOUGHTS.decode(result.text or "[]")]
        return Kept(
            ChainLine(
                question.id, question.question, tuple(map(_chain, thoughts)), question.reference
            ),
            len(thoughts),
            sum(one.answer is None for one in thoughts),
            sum(one.spending.estimated_tokens for one in results),
        )


def _sample(one: Drawn) -> Sample:
    return Sample(
        text=one.text,
        tokens=one.tokens,
        answer=one.answer,
        mean_logprob=one.mean_logprob,
        reward=one.reward,
        seed=one.seed,
        finish_reason=one.finish_reason,
    )


def _node(step: Step) -> Node:
    return Node(
        text=step.text,
        tokens=step.tokens,
        unit=step.unit,
        parent=step.parent,
        reward=step.reward,
        is_finished=step.is_finished,
        answer=step.answer,
        seed=step.seed,
        is_cut=step.is_cut,
    )


def _logprob(confidence: float | None) -> float | None:
    return None if confidence is None else log(max(confidence, TINY))


def _chain(thought: Thought) -> Chain:
    return Chain(
        text=thought.text,
        tokens=thought.tokens,
        answer=thought.answer,
        probes=tuple(
            Probe(one.at, one.answer, one.tokens, _logprob(one.confidence))
            for one in thought.probes
        ),
        seed=thought.seed,
        finish_reason=thought.finish_reason,
        is_elicited=thought.is_elicited,
    )
