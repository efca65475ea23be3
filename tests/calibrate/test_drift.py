"""Drift: said where programs behave otherwise, and only there."""

from __future__ import annotations

import builtins
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.profiles import behaviour, profile

from dynasor.calibrate.drift import (
    FEWEST,
    SIGNIFICANT,
    _holm,
    compare_behaviour,
    read_behaviour,
)
from dynasor.core.errors import ConfigError, UserError

THEN = profile(behaviour=behaviour(200, seed=1))

# The comparison.


def test_same():
    """The very same behaviour fits."""
    found = compare_behaviour(THEN, THEN.behaviour)
    assert found.is_due is False
    assert [change.distance for change in found.changes] == [0.0, 0.0, 0.0]
    assert [change.then for change in found.changes] == [change.now for change in found.changes]
    assert found.advice == "the profile still fits"


def test_same_distribution():
    """Other questions of the same kind raise an alarm in about one of a hundred looks."""
    looks = [
        compare_behaviour(profile(behaviour=behaviour(200, seed)), behaviour(150, 1000 + seed))
        for seed in range(200)
    ]
    assert sum(bool(found.is_due) for found in looks) <= 4


@pytest.mark.parametrize(
    ("rest", "measure"),
    [({"level": 0.35}, "certaindex"), ({"tokens": 260.0}, "tokens_per_knob")],
)
def test_shifted(rest, measure):
    """What changed is named, and nothing else is."""
    found = compare_behaviour(THEN, behaviour(150, 3, **rest))
    assert found.is_due
    assert [change.measure for change in found.changes if change.has_changed] == [measure]
    assert found.advice == f"calibrate again: {measure} changed"


def test_small_but_certain():
    """A change too small to matter does not count, however certain it is."""
    many = profile(behaviour=behaviour(8000, seed=1))
    found = compare_behaviour(many, behaviour(8000, 2, level=0.63))
    change = found.changes[0]
    assert change.p_value < SIGNIFICANT / 3
    assert not change.has_changed
    assert found.is_due is False


@pytest.mark.parametrize(
    ("then", "now", "which"), [(200, FEWEST - 1, "live"), (200, 0, "live"), (9, 200, "judged")]
)
def test_few(then, now, which):
    """Too few questions on either side say nothing, whatever they look like."""
    one = profile(behaviour=behaviour(then))
    found = compare_behaviour(one, behaviour(now, level=0.1))
    assert (found.is_due, found.changes, found.live) == (None, (), now)
    assert f"{min(then, now)} {which} questions say too little" in found.advice


def test_no_scipy(monkeypatch):
    """Without scipy one line says what to install."""
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="pip install"):
        compare_behaviour(THEN, THEN.behaviour)


# Holm's correction.


def test_holm_by_hand():
    """The least p-value is compared with a third of the level, the next with a half."""
    assert _holm([0.004, 0.0033, 0.02]) == [True, True, False]
    assert _holm([0.0034, 0.0001, 0.006]) == [True, True, True]
    assert _holm([0.0034, 0.0035, 0.0036]) == [False, False, False]


@given(st.lists(st.floats(0, 0.02), max_size=6))
def test_holm(p_values):
    """Between Bonferroni and no correction; what passes is below all that does not."""
    passed = _holm(p_values)
    pairs = list(zip(p_values, passed, strict=True))
    for value, is_significant in pairs:
        assert is_significant or value > SIGNIFICANT / len(p_values)
        assert not is_significant or value <= SIGNIFICANT
        assert not is_significant or all(other > value for other, ok in pairs if not ok)


# Reading a batch's output.


def record(knob=5, cap=10, finished=500, **rest):
    story = {"knob": knob, "cap": cap, "certaindex": {"entropy": 0.25}, "task": "math"}
    details = {"finished_tokens": finished, "aborted_tokens": 70}
    body = {
        "model": "toy",
        "usage": {"completion_tokens": finished + 70, "completion_tokens_details": details},
        "dynasor": {**story, "policy": "beta:confidence=0.9"},
    }
    return {"custom_id": "q", "response": {"body": {**body, **rest}}, "error": None}


def written(path, *records, end="\n"):
    path.write_text("\n".join(json.dumps(one) for one in records) + end)
    return path


def test_records(tmp_path):
    """Each answered question is one value of each measure; names are gathered."""
    failed = record(error={"message": "no"})
    refused = {"custom_id": "x", "response": None, "error": {"code": "y"}}
    foreign = {"custom_id": "z", "response": {"body": {"model": "other", "choices": []}}}
    path = written(
        tmp_path / "out.jsonl", record(), failed, refused, foreign, record(knob=0), record(10)
    )
    found, names = read_behaviour(path)
    assert found.certaindex == (0.25, 0.25)
    assert found.knob == (0.5, 1.0)
    assert found.tokens_per_knob == (100.0, 50.0)
    assert names == {"model": {"toy"}, "task": {"math"}, "policy": {"beta:confidence=0.9"}}


def test_torn_end(tmp_path):
    """The last record of a run that was killed does not count."""
    path = written(tmp_path / "out.jsonl", record(), record())
    path.write_text(path.read_text()[:-30])
    assert len(read_behaviour(path)[0].knob) == 1


def test_nothing(tmp_path):
    """An empty output is no behaviour."""
    assert read_behaviour(written(tmp_path / "out.jsonl", end=""))[0].knob == ()


@pytest.mark.parametrize(
    "bad",
    [
        "no json",
        "[]",
        "5",
        "{}",
        '{"response": 5}',
        '{"response": {"body": 5}}',
        '{"response": {"body": {"dynasor": {"knob": 1}}}}',
        '{"response": {"body": {"dynasor": {"knob": 1, "cap": 0}}}}',
        '{"response": {"body": {"usage": {}}}}',
    ],
)
def test_no_record(tmp_path, bad):
    """A line that is no record is one error with its number, wherever it stands but at the end."""
    path = tmp_path / "out.jsonl"
    for text, number in ((f"{bad}\n", 1), (f"{json.dumps(record())}\n{bad}\n\n", 2)):
        path.write_text(text)
        with pytest.raises(UserError, match=f"line {number} is no record of a batch") as caught:
            read_behaviour(path)
        assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    """A file that is not there is named."""
    with pytest.raises(UserError, match="no such.jsonl cannot be read: No such file"):
        read_behaviour(tmp_path / "no such.jsonl")
