from __future__ import annotations

from dynasor.workers.verdicts import Verdict, Verdicts


def test_forgets_the_verdict_used_longest_ago():
    """A full memory drops what was neither kept nor recalled for the longest time."""
    verdicts = Verdicts(capacity=2)
    verdicts.keep("math", ("1", "2"), Verdict.DIFFERENT)
    verdicts.keep("math", ("1", "3"), Verdict.SAME)
    assert verdicts.recall("math", ("1", "2")) is Verdict.DIFFERENT
    verdicts.keep("math", ("1", "4"), Verdict.FAILED)
    assert verdicts.recall("math", ("1", "3")) is None
    assert verdicts.recall("math", ("1", "2")) is Verdict.DIFFERENT
    assert verdicts.recall("math", ("1", "4")) is Verdict.FAILED
    assert len(verdicts) == 2


def test_tasks_do_not_share_verdicts():
    """The same two texts may be the same for one task and different for another."""
    verdicts = Verdicts(capacity=2)
    verdicts.keep("math", ("1", "2"), Verdict.DIFFERENT)
    assert verdicts.recall("open", ("1", "2")) is None
