"""Figure 7 of the paper: what ganging the calls of a program is worth.

Batch size 2; programs A and B of two calls each, all here at t=0. A's calls take 4 ms, B's 5 ms.
Seconds stand for milliseconds, so that every time is exact.
"""

from __future__ import annotations

import pytest
from toys.stage import catalog, in_order
from toys.words import compare, said

from dynasor.core.events import Arrived, PoolChanged
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.sim import Outcome, SimpleEngine, VirtualHost

DURATION = {"A": 4, "B": 5}


def ends(ordering, arrivals):
    """Run programs of so many calls, all there before the engine opens; return when each ends."""
    scheduler = Scheduler(in_order(ordering), catalog())

    def model(call, attempt):
        tokens = DURATION[call.program[0]]
        return Outcome(said("x", tokens), tokens)

    host = VirtualHost(scheduler, model, compare)
    host.send(PoolChanged("generate", ()))
    for program, calls in arrivals.items():
        spec = ProgramSpec("self-consistency", {"question": "q", "task": "words", "cap": calls})
        host.send(Arrived(program, spec, PolicySpec("even", has_lock=False)))
    host.add_pool("generate", {"engine": SimpleEngine(2, tokens_per_second=1.0)})
    host.run()
    scheduler.validate()
    return host.answered_at


def test_interleaved():
    """Request by request as they came, A1 B1 A2 B2, the programs end at 8 and 10: mean 9."""
    at = ends("app-fifo", {"A1": 1, "B1": 1, "A2": 1, "B2": 1})
    assert at == {"A1": 4.0, "B1": 5.0, "A2": 8.0, "B2": 10.0}
    programs = [max(at["A1"], at["A2"]), max(at["B1"], at["B2"])]
    assert programs == [8.0, 10.0]
    assert sum(programs) / 2 == 9.0


@pytest.mark.parametrize("ordering", ["gang", "app-fifo", "sjf"])
def test_ganged(ordering):
    """As programs they end at 4 and 9: mean 6.5."""
    at = ends(ordering, {"A": 2, "B": 2})
    assert at == {"A": 4.0, "B": 9.0}
    assert sum(at.values()) / 2 == 6.5
