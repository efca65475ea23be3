"""What an engine's scheduler knows of the programs behind its requests."""

import pytest
from toys.engine_requests import Request, hinted

from dynasor.plugins import ranking
from dynasor.plugins.ranking import Programs
from dynasor.plugins.settings import PluginSettings


def programs(slots: int = 8, **settings) -> Programs:
    return Programs(PluginSettings(**settings), slots)


def test_latest_hint_wins():
    """Each hint stands until a newer one of its kind comes."""
    known = programs()
    known.arrived(hinted("1", "s", 10, 50, slack_seconds=4), 0.0)
    program = known.arrived(Request("2", "s", {"dynasor_knob_left": 3}), 1.0)
    assert (program.demand.knob_left, program.demand.tokens_per_knob) == (3, 50)
    assert program.demand.latest_start == 4.0


def test_settled_requests_are_counted_off():
    """What a program announced grows less with every request that ends well, down to one."""
    known = programs()
    requests = [hinted(str(one), "s", 3) for one in range(5)]
    for request in requests:
        program = known.arrived(request, 0.0)
    lefts = []
    for request in requests:
        request.end(10)
        known.ended(request.request_id, 1.0)
        lefts.append(program.demand.knob_left)
    assert lefts == [2, 1, 1, 1, 1]
    assert program.is_spent


def test_aborted_request_settles_nothing():
    """A request that was taken back says nothing of what a unit takes; its tokens were spent."""
    known = programs()
    request = hinted("1", "s", 3)
    program = known.arrived(request, 0.0)
    request.end(40, "abort")
    known.ended("1", 1.0)
    assert (program.settled, program.demand.knob_left, program.demand.attained) == (0, 3, 40)
    assert not program.is_spent


def test_without_hints_the_requests_that_are_here_count():
    """A session without hints is expected to run what it has sent, at its workload's mean."""
    known = programs(tokens_per_knob=100.0)
    requests = [Request(str(one), "s") for one in range(4)]
    for request in requests:
        program = known.arrived(request, 0.0)
    assert (program.demand.knob_left, program.demand.tokens_per_knob) == (4, 100)
    requests[0].end(30)
    known.ended("0", 1.0)
    assert (program.demand.knob_left, program.demand.tokens_per_knob) == (3, 30)


def test_workload_is_learned_from():
    """New sessions are expected to take what earlier ones of their workload took."""
    known = programs(idle_seconds=5.0)
    hints = {"dynasor_workload": "w"}
    for one in range(ranking.MOST_WORKLOADS // 100):
        for call in range(3):
            request = Request(f"{one}.{call}", f"s{one}", hints)
            known.arrived(request, 10.0 * one)
            request.end(20)
            known.ended(request.request_id, 10.0 * one + 1)
        known.expire(10.0 * one + 9)
    program = known.arrived(Request("new", "new", hints), 1000.0)
    assert (program.demand.knob_left, program.demand.tokens_per_knob) == (3, 20)
    stranger = known.arrived(Request("other", "other"), 1000.0)
    assert (stranger.demand.knob_left, stranger.demand.tokens_per_knob) == (1, 256)


def test_requests_without_program_are_all_alike():
    """Whatever was learned, requests without session and hints have one rank and solo time."""
    known = programs()
    first = known.arrived(Request("1"), 0.0)
    for one in range(20):
        request = Request(f"x{one}")
        known.arrived(request, 0.0)
        known.started(request, 1.0)
        request.end(9)
        moved = known.ended(request.request_id, 2.0)
        assert one or first in moved
    second = known.arrived(Request("2"), 5.0)
    for field in ("knob_left", "tokens_per_knob", "solo_seconds"):
        assert getattr(first.demand, field) == getattr(second.demand, field)
    assert first.demand.tokens_per_knob == 9


def test_pause_between_requests_is_no_waiting():
    """The time that a session spends elsewhere does not make it older."""
    known = programs()
    request = Request("1", "s")
    program = known.arrived(request, 0.0)
    request.end(5)
    known.ended("1", 2.0)
    assert known.arrived(Request("2", "s"), 32.0) is program
    assert program.demand.arrived == 30.0


def test_idle_programs_are_forgotten():
    """A session of which nothing comes for long is a new program when it comes back."""
    known = programs(idle_seconds=10.0)
    request = Request("1", "s")
    old = known.arrived(request, 0.0)
    request.end(5)
    known.ended("1", 1.0)
    known.expire(10.9)
    assert len(known) == 1
    known.expire(11.0)
    assert len(known) == 0
    assert known.arrived(Request("2", "s"), 12.0) is not old


def test_session_and_request_of_one_name():
    """A session is never taken for a request of the same name."""
    known = programs()
    assert known.arrived(Request("a"), 0.0) is not known.arrived(Request("b", "a"), 0.0)


def test_flawed_hints_are_counted():
    """A request with hints that cannot be read runs without them, and is counted."""
    known = programs()
    program = known.arrived(Request("1", None, {"dynasor_knob_left": -1}), 0.0)
    assert (known.flawed, program.is_plain) == (1, True)
    assert "dynasor_knob_left" in known.flaw


def test_solo_time():
    """Solo time is that of all units, as many side by side as there are slots."""
    known = programs(slots=4, seconds_per_token=0.1)
    program = known.arrived(hinted("1", "s", 8, 50), 0.0)
    assert program.demand.solo_seconds == pytest.approx(8 * 50 * 0.1 / 4)


def test_workloads_are_bounded(monkeypatch):
    """Clients cannot fill the memory with names of workloads."""
    monkeypatch.setattr(ranking, "MOST_WORKLOADS", 3)
    known = programs()
    for one in range(20):
        known.arrived(Request(str(one), str(one), {"dynasor_workload": f"w{one}"}), 0.0)
    assert len(known._workloads) <= 5
