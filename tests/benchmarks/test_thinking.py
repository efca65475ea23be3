"""benchmarks/thinking.py: rules, oracles and limits, on chains counted by hand."""

from __future__ import annotations

import argparse
import importlib
from types import SimpleNamespace

import pytest
from toys.recorded import recorded

from dynasor.evaluate.recorded import RecordedProbe, RecordedThought

CHAIN = RecordedThought(
    200,
    0,
    tuple(RecordedProbe(32 * n, g, 3) for n, g in enumerate([1, 0, 1, 0, 0], start=1)),
    180,
)
"""200 tokens that come to class 0; probes say it at 64 first, and from 128 on for good."""
CUT = RecordedThought(
    640, 1, (RecordedProbe(320, None, 3), RecordedProbe(640, 1, 3)), 640, True, True
)
"""640 tokens without an answer, but for that of a last probe."""


@pytest.fixture
def script(benchmarks):
    return importlib.import_module("thinking")


@pytest.fixture
def replays(script):
    """Return two questions with a chain each; the class 0 is right in both."""
    questions = [
        recorded("01", thoughts=(CHAIN,), name="a"),
        recorded("01", thoughts=(CUT,), name="b"),
    ]
    found = object.__new__(script.Replays)
    found.recorded = questions
    found._options = SimpleNamespace(seeds=1)
    return found


def test_original_has_no_answer_where_it_is_cut(script, replays):
    """At a limit below its length a chain is worth nothing, at its length what it came to."""
    assert script.original(replays, 192).quality.tolist() == [0, 0]
    assert script.original(replays, 256).quality.tolist() == [1, 0]
    assert script.original(replays, 256).tokens.tolist() == [200, 256]


def test_who_knows_the_end_stops_there(script, replays):
    """The first probe with the final answer, or the first from which on all have it."""
    assert script.oracle(replays, is_settled=False).tokens.tolist() == [64 + 3, 640 + 3]
    assert script.oracle(replays, is_settled=True).tokens.tolist() == [128 + 3, 640 + 3]
    assert script.oracle(replays, is_settled=True).quality.tolist() == [1, 0]


def test_rules_are_all_different(script):
    """No rule is tried twice in the family of all, and each says when it stops."""
    rules = script.families()["any rule"]
    assert len(set(rules)) == len(rules)
    assert all(rule.policy.name == "stepwise" for rule in rules)
    assert script.CLOSED.policy.name == "even"
    assert script.CLOSED.params["share"] == 0


def test_rules_are_written_as_commands_take_them(script):
    """What is written is read back by the settings' own readers."""
    config = importlib.import_module("dynasor.config")
    rule = script.Rule(0.2, 2, (("entropy", 1.0),))
    said = script.written(rule, 16)
    assert config.parse_program(said["program"]).params == {"every": 16, **rule.params}
    assert config.parse_policy(said["policy"], has_lock=False) == rule.policy


def test_live_kinds(script):
    """The original comes first, and each limit has four kinds under names of their own."""
    options = argparse.Namespace(limit=[640, 320], every=32)
    cells = script.cells(script.Rule(0.2, 2, (("entropy", 1.0),)), options)
    assert len({cell.label for cell in cells}) == 8
    kinds = [cell.make("q") for cell in cells]
    assert [one.cap for one in kinds] == [20] * 4 + [10] * 4
    assert [one.share for one in kinds[:4]] == [0.0, 0.2, 0.2, 0.2]
    assert [cell.policy.name for cell in cells[:4]] == ["even", "even", "stepwise", "stepwise"]
    assert [one.chunked for one in kinds[:4]] == [False, False, False, True]


def test_rounds_must_fit_the_limits(script):
    """Rounds that no limit is a multiple of end the script with one line."""
    with pytest.raises(SystemExit, match="--every is 48"):
        script.measure(argparse.Namespace(every=48))
