"""The figures of a run, and how they are shown."""

from __future__ import annotations

from io import StringIO
from math import inf

import msgspec
import pytest
from rich.console import Console
from toys.simulated import simulated

from dynasor.online.report import Report, Spread, report
from dynasor.online.tables import LOADS, SERVED, tables

MIXED = simulated(
    [1, 5, 0, inf],
    status=["answered", "deadline", "failed", ""],
    parts=("math", "word"),
    part=[0, 1, 0, 1],
    deadline=5.0,
    quality=[1.0, 0.5, 0.0, 0.0],
    tokens=[100, 200, 0, 50],
)


def told(columns, rows, width=140):
    """What is printed."""
    console = Console(width=width, file=StringIO())
    for one in tables(columns, rows, "", width):
        console.print(one)
    return console.file.getvalue()


def test_counts():
    """Every program is counted under one end."""
    found = report(MIXED, warm_up=0.0).all
    ends = (found.answered, found.at_deadline, found.failed, found.unended)
    assert ends == (1, 1, 1, 1)
    assert found.programs == sum(ends)


def test_what_has_ended_is_what_counts():
    """Worth and tokens are of programs that have ended, the failed ones too."""
    found = report(MIXED, warm_up=0.0).all
    assert found.accuracy == pytest.approx(0.5)
    assert found.tokens == pytest.approx(100)
    assert found.saved == pytest.approx(0.5)
    assert found.attainment == 0.25
    assert found.tightest_scale is None


def test_percentiles_that_are_not_known():
    """Figures that hang on programs which had not ended are left open, the others are given."""
    found = report(simulated([1, 2, 3, inf]), warm_up=0.0).all
    assert found.latency == Spread(mean=None, p50=2, p90=None, p99=None, most=None)
    assert found.jain == pytest.approx((1 + 1 / 2 + 1 / 3) ** 2 / (4 * (1 + 1 / 4 + 1 / 9)))
    assert (found.attainment, found.tightest_scale) == (None, None)


def test_parts():
    """Each part has its own figures; a run of one part has none beside all."""
    found = report(MIXED, warm_up=0.0)
    assert {name: part.programs for name, part in found.parts.items()} == {"math": 2, "word": 2}
    assert found.parts["math"].attainment == 0.5
    assert report(simulated([1])).parts == {}


def test_warm_up():
    """The first programs are left out of what programs got, not of what engines did."""
    sim = simulated([9.0] * 10 + [1.0] * 10, deadline=5.0)
    found = report(sim, warm_up=0.5)
    assert (found.warm_up, found.all.programs, found.all.attainment) == (0.5, 10, 1.0)
    assert found.load.programs_per_second == pytest.approx(0.2)


def test_load():
    """Rates are over all seconds simulated, shares over what there was."""
    course = [(0, 1, 4, 0.1, 0), (10, 1, 4, 0.1, 2000)]
    load = report(simulated([1, 2], course=course, replicas=2)).load
    assert load.tokens_per_second == 50.0
    assert load.saturated_tokens_per_second == 200.0
    assert load.busy == pytest.approx(0.4)
    assert load.cached == pytest.approx(0.25)
    assert load.decision_seconds == pytest.approx(25e-6)


def test_an_empty_run():
    """No programs and no time give a report without figures."""
    nothing = {"end": 0.0, "generated_tokens": 0, "decisions": 0, "course": []}
    nothing |= {"prefill_tokens": 0, "cached_tokens": 0}
    found = report(simulated([], **nothing))
    assert found.all.programs == 0
    assert found.all.latency == Spread(None, None, None, None, None)
    assert found.load.tokens_per_second is None
    assert "programs" in told({"all": [found.all]}, SERVED)


@pytest.mark.parametrize("sim", [MIXED, simulated([1.0, 2.0]), simulated([])])
def test_json(sim):
    """A report written as JSON is read back as it was."""
    found = report(sim)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Report) == found


def line(text, label):
    """The figures of one line."""
    rows = [row.strip() for row in text.splitlines()]
    return next(row.removeprefix(label).split() for row in rows if row.startswith(label))


def test_table():
    """Every column stands under its name; what no column has is left out."""
    found = report(MIXED, warm_up=0.0)
    text = told({name: [one] for name, one in {"all": found.all, **found.parts}.items()}, SERVED)
    assert text.splitlines()[1].split() == ["all", "math", "word"]
    assert line(text, "attainment, %") == ["25.0", "50.0", "0.0"]
    assert line(text, "ended by deadline") == ["1", "0", "1"]
    assert line(text, "accuracy, %") == ["50.00", "50.00", "50.00"]
    assert "tightest" not in text
    load = told({"": [found.load]}, LOADS)
    assert line(load, "scheduler, µs a decision") == ["25.0"]


def test_seeds():
    """Over seeds a figure is a mean with half its interval; one that a seed lacks is a dash."""
    runs = [report(simulated([seconds] * 4, deadline=5.0)).all for seconds in (3.0, 4.0, 5.0)]
    text = told({"fcfs": runs}, SERVED)
    assert line(text, "latency, s: mean") == ["4.0", "±", "2.5"]
    never = report(simulated([inf] * 4, deadline=5.0)).all
    assert line(told({"fcfs": [never, *runs]}, SERVED), "latency, s: mean") == ["-"]


def test_narrow():
    """Systems that do not fit beside one another come in several tables, none of them lost."""
    found = {f"system-{number}": [report(MIXED).all] for number in range(8)}
    text = told(found, SERVED, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert all(name in text for name in found)
    assert text.count("attainment, %") > 1
