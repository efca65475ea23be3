"""What a scheduling decision costs: `handle()` over a steady mix of all events.

    scripts/bench core [--json FILE] [--events N] [--live N ...] [--ordering NAME ...]

For each number of live programs it fills a scheduler, lets it settle, and then times every
`handle()` while programs arrive, sample, stream, are judged, fail, are withdrawn, run out of time
and are replaced. Nothing but `handle()` is timed, in CPU time of its thread (a shared machine's
wall clock times its neighbours); the clock's own cost is taken off. `Configured`, which re-ranks
everything and is rare, is timed apart. The garbage collector runs as it likes; its share of the
mean is shown. The events are the same in every run.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
import tracemalloc
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from random import Random

import numpy as np

from dynasor.core.allocation import policies
from dynasor.core.catalog import Catalog
from dynasor.core.commands import Abort, Closed, Command, Compare, SetTimer, Submit
from dynasor.core.config import OrderingSpec, SchedulerConfig
from dynasor.core.events import (
    Arrived,
    Cancelled,
    Configured,
    Event,
    Failed,
    Finished,
    Grouped,
    PoolChanged,
    Progressed,
    TimerFired,
    Withdrew,
)
from dynasor.core.ordering import orderings
from dynasor.core.program import Ask, Context, Next, Open, Program, Sample, Strand
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import (
    Answer,
    Generate,
    Generated,
    Message,
    PolicySpec,
    ProgramSpec,
    Prompt,
    Replica,
    Score,
    Scored,
    Usage,
)
from dynasor.programs import SelfConsistency

SLOTS = 512
STEP_SECONDS = 0.0005
DEADLINE_RATE = 20.0
"""Deadlines that come due in a second, that is in 2,000 events, whatever the number of programs."""
POLICIES = (
    PolicySpec("beta"),
    PolicySpec("threshold", {"in_flight": 4}),
    PolicySpec("even", {"in_flight": 4}, has_lock=False),
)


class Numbers:
    """A task whose answers are compared at once, except that some must go to a worker."""

    name = "numbers"

    def prompt(self, question: str) -> Prompt:
        """Ask the question as it is."""
        return Prompt((Message("user", question),))

    def extract(self, text: str) -> str | None:
        """Take the whole text for the answer."""
        return text

    def same(self, left: str, right: str) -> bool | None:
        """Compare as strings; answers marked with `~` need a worker."""
        if left == right:
            return True
        return None if left.startswith("~") and right.startswith("~") else False


@dataclass
class Watcher(Program):
    """A stream that is read report by report."""

    name = "watcher"

    def execute(self, context: Context) -> Strand:
        """Read one stream to its end."""
        stream = yield Open(Generate(context.task.prompt(self.question), report_every=32))
        while (yield Next(stream)).result is None:
            pass

    def update_certaindex(self) -> dict[str, float]:
        """Return no signal."""
        return {}

    def answer(self) -> Answer | None:
        """Return any answer."""
        return Answer("done", "done")


@dataclass
class Judged(Watcher):
    """Samples, each scored by a reward model."""

    name = "judged"

    def execute(self, context: Context) -> Strand:
        """Sample and score, one unit after another."""
        prompt = context.task.prompt(self.question)
        while (yield Ask()).knob:
            sample = yield Sample(Generate(prompt))
            yield Score((Prompt(prompt.messages, sample.text),))
            self.knob += 1


KINDS = (*[SelfConsistency] * 7, Watcher, Watcher, Judged)
"""Seven of ten programs vote, two are streams, one is scored."""


class Mill:
    """Keeps a scheduler in a steady state: one event out of the world's choice after another.

    More than half of all answers agree, one in fourteen goes to a grouping worker, one call in
    fifty fails; one event in a hundred withdraws a program.
    """

    def __init__(self, live: int, ordering: str) -> None:
        self.random = Random(live)
        catalog = Catalog(
            {kind.name: kind for kind in KINDS}, {"numbers": Numbers()}, policies(), orderings()
        )
        self.config = SchedulerConfig(ordering=OrderingSpec(ordering), retry_seconds=0.05)
        self.scheduler = Scheduler(self.config, catalog)
        self.live = live
        self.now = 0.0
        self.arrivals = 0
        self.events = 0
        self.running: list[Submit] = []
        self.aborted: set[str] = set()
        self.urgent: list[Event] = []
        self.timers: list[tuple[float, str]] = []
        self.costs: list[int] = []
        self.kinds: list[str] = []  # beside the costs: pairs would be the collector's work too
        self.send(PoolChanged("generate", (Replica("r0", SLOTS),)))
        self.send(PoolChanged("reward", (Replica("w0", SLOTS // 8),)))
        for _ in range(live):
            self.send(self.arrival())

    def arrival(self) -> Arrived:
        """Return the next program; one in seven has a deadline, and many of those miss it."""
        self.arrivals += 1
        number = self.arrivals
        kind, is_hurried = KINDS[number % len(KINDS)], number % 7 == 0
        longest = self.live / 7 / DEADLINE_RATE
        cap = 5 if kind is Judged else 20
        params = {"question": f"question {number}", "task": "numbers", "cap": cap}
        return Arrived(
            f"p{number}",
            ProgramSpec(kind.name, params),
            POLICIES[2 if kind is Judged else number % len(POLICIES)],
            workload=f"w{number % 4}",
            tenant=f"t{number % 5}",
            deadline_seconds=longest * (1 - self.random.random()) if is_hurried else None,
        )

    def send(self, event: Event) -> None:
        """Handle one event, timed, and take in what it causes."""
        begin = time.thread_time_ns()
        commands = self.scheduler.handle(event, self.now)
        self.costs.append(time.thread_time_ns() - begin)
        self.kinds.append(type(event).__name__)
        for command in commands:
            self.take_in(command)

    def take_in(self, command: Command) -> None:
        """Do as one command says."""
        match command:
            case Submit():
                self.running.append(command)
            case Abort(call=call, attempt=attempt):
                self.aborted.add(call)
                self.urgent.append(Cancelled(call, attempt, Usage(20, 9)))
            case Compare(representatives=known, new=new):
                classes = tuple(range(len(known), len(known) + len(new)))
                self.urgent.append(Grouped(command.program, command.serial, classes))
            case SetTimer(name=name, at=at):
                heappush(self.timers, (at, name))
            case Closed():
                self.urgent.append(self.arrival())

    def step(self) -> None:
        """Let one more thing happen."""
        self.events += 1
        self.now += STEP_SECONDS
        if self.urgent:
            self.send(self.urgent.pop())
        elif self.timers and self.timers[0][0] <= self.now:
            self.send(TimerFired(heappop(self.timers)[1]))
        elif self.events % 5_003 == 0:
            self.send(PoolChanged("generate", (Replica("r0", SLOTS),)))
        elif self.events % 100 == 0:
            self.send(Withdrew(self.tired()))
        else:
            self.call_event()

    def tired(self) -> str:
        """Return a program to withdraw: one that runs, or one of the latest, that mostly wait."""
        if self.random.random() < 0.5:
            return self.running[self.random.randrange(len(self.running))].call.program
        return f"p{self.arrivals - self.random.randrange(self.live // 2)}"

    def call_event(self) -> None:
        """Let a running call end, fail or report."""
        place = self.random.randrange(len(self.running))
        submit, chance = self.running[place], self.random.random()
        call, attempt, work = submit.call.id, submit.attempt, submit.call.work
        is_open = isinstance(work, Generate) and work.report_every > 0
        if is_open and chance < 0.9 and call not in self.aborted:
            self.send(Progressed(call, attempt, "some more words", 32))
            return
        self.running[place] = self.running[-1]
        self.running.pop()
        if call in self.aborted:
            self.aborted.remove(call)
        elif chance > 0.98:
            self.send(
                Failed(
                    call,
                    attempt,
                    "EngineTimeout",
                    "too slow",
                    is_retryable=True,
                    usage=Usage(20, 10),
                )
            )
        elif isinstance(work, Score):
            self.send(Finished(call, attempt, Scored((chance,), Usage(60, 1))))
        else:
            answer = "~" + str(place % 9) if chance > 0.93 else str(int(7 * chance**3))
            tokens = 20 + place % 60
            self.send(Finished(call, attempt, Generated(answer, Usage(20, tokens))))


class Collector:
    """Adds up what the garbage collector takes, in CPU time, while it is watched."""

    def __init__(self) -> None:
        self.spent = 0
        self._begin = 0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Take note of the beginning or the end of a collection."""
        if phase == "start":
            self._begin = time.thread_time_ns()
        else:
            self.spent += time.thread_time_ns() - self._begin


def clock_cost() -> float:
    """Return what reading the clock twice adds to a measurement, in nanoseconds."""
    costs = []
    for _ in range(10_000):
        begin = time.thread_time_ns()
        costs.append(time.thread_time_ns() - begin)
    return float(np.median(costs))


def addition_cost() -> float:
    """Return what a loop's step with one addition takes here, in nanoseconds: a yardstick."""
    begin, total = time.thread_time_ns(), 0
    for number in range(1_000_000):
        total += number
    return (time.thread_time_ns() - begin) / 1e6


def bytes_per_program(live: int = 2_000) -> int:
    """Return the memory of one live program, most of them waiting."""
    tracemalloc.start()
    mill = Mill(live, "gang")
    mill.costs.clear()
    mill.kinds.clear()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return used // live


def measure(live: int, events: int, ordering: str) -> dict[str, object]:
    """Return the cost of `handle()` at so many live programs."""
    mill, collector, clock = Mill(live, ordering), Collector(), clock_cost()
    for _ in range(max(2_000, events // 5)):
        mill.step()
    gc.collect()
    mill.costs.clear()
    mill.kinds.clear()
    ignored = mill.scheduler.ignored
    gc.callbacks.append(collector)
    for _ in range(events):
        mill.step()
    gc.callbacks.remove(collector)
    costs = (np.array(mill.costs) - clock) / 1000.0
    kinds = np.array(mill.kinds)
    begin = time.thread_time_ns()
    mill.scheduler.handle(Configured(mill.config), mill.now)
    return {
        "live": live,
        "ordering": ordering,
        "events": len(costs),
        "mean_us": round(float(costs.mean()), 2),
        "median_us": round(float(np.median(costs)), 2),
        "p99_us": round(float(np.quantile(costs, 0.99)), 2),
        "collector_us": round(collector.spent / events / 1000.0, 2),
        "addition_ns": round(addition_cost(), 1),
        "reorder_all_ms": round((time.thread_time_ns() - begin) / 1e6, 1),
        "ignored": mill.scheduler.ignored - ignored,
        "mix": {
            str(kind): {
                "count": int((kinds == kind).sum()),
                "mean_us": round(float(costs[kinds == kind].mean()), 2),
            }
            for kind in np.unique(kinds)
        },
    }


COLUMNS = ("ordering", "live", "mean_us", "median_us", "p99_us", "collector_us", "addition_ns")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--live", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--events", type=int, default=50_000, help="timed at each size")
    parser.add_argument("--ordering", nargs="+", default=["gang", "sjf", "app-fifo"])
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    size = bytes_per_program()
    print(f"handle() over {options.events:,} events of a steady mix, {platform.machine()}")
    print(f"a live program takes {size:,} bytes")
    print(" ".join(f"{column:>12}" for column in COLUMNS))
    rows = []
    for ordering in options.ordering:
        for live in options.live:
            row = measure(live, options.events, ordering)
            rows.append(row)
            print(" ".join(f"{row[column]!s:>12}" for column in COLUMNS), flush=True)
    print(f"\nevents of the last row ({rows[-1]['ignored']} of them ignored as out of date):")
    for kind, figures in rows[-1]["mix"].items():
        print(f"{kind:>12} {figures['count']:>8,} times {figures['mean_us']:>8} us")
    if options.json:
        report = {"bytes_per_program": size, "rows": rows}
        Path(options.json).write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
