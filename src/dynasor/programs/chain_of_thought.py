"""Long chains of thought: let the model think, and ask it beside that for its answer so far.

The paper's internalised chain of thought (section 2.1), but the main stream is never broken off
to ask: it runs on while probes go beside it, and is aborted when the policy is satisfied.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from dataclasses import replace as evolve
from itertools import chain
from math import ceil, inf
from statistics import fmean
from typing import ClassVar, Self

from msgspec.structs import replace

from dynasor.core.certaindex import confidence
from dynasor.core.errors import CallFailed, ConfigError
from dynasor.core.program import (
    Ask,
    Cancel,
    Context,
    Fork,
    Group,
    Join,
    Next,
    Open,
    Program,
    Report,
    Sample,
    Strand,
)
from dynasor.core.task import Task
from dynasor.core.types import (
    Answer,
    Generate,
    Generated,
    Message,
    PolicySpec,
    Prompt,
    Sampling,
    Temperature,
    Tokens,
    TopP,
)
from dynasor.programs.probing import (
    Probe,
    Trace,
    agreement,
    asking,
    elected,
    has_hesitation,
)

__all__ = ["ChainOfThought"]

SHARING = "sharing"
"""The ability of an engine to serve a prefix that a running call of its own has computed."""
MOST_CHAINS = 1_000
"""All chains begin at once, whatever the policy grants: more are a slip of the pen."""
SEEDS = 2**31
"""Seeds travel as 31 bits: what a trace says of its seed is what the engine got."""


@dataclass
class ChainOfThought(Program):
    r"""Think in `chains` streams side by side, and stop when the model has made up its mind.

    The knob is the number of rounds of `every` tokens, over all chains. Certaindex: `entropy`
    over the latest `window` probes of all chains together, where a chain that has ended counts
    `window` times (0 while one that runs has fewer), and `confidence`: how probable the model
    finds its latest answers, the mean over chains (arXiv 2504.15895; `entropy` again where the
    engine gives no log-probabilities). A probe without an answer, or one that is taken back by a
    word of hesitation, agrees with nothing. Chains have one vote each, ties go to the first.
    `traces` are the chains.

    `max_tokens`, `temperature` and `top_p` are a chain's sampling. `mode` is a system message
    that makes the model think, in place of the task's (None); `think_start` begins the thoughts
    where the chat template does not, `think_end` is the tag that closes them. `probe` is put
    after the trace so far; what the model adds, at most `probe_tokens` tokens up to the end of
    the line, makes a whole message of it. `share` bounds what probes may cost, see
    `Trace.due_at`: at 0 none is sent but the one that closes a trace which was cut. `chunked`
    stops the stream where a probe is due and goes on with the text after it: for engines that
    cannot do both at once, or would compute the trace a second time to. None leaves that to
    what the engines can do (streaming, where nobody asks them).
    """

    name = "chain-of-thought"
    unit = "round"
    usual_policy: ClassVar[PolicySpec | None] = PolicySpec(
        "stepwise", {"every": 1, "at": 1.0}, has_lock=False
    )

    cap: int = 1000
    max_tokens: Tokens = 8192
    temperature: Temperature = 0.7
    top_p: TopP = 1.0
    every: int = 32
    window: int = 3
    chains: int = 1
    mode: str | None = None
    think_start: str = ""
    think_end: str = "</think>"
    probe: str = "\n</think>\n\nThe answer is \\boxed{"
    probe_tokens: int = 12
    share: float = 0.1
    chunked: bool | None = None
    traces: list[Trace] = field(default_factory=list, init=False, repr=False, compare=False)
    _paid: int = field(default=0, init=False, repr=False, compare=False)
    _rounds: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("every", "window", "chains", "probe_tokens", "max_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if self.chains > MOST_CHAINS:
            raise ConfigError(f"chains is {self.chains}; at most {MOST_CHAINS:,} are possible")
        if not self.share >= 0:
            raise ConfigError(f"share is {self.share}; expected 0 (no probes) or more")
        if not self.think_end:
            raise ConfigError("think_end is empty; give the tag that closes the thoughts")
        if self.think_end not in self.probe:
            raise ConfigError(
                f"probe {self.probe!r} does not close the thoughts: put think_end "
                f"({self.think_end!r}) into it"
            )

    def suited_to(self, abilities: Collection[str]) -> Self:
        """Stop streams for probes where an engine would compute the trace again beside them."""
        return self if self.chunked is not None else evolve(self, chunked=SHARING not in abilities)

    def prompt(self, task: Task) -> Prompt:
        """Return the prompt, with what makes the model think."""
        messages = super().prompt(task).messages
        if self.mode is not None:
            rest = (message for message in messages if message.role != "system")
            messages = (Message("system", self.mode), *rest)
        return Prompt(messages, self.think_start)

    def execute(self, context: Context) -> Strand:
        """Think in all chains side by side."""
        self._paid = (yield Ask()).knob
        threads = []
        for number in range(self.chains if self._paid else 0):
            seed = int(context.random(f"chain {number}").random() * SEEDS)
            self.traces.append(Trace(seed))
            threads.append((yield Fork(self._chain(context.task, self.traces[number]))))
        yield Join(tuple(threads))

    def _chain(self, task: Task, trace: Trace) -> Strand:
        try:
            reason = yield from self._think(task, trace)
        except CallFailed:
            trace.is_lost = True
            if all(one.is_lost for one in self.traces):
                raise
            self.note("chains lost")
            return
        yield from self._conclude(task, trace, reason)

    def _think(self, task: Task, trace: Trace) -> Strand:
        """Read a trace to its end, and return why that is: `stop`, `length` or `cap`."""
        while True:
            left = self.max_tokens - trace.tokens
            piece = min(left, self._until_probe(trace)) if self.chunked else left
            letters = len(trace.text)
            reason = yield from self._read(task, trace, piece)
            if reason != "length" or piece == left or len(trace.text) == letters:
                return reason
            if not (yield from self._round(task, trace)):
                return "cap"

    def _read(self, task: Task, trace: Trace, piece: int) -> Strand:
        """Go on with a trace for at most `piece` tokens, and return why it ended."""
        before, tokens = trace.text, trace.tokens
        prompt = self.prompt(task)
        seed = (trace.seed + tokens) % SEEDS
        sampling = Sampling(piece, self.temperature, self.top_p, seed=seed)
        grown = replace(prompt, prefix=prompt.prefix + before)
        stream = yield Open(Generate(grown, sampling, self.every))
        while True:
            try:
                report: Report = yield Next(stream)
            except CallFailed:
                if not trace.probes:
                    raise  # nothing was thought that could answer
                self.note("traces broken off")
                return "broken"
            if (result := report.result) is not None:
                trace.text = before + result.text
                trace.tokens = tokens + max(1, result.usage.completion_tokens)
                return result.finish_reason
            trace.text += report.delta
            trace.tokens += report.tokens
            if not (yield from self._round(task, trace)):
                yield Cancel(stream)
                return "cap"

    def _until_probe(self, trace: Trace) -> int:
        """Return in how many tokens the next probe is due: whole rounds, at least one."""
        due = inf if self.think_end in trace.text else trace.due_at(self.share, self.probe_tokens)
        rounds = max(1.0, ceil((due - trace.tokens) / self.every)) if due < inf else inf
        return int(min(rounds * self.every, self.max_tokens))

    def _round(self, task: Task, trace: Trace) -> Strand:
        """Settle a round, after its probe where one is due; return whether more may follow.

        A stream does not wait for its probe: the rounds after it are read meanwhile. The end of a
        piece whose last report came already is no round of its own.
        """
        if trace.tokens - trace.read < self.every:
            return True
        trace.read = trace.tokens
        self._rounds += 1
        if self._rounds >= self.cap:
            return False  # this unit is settled with the trace's end
        is_due = trace.tokens >= trace.due_at(self.share, self.probe_tokens)
        if not is_due or trace.prober is not None or self.think_end in trace.text:
            return (yield from self._settle())
        trace.prober = yield Fork(self._probed_round(task, trace))
        if self.chunked:
            yield Join((trace.prober,))
        return True

    def _settle(self) -> Strand:
        """Settle a unit, the one in hand or one to ask for; return whether there was one."""
        if not self._paid:
            self._paid = (yield Ask()).knob
        settled = min(self._paid, 1)
        self._paid -= settled
        self.knob += settled
        return settled > 0

    def _probed_round(self, task: Task, trace: Trace) -> Strand:
        yield from self._elicit(task, trace)
        trace.prober = None
        yield from self._settle()

    def _elicit(self, task: Task, trace: Trace) -> Strand:
        """Ask for the answer so far; returns the probe, None where it could not be asked."""
        thoughts, at = trace.text.partition(self.think_end)[0], trace.tokens
        asked = asking(self.prompt(task), thoughts + self.probe, self.probe_tokens)
        try:
            sample: Generated = yield Sample(asked)
        except CallFailed:
            self.note("probes lost")
            trace.pause()
            return None
        said = self.probe + sample.text
        final = said.rpartition(self.think_end)[2]
        answer = None if has_hesitation(sample.text) else task.extract(final)
        group = yield Group(answer)
        if group is None:
            self.note("probes without answer")
        tokens = sample.usage.completion_tokens
        probe = Probe(
            at, len(thoughts), said, answer, group, tokens, confidence(sample.mean_logprob)
        )
        trace.probes.append(probe)
        trace.pause()
        return probe

    def _conclude(self, task: Task, trace: Trace, reason: str) -> Strand:
        """End a trace with its own answer, or else with that of a last probe."""
        if trace.prober is not None:  # a probe of what is history now
            yield Cancel(trace.prober)
            trace.prober = None
            yield from self._settle()
        _, closed, final = trace.text.partition(self.think_end)
        if reason == "stop" and not closed:
            self.note("thinking never closed")
            final = trace.text
        trace.answer = task.extract(final) if final.strip() else None
        trace.group = yield Group(trace.answer)
        if trace.group is None:
            if reason in ("length", "cap"):
                self.note(f"traces cut at {'the cap' if reason == 'cap' else 'max_tokens'}")
            latest = trace.probes[-1] if trace.probes else None
            if latest is None or latest.at < trace.tokens:  # or it was asked just here
                latest = yield from self._elicit(task, trace)
            trace.closing = latest
            if trace.closing is not None:
                trace.answer, trace.group = trace.closing.answer, trace.closing.group
        trace.is_ended = True
        if reason == "cap" or not all(one.is_ended or one.is_lost for one in self.traces):
            yield from self._settle()

    def update_certaindex(self) -> dict[str, float]:
        """Return how far the latest answers agree, and how sure the model is of them."""
        running = [trace for trace in self.traces if not trace.is_lost]
        ballots = [trace.ballot(self.window) for trace in running]
        has_all = all(len(ballot) == self.window for ballot in ballots)
        entropy = agreement(chain.from_iterable(ballots)) if has_all else 0.0
        sure = [trace.confidence(entropy) for trace in running]
        return {"entropy": entropy, "confidence": fmean(sure) if sure else 0.0}

    def answer(self) -> Answer | None:
        """Return the vote of the chains: a whole message, its thoughts closed."""
        return elected(trace.verdict(self.window) for trace in self.traces)
