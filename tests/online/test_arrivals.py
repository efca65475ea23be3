"""Who arrives when."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recorded import recorded

from dynasor.core.errors import UserError
from dynasor.core.events import Arrived
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.online.arrivals import arrival_times, arrived, visits
from dynasor.online.deadlines import Difficulty
from dynasor.online.workload import (
    Deadline,
    Part,
    Poisson,
    Timetable,
    Together,
    Workload,
    WorkloadError,
)

A, B = Part("a", cap=2), Part("b", cap=2)


def urn(name, count):
    """So many questions of one part."""
    return [recorded("ab", name=f"{name}{number}") for number in range(count)]


QUESTIONS = {"a": urn("a", 7), "b": urn("b", 3)}

ARRIVALS = st.one_of(
    st.builds(Poisson, st.floats(0.01, 100)),
    st.just(Together()),
)


def programs(workload, seed=None):
    """What arrives, without when."""
    return [
        (one.program, one.question.id, one.seed, one.factor)
        for one in visits(workload, QUESTIONS, seed)
    ]


# Order, counts, shares.


@given(ARRIVALS, st.integers(1, 60), st.integers(0, 5))
def test_order(arrivals, count, seed):
    """As many programs arrive as were asked for, by rising time, each with an id of its own."""
    found = list(visits(Workload((A, B), arrivals, programs=count), QUESTIONS, seed))
    assert len({one.program for one in found}) == len(found) == count
    assert all(0 <= one.time <= other.time for one, other in pairwise(found))
    assert all(one.program.partition("/")[0] == one.part.name for one in found)
    assert all(one.question in QUESTIONS[one.part.name] for one in found)


@given(st.integers(1, 40), st.integers(0, 5))
def test_laps(count, seed):
    """No question is drawn again before all others of its part were drawn."""
    found = visits(Workload((A, B), Together(), programs=count), QUESTIONS, seed)
    drawn = {"a": [], "b": []}
    for one in found:
        drawn[one.part.name].append(one.question.id)
    for name, ids in drawn.items():
        size = len(QUESTIONS[name])
        for start in range(0, len(ids), size):
            lap = ids[start : start + size]
            assert len(set(lap)) == len(lap)


@given(st.floats(0.1, 10), st.floats(1, 50), st.integers(0, 5))
def test_duration(rate, seconds, seed):
    """A duration ends a workload before the first program beyond it, a count may end it sooner."""
    open_ended = Workload((A,), Poisson(rate), duration_seconds=seconds)
    found = list(visits(open_ended, QUESTIONS, seed))
    following = next(islice(arrival_times(Poisson(rate), seed), len(found), None))
    assert all(one.time < seconds for one in found)
    assert following >= seconds
    both = Workload((A,), Poisson(rate), programs=3, duration_seconds=seconds)
    assert list(visits(both, QUESTIONS, seed)) == found[:3]


def test_shares():
    """Parts arrive in proportion to their shares."""
    parts = (Part("a", share=3.0, cap=2), Part("b", share=1.0, cap=2))
    found = visits(Workload(parts, Together(), programs=20_000), QUESTIONS)
    counts = Counter(one.part.name for one in found)
    assert counts["a"] / 20_000 == pytest.approx(0.75, abs=0.01)


def test_gaps():
    """Poisson arrivals have exponential gaps of the wanted mean."""
    times = list(islice(arrival_times(Poisson(4.0), 0), 20_000))
    gaps = [later - earlier for earlier, later in pairwise([0.0, *times])]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.25, rel=0.03)
    # Of an exponential the standard deviation is the mean, and 1/e of it lies beyond the mean.
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.01)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.05)


# Common random numbers.


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(0, 5))
def test_two_rates(one, other, seed):
    """With one seed two rates have the same programs, and gaps of the same proportions."""
    slow = Workload((A, B), Poisson(one), programs=30)
    fast = Workload((A, B), Poisson(other), programs=30)
    assert programs(slow, seed) == programs(fast, seed)
    times = [
        [visit.time * rate for visit in visits(workload, QUESTIONS, seed)]
        for workload, rate in ((slow, one), (fast, other))
    ]
    assert times[0] == pytest.approx(times[1])


def test_seeds():
    """The same seed gives the same workload again, another one another; it is the file's if any."""
    workload = Workload((A, B), Poisson(1.0), programs=30, seed=4)
    again = list(visits(workload, QUESTIONS))
    assert again == list(visits(workload, QUESTIONS, 4))
    assert again != list(visits(workload, QUESTIONS, 5))
    assert programs(workload) != programs(workload, 5)


def test_other_parts():
    """A part's programs are the same whatever else arrives."""
    mixed = programs(Workload((A, B), Poisson(1.0), programs=40))
    alone = programs(Workload((A,), Poisson(1.0), programs=40))
    own = [one for one in mixed if one[0].startswith("a/")]
    assert 0 < len(own) < 40
    assert own == alone[: len(own)]


# Recorded arrivals.


@pytest.fixture
def timetable(tmp_path):
    """Write a file of times; return its path."""

    def write(*times):
        path = tmp_path / "times.jsonl"
        path.write_text("".join(json.dumps({"t": time, "tokens": 3}) + "\n" for time in times))
        return str(path)

    return write


def test_recorded(timetable):
    """Programs arrive as the file says, and it begins again after one mean gap."""
    path = timetable(5, 6, 6, 9)
    times = list(islice(arrival_times(Timetable(path), 0), 10))
    lap = 4 + 4 / 3
    assert times == pytest.approx(
        [0, 1, 1, 4, lap, lap + 1, lap + 1, lap + 4, 2 * lap, 2 * lap + 1]
    )
    faster = list(islice(arrival_times(Timetable(path, speed=2.0), 0), 10))
    assert faster == pytest.approx([time / 2 for time in times])


@given(
    st.lists(st.floats(0, 100), min_size=2, max_size=20).filter(lambda gaps: sum(gaps[1:]) > 0.01),
    st.floats(0.1, 50),
)
def test_recorded_rate(tmp_path_factory, gaps, rate):
    """Scaled arrivals have the wanted rate on average, over each lap, in the file's proportions."""
    times = [sum(gaps[: place + 1]) for place in range(len(gaps))]
    path = tmp_path_factory.mktemp("times") / "t.jsonl"
    path.write_text("".join(f'{{"t": {time!r}}}\n' for time in times))
    count = len(times)
    found = list(islice(arrival_times(Timetable(str(path), rate=rate), 0), 3 * count + 1))
    assert all(one <= other + 1e-9 for one, other in pairwise(found))
    for lap in range(1, 4):
        assert found[lap * count] == pytest.approx(lap * count / rate)


def test_gzip(tmp_path):
    """A packed file does as well."""
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"t": 0.5}\n\n{"t": 1.0}\n'))
    assert list(islice(arrival_times(Timetable(str(path)), 0), 2)) == [0.0, 0.5]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"t": 1}\n{"s": 2}\n', "line 2: t is None; expected a number of seconds"),
        ('{"t": true}\n', "line 1: t is True"),
        ('{"t": "1"}\n', "line 1: t is '1'"),
        ('{"t": 2}\n{"t": 1}\n', "line 2: t is 1, before 2; sort the lines"),
        ('{"t": 1}\nx\n', "line 2 is not JSON"),
        ('{"t": 1}\n[2]\n', "line 2 is no JSON object"),
        ('{"t": 1}\n', "no two different times"),
        ('{"t": 1}\n{"t": 1}\n', "no two different times"),
        ("", "no two different times"),
    ],
)
def test_bad_times(tmp_path, text, match):
    """A file that is no timetable is refused in one line, before the first program."""
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    workload = Workload((A,), Timetable(str(path)), programs=1)
    with pytest.raises(UserError, match=match) as caught:
        visits(workload, QUESTIONS)
    assert "\n" not in str(caught.value)
    assert "t.jsonl" in str(caught.value)


def test_no_times(tmp_path):
    """A timetable that is not there is named."""
    with pytest.raises(WorkloadError, match="there is no file .*no.jsonl"):
        arrival_times(Timetable(str(tmp_path / "no.jsonl")), 0)


def test_azure():
    """Recorded arrivals of a real service are a timetable."""
    beside = Path(__file__).parents[3] / "shared" / "traces"
    path = Path(os.environ.get("DYNASOR_TRACES") or beside) / "azure-conv-arrivals.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} in {path.parent}")
    workload = Workload((A, B), Timetable(str(path), rate=8.0), programs=25_000)
    times = [one.time for one in visits(workload, QUESTIONS)]
    assert len(times) == 25_000
    assert times == sorted(times)
    assert times[19_366] == pytest.approx(19_366 / 8.0)


# Deadlines and events.


def test_deadlines():
    """A program's deadline follows from how hard its question is, found out once for all runs."""
    part = Part("a", cap=2, deadline=Deadline(10.0, scale=2.0))
    questions = {"a": [recorded("aa", name="easy"), recorded("--", name="hard")]}
    workload, kept = Workload((part, B), Together(), programs=20), {}
    questions["b"] = QUESTIONS["b"]
    found = {
        (one.question.id, one.deadline_seconds, one.factor)
        for one in visits(workload, questions, 0, kept)
        if one.part is part
    }
    assert found == {("easy", 20.0, 1.0), ("hard", 40.0, 2.0)}
    difficulty = kept["a"]
    list(visits(workload, questions, 1, kept))
    assert kept["a"] is difficulty
    other = Workload((Part("a", cap=1), B), Together(), programs=1)
    visits(other, questions, 1, kept)
    assert kept["a"] is not difficulty  # it was found out for another cap
    assert isinstance(kept["a"], Difficulty)


def test_arrived():
    """The event of an arrival says all that a scheduler needs; a part's policy goes before."""
    part = Part("a", cap=2, tenant="gold", policy="beta", lock=False, deadline=Deadline(5.0))
    even = PolicySpec("even")
    (one,) = visits(Workload((part,), Together(), programs=1), {"a": [recorded("aa")]})
    params = {"question": "a/00000", "task": "recorded", "cap": 2}
    spec, own = ProgramSpec("self-consistency", params), PolicySpec("beta", has_lock=False)
    assert arrived(one, even) == Arrived("a/00000", spec, own, "a", "gold", 5.0)
    (other,) = visits(Workload((B,), Together(), programs=1), QUESTIONS)
    assert arrived(other, even).policy == even
    assert arrived(other, even).deadline_seconds is None


# Mistakes.


def test_load():
    """A load is not drawn from: somebody has to measure the capacity first."""
    for arrivals in (Poisson(load=0.5), Timetable("t", load=0.5)):
        with pytest.raises(WorkloadError, match="load 0.5 is a fraction .*set the rate"):
            visits(Workload((A,), arrivals, programs=1), QUESTIONS)


def test_no_questions():
    """A part without questions is named, before the first program."""
    with pytest.raises(WorkloadError, match="part 'b': .*no question"):
        visits(Workload((A, B), Together(), programs=1), {"a": QUESTIONS["a"]})
