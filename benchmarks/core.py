"""What a scheduling decision costs: `handle()` over a steady mix of all events.

    scripts/bench core [--json FILE] [--events N] [--live N ...]

For each number of live programs it fills a scheduler, lets it settle, and then times every
`handle()` while programs arrive, sample, stream, score, fail, are withdrawn, run out of time and
are replaced. Nothing but `handle()` is timed, in CPU time of its thread (a shared machine's wall clock times its neighbours).
Prints mean, median and p99 in microseconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
from dataclasses import dataclass
from random import Random

import numpy as np

from dynasor.core.allocation import policies
from dynasor.core.catalog import Catalog
from dynasor.core.commands import Abort, Closed, Compare, SetTimer, Submit
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
from dynasor.core.program import Context, Next, Open, Program, Strand
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
    Usage,
)
from dynasor.programs import SelfConsistency

SLOTS = 512
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
        """The text is the answer."""
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
        """No signal."""
        return {}

    def answer(self) -> Answer | None:
        """Any answer."""
        return Answer("done", "done")


class Mill:
    """Keeps a scheduler in a steady state: one event out of the world's choice after another."""

    def __init__(self, live: int, ordering: str) -> None:
        self.random = Random(live)
        catalog = Catalog(
            {"self-consistency": SelfConsistency, "watcher": Watcher},
            {"numbers": Numbers()},
            policies(),
            orderings(),
        )
        self.config = SchedulerConfig(ordering=OrderingSpec(ordering), retry_seconds=0.05)
        self.scheduler = Scheduler(self.config, catalog)
        self.now = 0.0
        self.arrivals = 0
        self.events = 0
        self.running: list[Submit] = []
        self.urgent: list[Event] = []
        self.timers: list[SetTimer] = []
        self.withdrawn = 0
        self.handled: dict[str, int] = {}
        self.costs: list[int] = []
        self.send(PoolChanged("generate", (Replica("r0", SLOTS),)))
        for _ in range(live):
            self.send(self.arrival())

    def arrival(self) -> Arrived:
        """Return the next program: one in ten is a stream, one in four has a deadline."""
        self.arrivals += 1
        number = self.arrivals
        name = "watcher" if number % 10 == 0 else "self-consistency"
        params = {"question": f"question {number}", "task": "numbers", "cap": 20}
        return Arrived(
            f"p{number}",
            ProgramSpec(name, params),
            POLICIES[number % len(POLICIES)],
            workload=f"w{number % 4}",
            tenant=f"t{number % 7}",
            deadline_seconds=3600.0 if number % 4 == 0 else None,
        )

    def send(self, event: Event) -> None:
        """Handle one event, timed, and take in what it causes."""
        begin = time.thread_time_ns()
        commands = self.scheduler.handle(event, self.now)
        self.costs.append(time.thread_time_ns() - begin)
        kind = type(event).__name__
        self.handled[kind] = self.handled.get(kind, 0) + 1
        for command in commands:
            if type(command) is Submit:
                self.running.append(command)
            elif type(command) is Abort:
                self.urgent.append(Cancelled(command.call, command.attempt, Usage(20, 9)))
            elif type(command) is Compare:
                base = len(command.representatives)
                classes = tuple(range(base, base + len(command.new)))
                self.urgent.append(Grouped(command.program, command.serial, classes))
            elif type(command) is SetTimer and command.name.startswith("retry"):
                self.timers.append(command)
            elif type(command) is Closed:
                self.urgent.append(self.arrival())

    def step(self) -> None:
        """Let one more thing happen."""
        self.events += 1
        self.now += 0.0005
        if self.urgent:
            self.send(self.urgent.pop())
        elif self.timers and self.timers[0].at <= self.now:
            self.send(TimerFired(self.timers.pop(0).name))
        elif self.events % 200 == 0:
            self.withdrawn += 1
            self.send(Withdrew(f"p{self.arrivals - self.random.randrange(500)}"))
        elif self.events % 20_000 == 0:
            self.send(PoolChanged("generate", (Replica("r0", SLOTS),)))
        else:
            self.call_event()

    def call_event(self) -> None:
        """Let a running call end, fail or report."""
        place = self.random.randrange(len(self.running))
        submit, chance = self.running[place], self.random.random()
        call, attempt = submit.call.id, submit.attempt
        if getattr(submit.call.work, "report_every", 0) and chance < 0.8:
            self.send(Progressed(call, attempt, "some more words", 32))
            return
        self.running[place] = self.running[-1]
        self.running.pop()
        if chance > 0.98:
            self.send(Failed(call, attempt, "EngineTimeout", "too slow", True, Usage(20, 10)))
            return
        answer = "~" + str(place % 9) if chance > 0.93 else str(int(chance * 7))
        tokens = 20 + place % 60
        self.send(Finished(call, attempt, Generated(answer, Usage(20, tokens))))


def measure(live: int, events: int, ordering: str) -> dict[str, object]:
    """Return the cost of `handle()` at so many live programs."""
    mill = Mill(live, ordering)
    for _ in range(max(2_000, events // 5)):
        mill.step()
    gc.collect()
    mill.costs.clear()
    mill.handled.clear()
    for _ in range(events):
        mill.step()
    costs = np.array(mill.costs) / 1000.0
    begin = time.thread_time_ns()
    mill.scheduler.handle(Configured(mill.config), mill.now)
    reorder_ms = (time.thread_time_ns() - begin) / 1e6
    return {
        "live": live,
        "ordering": ordering,
        "events": len(costs),
        "mean_us": round(float(costs.mean()), 2),
        "median_us": round(float(np.median(costs)), 2),
        "p99_us": round(float(np.quantile(costs, 0.99)), 2),
        "reorder_all_ms": round(reorder_ms, 1),
        "mix": dict(sorted(mill.handled.items())),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--live", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--events", type=int, default=100_000, help="timed at each size")
    parser.add_argument("--ordering", nargs="+", default=["gang", "sjf"])
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    print(f"handle() over {options.events:,} events of a steady mix, {platform.machine()}")
    print(f"{'ordering':>9} {'live':>8} {'mean us':>9} {'median us':>10} {'p99 us':>8}")
    rows = []
    for ordering in options.ordering:
        for live in options.live:
            row = measure(live, options.events, ordering)
            rows.append(row)
            print(
                f"{ordering:>9} {live:>8,} {row['mean_us']:>9} {row['median_us']:>10} "
                f"{row['p99_us']:>8}",
                flush=True,
            )
    print("events:", rows[-1]["mix"])
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
