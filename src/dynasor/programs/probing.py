"""Chains of thought as they are probed: what was asked, what is due, what it comes to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from msgspec.structs import replace

from dynasor.core.certaindex import entropy_certaindex
from dynasor.core.program import Thread
from dynasor.core.types import Answer, Generate, Prompt, Sampling

__all__ = [
    "Probe",
    "Trace",
    "agreement",
    "asking",
    "elected",
    "has_hesitation",
]

_HESITATION = re.compile(
    r"\b(?:wait|hm+|hold on|but|however|actually|alternatively|maybe|perhaps)\b", re.IGNORECASE
)
GROWTH = 0.1
"""On recorded traces of the embedded model this costs no saving, and keeps a thought of ten
thousand tokens that never settles to about fifty probes."""


def has_hesitation(text: str) -> bool:
    """Say whether a model takes back what it says: "wait", "hmm", "but", ... as whole words."""
    return _HESITATION.search(text) is not None


def agreement(groups: Iterable[int | None]) -> float:
    """Return the entropy certaindex of answers by their classes, in [0, 1].

    No answer (None) agrees with nothing, not even with another: that a model cannot answer yet
    is no certainty.
    """
    sizes: dict[int, int] = {}
    nulls = 0
    for group in groups:
        if group is None:
            nulls += 1
        else:
            sizes[group] = sizes.get(group, 0) + 1
    return entropy_certaindex([*sizes.values(), *[1] * nulls])


def asking(prompt: Prompt, text: str, max_tokens: int) -> Generate:
    """Return the request of a probe: the likeliest words after `text`, at most `max_tokens`.

    What is begun within a line ends with that line.
    """
    stop = () if text.endswith("\n") else ("\n",)
    sampling = Sampling(max_tokens, temperature=0.0, stop=stop, has_logprobs=True)
    return Generate(replace(prompt, prefix=prompt.prefix + text), sampling)


def elected(verdicts: Iterable[tuple[int, Answer] | None]) -> Answer | None:
    """Return the first answer of the class that most verdicts name, ties to the first named."""
    groups: Counter[int] = Counter()
    answers: dict[int, Answer] = {}
    for verdict in verdicts:
        if verdict is not None:
            groups[verdict[0]] += 1
            answers.setdefault(*verdict)
    winner = max(groups, key=groups.__getitem__, default=None)
    return None if winner is None else answers[winner]


@dataclass(frozen=True, slots=True)
class Probe:
    """What a model answered when it was asked in mid-thought.

    `at`: tokens thought by then, `length`: characters; `said`: the question and what was
    answered, which after the trace so far make a whole message; `group`: the answer's class,
    None where there was none; `tokens`: what the answer cost; `confidence`: the geometric mean of
    its tokens' probabilities, None where the engine gave none.
    """

    at: int
    length: int
    said: str
    answer: str | None
    group: int | None
    tokens: int
    confidence: float | None = None


@dataclass(eq=False)
class Trace:
    """One chain of thought.

    `text` and `tokens` are what the model wrote in its stream, `probes` what was asked beside it,
    in order. When it has ended (`is_ended`), `answer` and its class `group` are what it came to,
    None without one; `closing` is the probe that said so, None where the trace itself did.
    `is_lost`: its call failed for good; `read`: its tokens at the latest round.
    """

    seed: int
    text: str = ""
    tokens: int = 0
    probes: list[Probe] = field(default_factory=list)
    answer: str | None = None
    group: int | None = None
    closing: Probe | None = None
    is_ended: bool = False
    is_lost: bool = False
    prober: Thread | None = None
    read: int = 0
    _earliest: float = 0.0

    def due_at(self, share: float, first: int) -> float:
        """Return after how many tokens the next probe is due, infinite for never.

        Probes may cost `share` of the tokens thought, with the one to come: that is taken to
        cost what the others did on average, `first` tokens before there are any. So a short trace
        is not probed at all, and nothing is asked before there is something to save.
        """
        spent = sum(probe.tokens for probe in self.probes)
        expected = spent / len(self.probes) if self.probes else first
        return max(self._earliest, (spent + expected) / share if share > 0 else inf)

    def pause(self) -> None:
        """Put the next probe off, unless the latest two agree: the trace must grow by `GROWTH`.

        What is not settled after a thousand tokens will not be after a thousand and ten: a long
        trace is asked ever more seldom.
        """
        groups = [probe.group for probe in self.probes[-2:]]
        if len(groups) < 2 or groups[0] is None or groups[0] != groups[1]:
            self._earliest = self.tokens * (1 + GROWTH)

    def ballot(self, window: int) -> Sequence[int | None]:
        """Return the classes by which it votes: its latest `window` probes, or its end as often."""
        if self.is_ended:
            return [self.group] * window
        return [probe.group for probe in self.probes[-window:]]

    def confidence(self, otherwise: float) -> float:
        """Return how sure the model is of its answer, in [0, 1]; 0 without one.

        After the trace's own end there is no doubt left: 1. `otherwise` is for engines that say
        nothing of it.
        """
        if self.is_ended or not self.probes:
            return float(self.group is not None)
        latest = self.probes[-1]
        if latest.group is None:
            return 0.0
        return otherwise if latest.confidence is None else latest.confidence

    def verdict(self, window: int) -> tuple[int, Answer] | None:
        """Return the class and the message that answer for it now; None without an answer.

        Without an end that gave one, it is the most frequent answer of the latest `window`
        probes, or else the latest there was; ties go to the latest.
        """
        if self.answer is not None and self.group is not None:
            return self.group, Answer(self.answer, self._message(self.closing))
        latest = [probe.group for probe in self.probes[-window:]]
        found: tuple[int, Answer] | None = None
        most = -1
        for probe in self.probes:
            if probe.group is None or probe.answer is None:
                continue
            if latest.count(probe.group) >= most:
                most = latest.count(probe.group)
                found = probe.group, Answer(probe.answer, self._message(probe))
        return found

    def _message(self, probe: Probe | None) -> str:
        return self.text if probe is None else self.text[: probe.length] + probe.said
