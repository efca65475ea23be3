"""Recorded thoughts in an engine's place: chains as long as they were, probes as they answered.

A chain is a text of as many characters as it has tokens, all alike and of its own kind, so that a
prompt's prefix says which chain a call goes on from, and after how many tokens. `CLOSED` stands
where the thoughts ended, and the end says the answer's class (`=2`). A probe gets what the latest
recorded one up to its place said; the recording probed after every round.
"""

from __future__ import annotations

from dynasor.core.errors import UserError
from dynasor.core.types import Generate, Generated, Score, Usage
from dynasor.evaluate.recorded import Recorded, RecordedProbe, RecordedThought
from dynasor.evaluate.search_tape import CLASS
from dynasor.sim.engine import Outcome, Segment

__all__ = ["CLOSED", "PROBE", "ThoughtTape"]

CLOSED, PROBE = "/", "/?"
"""What closes thoughts, and what asks for an answer."""
FIRST = 0xE000
"""The first chain's character: those for private use mean nothing to anybody."""
SILENT = "-"
"""A probe's text without an answer."""


class ThoughtTape:
    """One program's chains, from the one on that its seed chooses.

    `missing` counts the chains that were had more than once, and the probes before the first
    recorded one.
    """

    def __init__(
        self, program: str, question: Recorded, seed: int, path: tuple[Segment, ...]
    ) -> None:
        self.drawn = 0
        self.missing = 0
        self._program = program
        self._question = question
        self._first = seed
        self._path = path
        self._prompt_tokens = sum(segment.tokens for segment in path)
        self._begun = 0

    def __call__(self, work: Generate | Score) -> Outcome:
        """Return what a call comes to: a chain, a piece of one, or a probe's answer.

        Raises `UserError` for a text that is no chain's, and for scores.
        """
        if isinstance(work, Score):
            raise UserError(
                f"question {self._question.id!r} has chains of thought, which have no rewards; "
                "replay the program that was recorded"
            )
        self.drawn += 1
        prefix = work.prompt.prefix
        if prefix.endswith(PROBE):
            return self._probed(prefix.removesuffix(PROBE))
        number = ord(prefix[0]) - FIRST if prefix else self._begin()
        return self._thought(number, len(prefix), work.sampling.max_tokens)

    def _begin(self) -> int:
        """Return the number of the program's next chain."""
        self._begun += 1
        if self._begun > len(self._question.thoughts):
            self.missing += 1
        return self._begun - 1

    def _chain(self, number: int) -> RecordedThought:
        """Return a chain: those of a program stand side by side, and its seed says where."""
        thoughts = self._question.thoughts
        if not 0 <= number < max(1, self._begun):
            raise UserError(
                f"question {self._question.id!r}: the program goes on from a text that is none of "
                "its chains; replay the program that was recorded"
            )
        return thoughts[(self._first + number) % len(thoughts)]

    def _thought(self, number: int, begin: int, most: int) -> Outcome:
        """Return what a chain says from a place on."""
        chain = self._chain(number)
        text = _text(chain, chr(FIRST + number))
        end = min(len(text), begin + most)
        tokens = max(0, min(end, chain.tokens) - begin)
        is_cut = chain.is_cut or end < len(text)
        usage = Usage(self._prompt_tokens + begin, tokens)
        output = Generated(text[begin:end], usage, "length" if is_cut else "stop")
        path = (*self._path, *self._prefix(number, begin))
        return Outcome(output, tokens, path=path, key=self._key(number))

    def _probed(self, thoughts: str) -> Outcome:
        """Return what a probe behind these thoughts says."""
        number, at = (ord(thoughts[0]) - FIRST, len(thoughts)) if thoughts else (0, 0)
        chain = self._chain(number)
        found = chain.probe(chain.tokens if at >= chain.thoughts else at)
        if found is None:
            self.missing += 1
            found = RecordedProbe(at, None, 0)
        text = SILENT if found.group is None else f"{CLASS}{found.group}"
        usage = Usage(self._prompt_tokens + at, found.tokens)
        path = (*self._path, *self._prefix(number, at))
        return Outcome(Generated(text, usage, "stop", found.logprob), found.tokens, path=path)

    def _prefix(self, number: int, tokens: int) -> tuple[Segment, ...]:
        return (Segment(self._key(number), tokens),) if tokens else ()

    def _key(self, number: int) -> str:
        return f"{self._program}/chain {number}"


def _text(chain: RecordedThought, letter: str) -> str:
    """Return a chain's text: a character a token, but for the shortest chains."""
    end = "" if chain.group is None or chain.is_elicited else f"{CLASS}{chain.group}"
    if chain.thoughts == chain.tokens:
        return letter * (chain.tokens - len(end)) + end
    thoughts = max(0, min(chain.thoughts, chain.tokens - 1 - len(end)))
    return letter * thoughts + CLOSED + letter * (chain.tokens - thoughts - 1 - len(end)) + end
