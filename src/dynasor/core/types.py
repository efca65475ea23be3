"""The values that travel between hosts, scheduler, programs and engines.

All are frozen msgspec structs: cheap to make, comparable, and written to a journal as they are.
This file knows nothing of scheduling. Units: tokens are counts, times are seconds, rewards lie
in [0, 1]. None can be part of a reference cycle, so the garbage collector need not look at them
(`gc=False`): it has enough to do with a hundred thousand programs.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

__all__ = [
    "Answer",
    "Call",
    "Embed",
    "Embedded",
    "Generate",
    "Generated",
    "Hints",
    "Message",
    "Output",
    "PolicySpec",
    "ProgramSpec",
    "Prompt",
    "Relay",
    "Relayed",
    "Replica",
    "Sampling",
    "Score",
    "Scored",
    "Spending",
    "Usage",
    "Work",
]


class Message(Struct, frozen=True, gc=False):
    """One chat message; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


class Prompt(Struct, frozen=True, gc=False):
    """What a model is shown: chat messages, and `prefix`, the beginning of its own answer.

    A non-empty `prefix` asks the engine to continue that text (tree search, probes); the
    continuation alone comes back.
    """

    messages: tuple[Message, ...]
    prefix: str = ""


Tokens = Annotated[int, Meta(ge=1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(gt=0, le=1)]
"""OpenAI's ranges, checked where a request is read and where a program is built."""


class Sampling(Struct, frozen=True, gc=False):
    """How tokens are drawn; OpenAI's names and ranges.

    `seed` None lets the scheduler derive one from its own seed and the call's id, so that a run
    can be repeated.
    """

    max_tokens: int = 512
    temperature: float = 0.7
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    has_logprobs: bool = False


class Hints(Struct, frozen=True, gc=False):
    """What an engine may be told of the program behind a call, as of when it was sent.

    `knob_left` units of `tokens_per_knob` tokens are still expected of the program;
    `slack_seconds` may pass until its work must begin to meet its deadline (negative: too late),
    None without one; `rank` puts programs in order, least first.
    """

    program: str
    workload: str
    knob_left: float
    tokens_per_knob: float
    rank: int
    slack_seconds: float | None = None


class Generate(Struct, frozen=True, gc=False, tag="generate"):
    """Generate one completion; `report_every` > 0 asks for a report every that many tokens.

    `hints` are filled in when it is sent, where engines are to have them.
    """

    prompt: Prompt
    sampling: Sampling = Sampling()
    report_every: int = 0
    hints: Hints | None = None


class Relay(Struct, frozen=True, gc=False, tag="relay"):
    """Pass a client's own request on as it stands, and its answer back byte for byte.

    `path` lies below `/v1` (`/chat/completions`), `body` is the JSON text. The answer does not
    come back through the scheduler: the host hands it to the client while it arrives.
    """

    path: str
    body: str
    hints: Hints | None = None


class Score(Struct, frozen=True, gc=False, tag="score"):
    """Score each prompt's `prefix` (a partial or whole solution) with a reward model."""

    items: tuple[Prompt, ...]


class Embed(Struct, frozen=True, gc=False, tag="embed"):
    """Embed each text."""

    texts: tuple[str, ...]


Work = Generate | Score | Embed | Relay


class Usage(Struct, frozen=True, gc=False):
    """Tokens that one attempt cost; `is_counted` False when the engine's count is missing."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    is_counted: bool = True


class Generated(Struct, frozen=True, gc=False, tag="generated"):
    """One completion.

    `finish_reason` is OpenAI's (`stop`, `length`); `mean_logprob` the mean log-probability of
    the completion's tokens (natural logarithm), None where it was not asked for or not given.
    """

    text: str
    usage: Usage
    finish_reason: str = "stop"
    mean_logprob: float | None = None


class Scored(Struct, frozen=True, gc=False, tag="scored"):
    """Rewards in [0, 1], one an item, in the items' order; None: the engine has no opinion."""

    rewards: tuple[float | None, ...]
    usage: Usage = Usage()


class Embedded(Struct, frozen=True, gc=False, tag="embedded"):
    """Vectors, one a text, in the texts' order."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()


class Relayed(Struct, frozen=True, gc=False, tag="relayed"):
    """A request that was passed on has been answered, well or with the server's own refusal.

    `status` is HTTP's.
    """

    status: int
    usage: Usage = Usage()


Output = Generated | Scored | Embedded | Relayed


class Call(Struct, frozen=True, gc=False):
    """One engine request of one program.

    `pool` names the replicas that may serve it; `affinity` is the key under which a program's
    calls prefer one replica; `prefix` identifies the prompt that its siblings share, so that an
    engine model can share its KV cache; `seed` is used where the work names none.
    """

    id: str
    program: str
    pool: str
    work: Work
    affinity: str
    prefix: str
    seed: int = 0
    is_speculative: bool = False


class Replica(Struct, frozen=True, gc=False):
    """One engine of a pool; `slots` is how many calls it runs at once.

    Where that is not known (`is_learnt`), `slots` is how many it is sent at first; the window is
    learnt from what it makes of them (`core.window`). One that is draining gets no new calls; those
    that it runs go on to their end.
    """

    name: str
    slots: int
    is_learnt: bool = False
    is_draining: bool = False


class ProgramSpec(Struct, frozen=True):
    """A program by name and JSON parameters: what a journal can hold and a factory can build."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)


class PolicySpec(Struct, frozen=True):
    """An allocation policy by name and JSON parameters.

    `has_lock` adds the lossless stop: the leader cannot be overtaken any more.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    has_lock: bool = True


class Spending(Struct, frozen=True, gc=False):
    """Every token that a program cost, each counted once, itemised by how its call ended.

    `completion_tokens` is the sum of the three items; `estimated_tokens` says how many of them
    rest on an estimate because the engine gave no count.
    """

    prompt_tokens: int = 0
    finished_tokens: int = 0
    aborted_tokens: int = 0
    failed_tokens: int = 0
    estimated_tokens: int = 0

    @property
    def completion_tokens(self) -> int:
        """All generated tokens, whether or not their call finished."""
        return self.finished_tokens + self.aborted_tokens + self.failed_tokens


class Answer(Struct, frozen=True, gc=False):
    """The best answer so far: its short form and the finished text that gave it."""

    value: str
    text: str
