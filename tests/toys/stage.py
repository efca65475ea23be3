"""A stage to try a scheduler on: it keeps the host's side of the protocol and counts for itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from toys.words import Conclusion, Words, said

from dynasor.core.allocation import policies
from dynasor.core.catalog import Catalog
from dynasor.core.commands import Abort, Answered, Closed, Compare, SetTimer, Submit
from dynasor.core.config import OrderingSpec, SchedulerConfig
from dynasor.core.events import (
    Arrived,
    Cancelled,
    Failed,
    Finished,
    Grouped,
    PoolChanged,
    Progressed,
    TimerFired,
    Withdrew,
)
from dynasor.core.ordering import orderings
from dynasor.core.program import Program
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import PolicySpec, ProgramSpec, Replica, Usage
from dynasor.programs import programs

__all__ = ["EVEN", "Stage", "Toy", "catalog", "in_order", "toy"]

EVEN = PolicySpec("even", has_lock=False)


def catalog(*kinds, tasks=(), **overrides):
    """Everything that ships, the task of words, and these programs and tasks."""
    everything = {
        "programs": {**programs(), **{kind.name: kind for kind in kinds}},
        "tasks": {task.name: task for task in (Words("math"), Words(), Conclusion(), *tasks)},
        "policies": policies(),
        "orderings": orderings(),
    }
    return Catalog(**{**everything, **overrides})


@dataclass
class Toy(Program):
    """A program that does nothing; `toy` makes others of it."""

    name = "toy"
    question: str = "?"
    task: str = "words"
    heard: list = field(default_factory=list, init=False, repr=False, compare=False)

    def execute(self, context):
        return
        yield

    def update_certaindex(self):
        return {}

    def answer(self):
        return None


def toy(execute, name="toy", **members):
    """A program whose first strand is `execute(self, context)`."""
    return type("Made", (Toy,), {"execute": execute, "name": name, **members})


def in_order(name="app-fifo", aging_factor=0.0, patience_seconds=None, **settings):
    """A configuration with that ordering, without slack unless told."""
    settings.setdefault("window_slack", 0.0)
    return SchedulerConfig(
        ordering=OrderingSpec(name, {}, aging_factor, patience_seconds), **settings
    )


class Stage:
    """Drives a scheduler by hand, and reads every command that it gives.

    `live` maps the calls that hold slots to their Submit, `told` sums the tokens reported per
    program, `answers` and `bills` are the endings. A broken promise is an assertion at once.
    """

    def __init__(self, *kinds, config=None, slots=8, tasks=(), **overrides):
        self.scheduler = Scheduler(config or in_order(), catalog(*kinds, tasks=tasks, **overrides))
        self.now = 0.0
        self.log = []
        self.live = {}
        self.aborted = []
        self.submits = []
        self.compares = {}
        self.timers = {}
        self.answers = {}
        self.bills = {}
        self.told = Counter()
        self.programs = 0
        if slots:
            self.pool(a=slots)

    # Events.

    def send(self, event, after=0.0):
        self.now += after
        commands = self.scheduler.handle(event, self.now)
        self.log.append((self.now, event, commands))
        for command in commands:
            self._note(command)
        return commands

    def pool(self, name="generate", **slots):
        return self.send(PoolChanged(name, tuple(Replica(*item) for item in slots.items())))

    def arrive(self, program=None, spec="self-consistency", policy=EVEN, **rest):
        if program is None:
            program = f"p{self.programs}"
        self.programs += 1
        for seen in (self.answers, self.bills, self.told):
            seen.pop(program, None)  # a name may come again once its program has ended
        params = rest.pop("params", None)
        if params is None:
            fields = {name: rest.pop(name) for name in ("cap", "task") if name in rest}
            params = {"question": "q", "task": "words", **fields}
        self.send(Arrived(program, ProgramSpec(spec, params), policy, **rest))
        return program

    def finish(self, call, text="so x", tokens=10, after=0.0):
        output = said(text, tokens) if isinstance(text, str) else text
        submit = self._release(call, output.usage)
        return self.send(Finished(call, submit.attempt, output), after)

    def fail(self, call, kind="EngineTimeout", *, is_retryable=True, tokens=0, after=0.0):
        usage = Usage(0, tokens)
        submit = self._release(call, usage)
        return self.send(Failed(call, submit.attempt, kind, "boo", is_retryable, usage), after)

    def cancel(self, call, tokens=0, after=0.0):
        usage = Usage(0, tokens)
        submit = self._release(call, usage)
        return self.send(Cancelled(call, submit.attempt, usage), after)

    def report(self, call, delta, tokens=1):
        return self.send(Progressed(call, self.live[call].attempt, delta, tokens))

    def verdict(self, program, *classes, failures=0):
        compare = self.compares.pop(program)
        return self.send(Grouped(program, compare.serial, classes, failures))

    def fire(self, timer, after=None):
        """Let a timer fire when it is due, or after so many seconds."""
        due = max(0.0, self.timers[timer] - self.now)
        return self.send(TimerFired(timer), due if after is None else after)

    def withdraw(self, program):
        return self.send(Withdrew(program))

    # Looking.

    @property
    def calls(self):
        """The calls that hold slots, in the order in which they were sent."""
        return list(self.live)

    def calls_of(self, program):
        return [call for call, submit in self.live.items() if submit.call.program == program]

    def started(self):
        """The programs of all submitted calls, in order."""
        return [submit.call.program for submit in self.submits]

    def replica_of(self, call):
        return self.live[call].replica

    def run(self, program):
        """The program's run, as the scheduler keeps it."""
        return self.scheduler._runs[program]

    def drain(self, text="so x"):
        """Finish what runs, the oldest first, and cancel what is aborted, until nothing runs."""
        while self.live:
            call = next(iter(self.live))
            self.cancel(call) if call in self.aborted else self.finish(call, text, after=1.0)

    def check(self):
        """The scheduler's own audit, and what every test wants to hold."""
        self.scheduler.validate()
        for program, bill in self.bills.items():
            assert bill.spending.completion_tokens == self.told[program], program

    # The host's side.

    def _note(self, command):
        assert command.cause == len(self.log) - 1, "a command names the wrong cause"
        match command:
            case Submit():
                assert command.call.id not in self.live, "two live attempts of one call"
                assert command.call.program not in self.bills, "a call outlives its program"
                self.live[command.call.id] = command
                self.submits.append(command)
            case Abort():
                assert self.live[command.call].attempt == command.attempt
                assert command.call not in self.aborted, "aborted twice"
                self.aborted.append(command.call)
            case Compare():
                assert command.program not in self.compares, "two comparisons outstanding"
                self.compares[command.program] = command
            case SetTimer():
                assert command.at >= self.now
                self.timers[command.name] = command.at
            case Answered():
                assert command.program not in self.answers, "answered twice"
                self.answers[command.program] = command
                self.compares.pop(command.program, None)
            case Closed():
                assert command.program in self.answers, "closed before its answer"
                assert command.program not in self.bills, "closed twice"
                self.bills[command.program] = command

    def _release(self, call, usage):
        submit = self.live.pop(call)
        self.told[submit.call.program] += usage.completion_tokens
        return submit
