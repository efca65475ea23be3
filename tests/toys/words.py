"""A task made of words, and small ways to say things about calls."""

from __future__ import annotations

from dataclasses import dataclass

from dynasor.core.types import Generated, Message, Prompt, Usage

__all__ = ["Conclusion", "Words", "compare", "said"]


@dataclass(frozen=True)
class Words:
    """The answer is a completion's last word; `none` is no answer.

    Words of unequal length differ at once, and lower-case words are what they look like; where
    there are capitals it takes a worker (`compare`).
    """

    name: str = "words"

    def prompt(self, question):
        return Prompt((Message("user", question),))

    def extract(self, text):
        word = text.split()[-1] if text.split() else "none"
        return None if word == "none" else word

    def same(self, left, right):
        if len(left) != len(right):
            return False
        return left == right if left.islower() and right.islower() else None


@dataclass(frozen=True)
class Conclusion(Words):
    """The answer is the last word of the last line that says `so` at its beginning."""

    name: str = "conclusion"

    def extract(self, text):
        said = [line for line in text.splitlines() if line.startswith("so ")]
        return super().extract(said[-1]) if said else None


def compare(task, new, representatives):
    """Group as a worker would: words are equal when their lower case is."""
    everything = [word.lower() for word in (*representatives, *new)]
    base = len(representatives)
    return tuple(everything.index(everything[base + place]) for place in range(len(new)))


def said(text, tokens=10, prompt_tokens=3, *, is_counted=True):
    """A completion of that text."""
    return Generated(text, Usage(prompt_tokens, tokens, is_counted))
