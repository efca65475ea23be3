"""One online run in virtual time: a workload, a system, a cluster; what became of every program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite

import msgspec
from msgspec import Struct

from dynasor.core.allocation import make_policy
from dynasor.core.catalog import Catalog
from dynasor.core.commands import Closed, Command
from dynasor.core.errors import UserError
from dynasor.core.events import Event
from dynasor.core.promise import PromiseWatch
from dynasor.core.scheduler import Scheduler
from dynasor.evaluate.processes import without_collector
from dynasor.evaluate.recorded import Recorded
from dynasor.evaluate.recording import RecordedTask, Recording
from dynasor.online.arrivals import Visit, arrived, visits
from dynasor.online.cluster import Cluster, solo_seconds
from dynasor.online.deadlines import Difficulty
from dynasor.online.ledger import Ledger, Row
from dynasor.online.outcome import Simulated, Totals
from dynasor.online.outcomes import check_fits, prompt_path
from dynasor.online.systems import System
from dynasor.online.workload import Workload, check_names
from dynasor.programs import SelfConsistency
from dynasor.runtime import Clock, MonotonicClock
from dynasor.sim import SimpleEngine, VirtualHost
from dynasor.wiring import make_catalog

__all__ = ["Experiment", "simulate"]

PLENTY = 10**7
"""Calls that a judge scores at once: no score is ever waited for."""


class Experiment(Struct, frozen=True):
    """What all runs that are compared have in common.

    `questions` are those of each part, by its name. `horizon`: seconds after which a run ends with
    whatever is live, None to let every program end: so many programs have so many samples, so
    that no run is endless. `difficulties` keeps how hard questions were found to be.
    """

    workload: Workload
    questions: Mapping[str, Sequence[Recorded]]
    cluster: Cluster
    horizon: float | None = None
    difficulties: dict[str, Difficulty] = {}

    def check(self, catalog: Catalog | None = None) -> None:
        """Raise `UserError` for what cannot be run: unknown names, prompts beyond the memory.

        `catalog` has the names; None takes those that are installed.
        """
        horizon = self.horizon
        if horizon is not None and not (isfinite(horizon) and horizon > 0):
            raise UserError(f"the horizon is {horizon}; give seconds above 0, or None")
        check_names(self.workload, catalog or make_catalog())
        for part in self.workload.parts:
            questions = self.questions.get(part.name, ())
            check_fits(part, questions, self.cluster.model.kv_tokens)


class _Timed:
    """A scheduler whose decisions are counted and timed."""

    def __init__(self, scheduler: Scheduler, clock: Clock) -> None:
        self.scheduler = scheduler
        self.decisions = 0
        self.seconds = 0.0
        self._clock = clock

    def handle(self, event: Event, now: float) -> list[Command]:
        """Pass an event on."""
        began = self._clock.now()
        commands = self.scheduler.handle(event, now)
        self.seconds += self._clock.now() - began
        self.decisions += 1
        return commands


class _Run:
    """One run: the host, and who watches it."""

    def __init__(self, experiment: Experiment, system: System, catalog: Catalog, seed: int) -> None:
        self._experiment = experiment
        self._system = system
        self._seed = seed
        self.scheduler = Scheduler(system.config(seed), catalog)
        self.timed = _Timed(self.scheduler, MonotonicClock())
        self.promise = PromiseWatch(self.scheduler)
        self.recording = Recording()
        self.ledger = Ledger(())
        engines = experiment.cluster.engines(system, self.ledger)
        self.ledger.engines = list(engines.values())
        self.host = VirtualHost(self.timed, self.recording, _never_compare, watch=self._watch)
        self.host.add_pool("generate", dict(engines))
        workload = experiment.workload
        if any(part.program != SelfConsistency.name for part in workload.parts):
            # Rewards were recorded: a judge takes no time.
            self.host.add_pool("reward", {"judge": SimpleEngine(PLENTY, 1.0)})
        self._places = {part.name: place for place, part in enumerate(workload.parts)}
        self._visits = visits(workload, experiment.questions, seed, experiment.difficulties)
        self.host.feed(self._arrivals())

    def run(self) -> Simulated:
        """Go on until every program has ended, or to the horizon."""
        with without_collector():
            self.host.run(self._experiment.horizon)
        ledger = self.ledger
        for run, _ in self.scheduler.dispatcher.calls.values():
            ledger.bill(run.demand.program, run.bill.spending())
        end = self.host.now if ledger.live else max(ledger.last_end, ledger.last_arrival)
        ledger.sample(end, self.scheduler.waiting)
        return ledger.close(tuple(self._places), self._totals(end))

    def _arrivals(self) -> Iterator[tuple[float, Event]]:
        """Yield arrivals, each noted just before it comes."""
        experiment, system = self._experiment, self._system
        horizon = inf if experiment.horizon is None else experiment.horizon
        for visit in self._visits:
            if visit.time > horizon:
                return
            self._note(visit)
            event = arrived(visit, system.policy)
            if not system.enforces_deadlines:
                event = msgspec.structs.replace(event, deadline_seconds=None)
            yield visit.time, event

    def _note(self, visit: Visit) -> None:
        """Prepare for a program: its outcomes, and its row."""
        part, question = visit.part, visit.question
        path = prompt_path(part, visit.program, question)
        self.recording.add(visit.program, question, visit.seed, path)
        lengths = [question.tokens[place] for place in question.order(visit.seed)[: part.cap]]
        prompt = sum(segment.tokens for segment in path)
        solo = solo_seconds(self._experiment.cluster.model, prompt, lengths)
        self.ledger.add(Row(visit, self._places[part.name], sum(lengths), solo))

    def _watch(self, event: Event, commands: list[Command], now: float) -> None:
        self.promise.see(commands, now)
        self.ledger.see(event, commands, now, self.scheduler.waiting)
        for command in commands:
            if isinstance(command, Closed):
                self.recording.forget(command.program)

    def _totals(self, end: float) -> Totals:
        ledger, engines = self.ledger, self.ledger.engines
        totals = [engine.totals for engine in engines]
        busy = sum(one.busy_seconds for one in totals)
        blocks = self._experiment.cluster.model.kv_blocks
        held = sum(one.kv_block_seconds for one in totals)
        return Totals(
            end=end,
            last_arrival=ledger.last_arrival,
            steps=sum(one.steps for one in totals),
            busy_seconds=busy,
            replicas=len(engines),
            generated_tokens=sum(one.generated for one in totals),
            prefill_tokens=sum(one.prefilled for one in totals),
            cached_tokens=sum(one.cached for one in totals),
            preemptions=sum(one.preemptions for one in totals),
            kv_mean=held / busy / blocks if busy else 0.0,
            kv_max=max(one.kv_most for one in totals) / blocks,
            waiting_mean=ledger.waiting_mean,
            decisions=self.timed.decisions,
            scheduler_seconds=self.timed.seconds,
            crossings=self.promise.crossings,
            broken_promises=self.promise.broken,
            refused=sum(one.refused for one in totals),
            is_cut=ledger.is_cut,
        )


def simulate(experiment: Experiment, system: System, seed: int = 0) -> Simulated:
    """Run a workload through a system.

    Raises `UserError` for an experiment that cannot be run.
    """
    return _Run(experiment, system, _checked(experiment, system), seed).run()


def _checked(experiment: Experiment, system: System) -> Catalog:
    """Return the names for a run that can be made."""
    catalog = replace(make_catalog(), tasks={RecordedTask.name: RecordedTask()})
    experiment.check(catalog)
    make_policy(system.policy, catalog.policies)
    return catalog


def _never_compare(*question: object) -> tuple[int, ...]:
    raise AssertionError(f"classes are compared at sight, not by a worker: {question}")
