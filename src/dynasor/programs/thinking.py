"""Thoughts to keep: chains of thought to their ends, asked for an answer after every round."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from dynasor.core.program import Fork, Join, Strand, Thread
from dynasor.core.task import Task
from dynasor.core.types import Answer
from dynasor.programs.chain_of_thought import ChainOfThought
from dynasor.programs.probing import Trace

__all__ = ["Asked", "Thought", "Thoughts"]


class Asked(Struct, frozen=True):
    """What a chain answered after `at` tokens, for `tokens` more.

    `confidence` is the geometric mean of these tokens' probabilities, None where the engine gave
    none.
    """

    at: int
    answer: str | None
    tokens: int
    confidence: float | None


class Thought(Struct, frozen=True):
    """One chain of thought with all of its probes, in the order of `at`.

    `finish_reason` is `stop`, `length`, or `cap` where it had no more rounds. `is_elicited`: the
    `answer` is not the chain's own but that of its last probe.
    """

    text: str
    tokens: int
    answer: str | None
    probes: tuple[Asked, ...]
    seed: int
    finish_reason: str
    is_elicited: bool


@dataclass
class Thoughts(ChainOfThought):
    """Think in `chains` streams, each for up to `cap` rounds, and keep everything.

    Its answer's value is how many chains there are, its text a JSON array of `Thought`. A probe
    is sent after every round until the thoughts are closed, whatever `share` says, so that a
    replay may probe where it likes. Nothing stops a chain but its own end, `max_tokens` and the
    cap, and units are not counted: the policy has nothing to say.
    """

    name = "chain-of-thought-recording"

    _reasons: dict[int, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    _probers: dict[int, dict[int, Thread]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def _round(self, task: Task, trace: Trace) -> Strand:
        """Probe beside the stream; return whether the chain may have another round."""
        if trace.tokens >= self.cap * self.every:
            return False
        probers = self._probers.setdefault(id(trace), {})
        if self.think_end not in trace.text and trace.tokens not in probers:
            probers[trace.tokens] = yield Fork(self._elicit(task, trace))
            if self.chunked:
                yield Join((probers[trace.tokens],))
        return True

    def _until_probe(self, trace: Trace) -> int:
        """Return the tokens of a round: there is a probe after each."""
        return self.every

    def _settle(self) -> Strand:
        """Count nothing."""
        yield from ()
        return True

    def _conclude(self, task: Task, trace: Trace, reason: str) -> Strand:
        """End a trace after all of its probes."""
        yield Join(tuple(self._probers.pop(id(trace), {}).values()))
        self._reasons[id(trace)] = reason
        yield from super()._conclude(task, trace, reason)

    def answer(self) -> Answer | None:
        """Return the chains; None before they have all ended."""
        if not self.traces or not all(trace.is_ended for trace in self.traces):
            return None
        thoughts = [_thought(trace, self._reasons[id(trace)]) for trace in self.traces]
        return Answer(str(len(thoughts)), msgspec.json.encode(thoughts).decode())


def _thought(trace: Trace, reason: str) -> Thought:
    probes = sorted(trace.probes, key=lambda probe: (probe.at, probe is trace.closing))
    return Thought(
        text=trace.text,
        tokens=trace.tokens,
        answer=trace.answer,
        probes=tuple(Asked(one.at, one.answer, one.tokens, one.confidence) for one in probes),
        seed=trace.seed,
        finish_reason=reason,
        is_elicited=trace.closing is not None,
    )
