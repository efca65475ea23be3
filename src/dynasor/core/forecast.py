"""What is expected of every program: how much it will still take, how long, when it must start.

Expectations rest on the program's own past, and before it has one on its workload's. They fill the
fields of its `Demand`; orderings look at nothing else.
"""

from __future__ import annotations

from math import inf

from dynasor.core.dispatcher import Dispatcher
from dynasor.core.estimates import UnitsEstimate, WorkloadEstimate
from dynasor.core.run import ProgramRun

__all__ = ["Forecasts"]


class _Workload:
    """What is known of one workload, and its programs that have no past of their own (`fresh`)."""

    __slots__ = ("fresh", "tokens", "units")

    def __init__(self, tokens_per_knob: float) -> None:
        self.tokens = WorkloadEstimate(tokens_per_knob)
        self.units = UnitsEstimate()
        self.fresh: dict[str, ProgramRun] = {}


class Forecasts:
    """Keeps all programs' demands up to date, and learns from what they do."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._workloads: dict[str, _Workload] = {}

    @property
    def fresh(self) -> int:
        """Programs that have no past of their own yet."""
        return sum(len(workload.fresh) for workload in self._workloads.values())

    def arrived(self, run: ProgramRun) -> None:
        """Expect of a new program what its workload's programs did."""
        name = run.demand.workload
        workload = self._workloads.get(name)
        if workload is None:
            prior = self._dispatcher.config.tokens_per_knob
            workload = self._workloads[name] = _Workload(prior)
        workload.fresh[run.demand.program] = run
        self._estimate(run, workload)

    def settled(self, run: ProgramRun) -> None:
        """Learn from the units that a program has settled since the last time."""
        demand, knobs = run.demand, run.program.knob - run.seen_knob
        workload = self._workloads[demand.workload]
        if not demand.has_history:
            demand.has_history = True
            del workload.fresh[demand.program]
        run.trail.append((run.program.knob, run.certainty))
        if workload.tokens.add(run.bill.worked - run.seen_tokens, knobs):
            self._estimate_fresh(workload)
        self._estimate(run, workload)

    def ended(self, run: ProgramRun) -> None:
        """Learn from a program's end how many units its like take.

        One that was ended from outside would have gone on, as others did from where it stands;
        one that failed says nothing.
        """
        workload = self._workloads[run.demand.workload]
        workload.fresh.pop(run.demand.program, None)
        knob = float(run.program.knob)
        if run.reason in ("deadline", "withdrawn", "hurried"):
            knob += workload.units.left(run.program.knob, run.certainty, run.units.cap)
        elif run.status != "answered":
            return
        if workload.units.learn(run.trail, knob):
            self._estimate_fresh(workload)

    def _estimate_fresh(self, workload: _Workload) -> None:
        """Rank the programs anew that have nothing but their workload's estimate."""
        for run in workload.fresh.values():
            self._estimate(run, workload)

    def _estimate(self, run: ProgramRun, workload: _Workload) -> None:
        """Bring a program's demand up to date and rank it anew."""
        demand, knob, cap = run.demand, run.program.knob, run.units.cap
        tokens = run.bill.worked
        has_own = knob and tokens
        demand.tokens_per_knob = tokens / knob if has_own else workload.tokens.published
        demand.knob_left = workload.units.left(knob, run.certainty, cap)
        seconds_per_token = self._dispatcher.seconds_per_token
        demand.solo_seconds = cap * demand.tokens_per_knob * seconds_per_token(cap)
        if run.deadline < inf:
            # As wide as since the last settling; new programs have not shown how wide they run.
            width = max(1, run.units.granted - run.seen_knob) if knob else cap
            left = demand.knob_left * demand.tokens_per_knob * seconds_per_token(width)
            demand.latest_start = run.deadline - left
        self._dispatcher.update(demand)
