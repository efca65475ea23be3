"""What a reasoning algorithm is written with: `Program`, its strands, and what they may yield.

A program runs *strands*: generators that the core drives. A strand yields one of the operations
below and is resumed with that operation's own result, so nobody writes a dispatcher:

    yields                              is resumed with
    ------                              ---------------
    Ask(knob)                           Granted: units that may run; knob 0: the cap is used up
    Sample(work)                        Generated, or Relayed for a request that is passed on
    Score(items)                        Scored
    Embed(texts)                        Embedded
    Group(answer)                       the class of that answer: an int, None for no answer
    Open(work)                          a Stream, at once; the call runs on
    Next(stream)                        Report: what came since the last one
    Fork(generator)                     a Thread, at once; the strand runs on its own
    Join(threads)                       their return values, once all have ended
    Cancel(stream or thread)            None, at once

A call that failed for good raises `CallFailed` at its yield. When the policy says stop, or time
runs out, every strand is closed at its yield (`finally` runs) and `answer()` is asked for.

This file must not know of scheduling, engines or time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

from msgspec import Struct

from dynasor.core.certaindex import Votes
from dynasor.core.task import Task
from dynasor.core.types import (
    Answer,
    Embed,
    Generate,
    Generated,
    Message,
    PolicySpec,
    Prompt,
    Relay,
    Score,
)

__all__ = [
    "Ask",
    "Cancel",
    "Context",
    "Fork",
    "Granted",
    "Group",
    "Join",
    "Next",
    "Open",
    "Operation",
    "Program",
    "Random",
    "Report",
    "Sample",
    "Strand",
    "Stream",
    "Thread",
]

Strand = Generator["Operation", Any, Any]


class Random(Protocol):
    """A source of random numbers: uniform in [0, 1), seeded by (seed, program, strand)."""

    def random(self) -> float:
        """Return the next number."""


class Granted(Struct, frozen=True, gc=False):
    """`knob` units may run now; `is_speculative` units only fill slots that would idle."""

    knob: int
    is_speculative: bool = False


class Stream(Struct, frozen=True, gc=False):
    """A handle on an open call."""

    call: str


class Thread(Struct, frozen=True, gc=False):
    """A handle on a forked strand."""

    number: int


class Report(Struct, frozen=True, gc=False):
    """What an open call produced since the last report.

    `tokens` counts the delta's tokens. The last report has no delta: its `result` is the whole
    output, with what came since the report before.
    """

    delta: str
    tokens: int
    result: Generated | None = None


class Ask(Struct, frozen=True, gc=False):
    """Ask the policy for up to `knob` units; waits until it grants at least one."""

    knob: int = 1


class Sample(Struct, frozen=True, gc=False):
    """Run one completion to its end, or pass a client's request on."""

    work: Generate | Relay
    pool: str = "generate"


class Group(Struct, frozen=True, gc=False):
    """Find the class of an answer among the program's answers so far."""

    answer: str | None


class Open(Struct, frozen=True, gc=False):
    """Start a completion and read it while it runs; `work.report_every` sets how often.

    The stream belongs to the strand that opens it and is aborted when that strand ends.
    """

    work: Generate
    pool: str = "generate"


class Next(Struct, frozen=True, gc=False):
    """Wait for the next report of an open call."""

    stream: Stream


class Fork(Struct, frozen=True):
    """Run another strand beside this one.

    A speculative strand stands for one speculative unit: its calls, and those of the strands it
    forks, only fill slots that would idle, until the policy grants the unit after all.
    """

    strand: Strand
    is_speculative: bool = False


class Join(Struct, frozen=True, gc=False):
    """Wait until all these strands have ended."""

    threads: tuple[Thread, ...]


class Cancel(Struct, frozen=True, gc=False):
    """Abort an open call, or close a strand and abort its calls."""

    target: Stream | Thread


Operation = Ask | Sample | Score | Embed | Group | Open | Next | Fork | Join | Cancel


class Context(Protocol):
    """What the core hands to a program's first strand."""

    @property
    def task(self) -> Task:
        """The program's task."""

    def random(self, strand: str) -> Random:
        """Return the strand's own generator: the same name gives the same numbers again."""


@dataclass
class Program(ABC):
    """One reasoning query: subclass it as a dataclass whose fields are JSON values.

    The fields are the program's parameters: a journal stores them and a factory rebuilds the
    program from them, so the object a user makes is a description that may run many times.
    State lives in attributes set in `__post_init__`.

    `messages` is a conversation to ask instead of `question` alone. Three things are read while
    it runs: `knob` (how many units of what was granted are settled), `votes` (None where the
    algorithm does not vote) and what `update_certaindex` returns. `notes` counts what went wrong
    on the way and was borne with; they travel with the answer. `usual_policy` is what suits the
    algorithm where nobody chose a policy, None for what the settings say; `unit` is what people
    call one unit of the knob.
    """

    name = "program"
    usual_policy: ClassVar[PolicySpec | None] = None
    unit: ClassVar[str] = "unit"

    question: str
    task: str = "math"
    cap: int = 20
    messages: tuple[Message, ...] = ()
    votes: Votes | None = field(default=None, init=False, repr=False, compare=False)
    knob: int = field(default=0, init=False, repr=False, compare=False)
    notes: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def prompt(self, task: Task) -> Prompt:
        """Return the prompt: `messages` where they were given, else the task's for `question`.

        The task's instruction stands before messages that bring no system message of their own.
        """
        if not self.messages:
            return task.prompt(self.question)
        has_system = any(message.role == "system" for message in self.messages)
        asked = task.prompt(self.question).messages
        instruction = () if has_system else tuple(m for m in asked if m.role == "system")
        return Prompt((*instruction, *self.messages))

    def suited_to(self, abilities: Collection[str]) -> Self:
        """Return the program with what nobody chose as engines of these abilities need it.

        Asked before the program is described, so that a journal has what was settled on.
        """
        return self

    def note(self, mishap: str, count: int = 1) -> None:
        """Count something that went wrong and was borne with."""
        if count:
            self.notes[mishap] = self.notes.get(mishap, 0) + count

    @abstractmethod
    def execute(self, context: Context) -> Strand:
        """Run the algorithm: the program's first strand."""

    @abstractmethod
    def update_certaindex(self) -> dict[str, float]:
        """Return the certaindex of the state so far: signal names to values in [0, 1]."""

    @abstractmethod
    def answer(self) -> Answer | None:
        """Return the best answer so far; called at any suspension, also before the first one."""
