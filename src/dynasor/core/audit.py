"""The scheduler's invariants, checked from outside: slow, for tests and post-mortems."""

from __future__ import annotations

from collections.abc import Mapping

from dynasor.core.admission import Pool
from dynasor.core.calls import CallState, Phase
from dynasor.core.dispatcher import Dispatcher
from dynasor.core.run import ProgramRun

__all__ = ["audit"]


def audit(runs: Mapping[str, ProgramRun], dispatcher: Dispatcher) -> None:
    """Raise `AssertionError` with the story if any invariant is broken.

    Every waiting call stands in exactly one queue and every other in none; slots held are the
    calls that run or are being aborted, and never exceed the window; no call outlives its
    program; a program has units, calls and phases that fit together.
    """
    calls = [call for _, call in dispatcher.calls.values()]
    for name, pool in dispatcher.pools.items():
        _audit_pool(pool, [call for call in calls if call.call.pool == name])
    for run, call in dispatcher.calls.values():
        assert runs.get(run.demand.program) is run, f"{call} outlives {run}"
        assert call.phase is not Phase.ENDED, f"{call} has ended and is still known"
        wanted = call.call.id in run.live
        assert wanted != (call.phase is Phase.ABORTING), f"{call} is wanted: {wanted}"
    for run in runs.values():
        _audit_run(run, [call for owner, call in dispatcher.calls.values() if owner is run])


def _audit_pool(pool: Pool, calls: list[CallState]) -> None:
    queued = [call.call.id for queue in pool.queues() for call in queue]
    waiting = [call.call.id for call in calls if call.phase is Phase.WAITING]
    assert sorted(queued) == sorted(waiting), f"pool {pool.name}: queued {queued} != {waiting}"
    for replica in (*pool.replicas.values(), *pool.gone.values()):
        held = [
            call.call.id
            for call in calls
            if call.replica == replica.name and call.phase in (Phase.RUNNING, Phase.ABORTING)
        ]
        assert replica.held == len(held), f"{replica} holds {held}"
    for replica in pool.replicas.values():
        assert replica.held >= 0, f"{replica}"


def _audit_run(run: ProgramRun, calls: list[CallState]) -> None:
    units = run.units
    handed = units.granted + units.speculative
    assert 0 <= run.program.knob <= handed <= units.cap, f"{run}: handed {handed}"
    running = [call for call in calls if call.phase in (Phase.RUNNING, Phase.ABORTING)]
    assert run.demand.running == len(running), f"{run}: demand says {run.demand.running}"
    aborting = [call for call in calls if call.phase is Phase.ABORTING]
    assert run.aborting == len(aborting), f"{run}: counts {run.aborting} aborting"
    assert set(run.live) == {c.call.id for c in calls if c.phase is not Phase.ABORTING}, f"{run}"
    assert run.is_running or not run.live, f"{run} has ended and still has calls"
