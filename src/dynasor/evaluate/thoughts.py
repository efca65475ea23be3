"""Recorded chains of thought as `Recorded` questions: probe by probe, and a round as a sample."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from dynasor.evaluate.recorded import Recorded, RecordedProbe, RecordedThought
from dynasor.traces import Chain, ChainLine, Sample, SamplingLine

__all__ = ["all_answers", "with_thoughts"]


def all_answers(line: ChainLine) -> SamplingLine:
    """Return the answers of all chains and probes as samples, to be compared and graded as such."""
    samples = tuple(Sample("", 0, answer) for chain in line.chains for answer in _answers(chain))
    return SamplingLine(line.id, line.question, samples, line.reference, line.extra)


def with_thoughts(line: ChainLine, answers: Recorded, every: int, rounds: int) -> Recorded:
    """Return a question with its chains; `answers` are those of all of them, sorted and graded.

    Its samples are rounds of `every` tokens of its first chain, `rounds` of them: each comes to
    what a probe said behind it, and those after the end of the chain to its answer, for nothing.
    """
    groups = iter(answers.classes)
    thoughts = tuple(_thought(chain, groups, every) for chain in line.chains)
    if not thoughts:
        return answers
    first = thoughts[0]
    ends = [min((number + 1) * every, first.tokens) for number in range(rounds)]
    begins = [min(number * every, first.tokens) for number in range(rounds)]
    return replace(
        answers,
        classes=tuple(first.said(end) for end in ends),
        tokens=tuple(end - begin for begin, end in zip(begins, ends, strict=True)),
        is_ordered=True,
        thoughts=thoughts,
    )


def _answers(chain: Chain) -> Iterator[str | None]:
    yield chain.answer
    yield from (probe.answer for probe in chain.probes)


def _thought(chain: Chain, groups: Iterator[int | None], every: int) -> RecordedThought:
    group = next(groups)
    probes = tuple(
        RecordedProbe(probe.at, next(groups), probe.tokens, probe.mean_logprob)
        for probe in chain.probes
    )
    return RecordedThought(
        chain.tokens,
        group,
        probes,
        _thoughts(chain, every),
        is_elicited=chain.is_elicited,
        is_cut=chain.finish_reason != "stop",
    )


def _thoughts(chain: Chain, every: int) -> int:
    """Return after how many tokens thoughts were closed, as far as the probes know it.

    They were probed after every round until then, so it was in the round behind the last of these
    probes; the probe that only closes a chain says nothing of that. A chain that was probed at its
    end was not closed, and one that ended in that round without an answer may never have been.
    """
    asked = chain.probes[:-1] if chain.is_elicited else chain.probes
    last = asked[-1].at if asked else 0
    is_open = last == chain.tokens or (chain.is_elicited and last + every >= chain.tokens)
    return chain.tokens if is_open else min(last + 1, chain.tokens)
