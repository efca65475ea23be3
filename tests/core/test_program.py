"""What a program tells of itself besides its answer: its notes."""

from __future__ import annotations

from toys.stage import Toy, toy

from dynasor.core.program import Sample
from dynasor.core.types import Generate, Prompt

WORK = Generate(Prompt(()))


def test_note():
    """Mishaps are counted by their names; notes are state, no part of the description."""
    program = Toy()
    program.note("steps lost")
    program.note("steps lost", 2)
    program.note("scores lost")
    assert program.notes == {"steps lost": 3, "scores lost": 1}
    assert program == Toy()
    assert Toy().notes == {}


def noting(self, context):
    self.note("steps lost")
    yield Sample(WORK)
    self.note("steps lost")
    raise ZeroDivisionError("oh no")


def test_notes_travel(stage):
    """Whatever the ending, notes travel with it."""
    on = stage(toy(noting))
    failed, withdrawn, late = (
        on.arrive(spec="toy", params={}, deadline_seconds=seconds) for seconds in (None, None, 1.0)
    )
    on.finish("p0#1")
    on.withdraw(withdrawn)
    on.fire(f"deadline:{late}")
    notes = [on.answers[name].notes for name in (failed, withdrawn, late)]
    assert notes == [{"steps lost": 2}, {"steps lost": 1}, {"steps lost": 1}]
    on.drain()


def test_nothing_to_note(stage):
    """Where nothing went wrong, or nothing was begun, there are no notes."""
    on = stage()
    done, refused = on.arrive(cap=1), on.arrive(params={"question": "q", "cap": -1})
    on.drain()
    assert (on.answers[done].notes, on.answers[refused].notes) == ({}, {})
    assert on.answers[refused].reason == "refused"
