"""benchmarks/_thinking.py and early_exit.py: the published rule, step by step."""

from __future__ import annotations

import argparse
import importlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.searches import endless
from toys.words import said

from dynasor.core.types import PolicySpec

EVEN = PolicySpec("even", has_lock=False)


@pytest.fixture
def thinking(benchmarks):
    return importlib.import_module("_thinking")


@pytest.fixture
def script(benchmarks):
    return importlib.import_module("early_exit")


@pytest.fixture
def play(thinking, stage):
    """Run the rule: chunks are cut but the last, probes say these words; return stage and end."""

    def run(chunks, probes, *, ends=False, **params):
        on = stage(thinking.EarlyExit, slots=4)
        params = {"question": "q", "task": "words", "cap": len(chunks), "chunk": 8, **params}
        name = on.arrive(spec="early-exit", policy=EVEN, params=params)
        left, words = list(chunks), list(probes)
        while on.live:
            call = on.calls[0]
            if on.live[call].call.work.sampling.temperature == 0:
                on.finish(call, said(f"is {words.pop(0)}", 3))
            else:
                text = left.pop(0)
                on.finish(call, said(text, 8) if ends and not left else endless(text, 8))
        on.check()
        return on, on.answers[name], on.bills[name]

    return run


def prefixes(on):
    return [submit.call.work.prompt.prefix for submit in on.submits]


def test_chunk_by_chunk(play, thinking):
    """Every request has all of the text so far; two equal probes end it, unfinished."""
    on, answered, bill = play(["a ", "b ", "c ", "d "], ["x", "y", "y"])
    probe = thinking.PROBE
    assert prefixes(on) == ["", "a " + probe, "a ", "a b " + probe, "a b ", "a b c " + probe]
    assert answered.answer.value == "y"
    assert bill.spending.completion_tokens == 3 * (8 + 3)


def test_beside(play, thinking):
    """A probe that goes with the next chunk knows no more than the text before that."""
    on, answered, _ = play(["a ", "b ", "c "], ["x", "y", "y"], is_beside=True)
    probe = thinking.PROBE
    assert sorted(prefixes(on)) == sorted(["", probe, "a ", "a " + probe, "a b ", "a b " + probe])
    assert answered.answer.value == "y"


def test_its_own_end(play):
    """A model that closes its thoughts answers for itself, whatever probes said."""
    chunks = ["a ", "b </think> so z"]
    _, answered, _ = play(chunks, ["x"], ends=True)
    assert answered.answer.value == "z"


@pytest.mark.parametrize("is_beside", [False, True])
def test_at_the_cap(play, is_beside):
    """A trace that comes to its cap is answered by a last probe."""
    words = ["x", "y", "z"] if is_beside else ["y", "z"]
    _, answered, _ = play(["a ", "b "], words, is_beside=is_beside)
    assert answered.answer.value == "z"


@pytest.mark.parametrize("word", ["Wait, y", "but y", "know y"])
def test_hesitation(thinking, word):
    """A word of hesitation anywhere in a text of the window keeps it open, within others too."""
    assert thinking.has_settled(["y", "y"], ["y", "y"], 2)
    assert not thinking.has_settled(["y", "y"], [word, "y"], 2)
    assert thinking.has_settled(["y", "y", "y"], [word, "y", "y"], 2)


@given(answers=st.lists(st.sampled_from(["a", "b", None]), max_size=6), window=st.integers(1, 4))
def test_the_rule(answers, window):
    """It settles just where the last ones are all there and all the same."""
    thinking = importlib.import_module("_thinking")
    latest = answers[-window:]
    expected = len(latest) == window and latest in ([one] * window for one in ("a", "b"))
    assert thinking.has_settled(answers, ["fine"] * len(answers), window) == expected


def test_rows_compare_with_the_first(thinking, benchmarks, tmp_path, capsys):
    """Savings are against the first row, and seconds are those of blocks."""
    alternating = importlib.import_module("_alternating")
    work = importlib.import_module("_work")
    problems = alternating.evaluation(4)
    options = argparse.Namespace(seeds=1, block=2)
    base = thinking.Ran("1", True, 100, 0, 40, 1, 2.0, 1.0, "done", {})
    better = msgspec.structs.replace(base, tokens=60, seconds=1.0, notes={"probes lost": 1})
    cells = [alternating.Cell(name, None, EVEN) for name in ("first", "second")]
    with work.Work(tmp_path, "runs", {}, thinking.Ran) as kept:
        for one in problems:
            kept.add(("first", 0, one.id), base)
            kept.add(("second", 0, one.id), better)
        first, second = thinking.rows(cells, problems, options, kept)
    assert first["tokens_saved"]["estimate"] == 0
    assert second["tokens_saved"]["estimate"] == pytest.approx(0.4)
    assert second["seconds_saved"]["estimate"] == pytest.approx(0.5)
    assert second["accuracy"]["estimate"] == 1
    assert second["notes"] == {"probes lost": 4}
    thinking.show_rows([first, second])
    assert "| second | 100.0 [100.0, 100.0] |" in capsys.readouterr().out
    thinking.draw_rows([first, second], tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")


def test_calibrated_rules_are_read(script, tmp_path):
    """A rule that `thinking` wrote runs under its own name, streaming and chunked."""
    rule = {
        "program": "chain-of-thought:share=0.4,window=2",
        "policy": 'stepwise:every=1,at={"confidence": 0.9}',
    }
    path = tmp_path / "thinking.json"
    path.write_text(json.dumps({"rule": rule}))
    options = argparse.Namespace(window=None, limit=640, calibrated=path)
    found = script.cells(options)
    labels = [cell.label for cell in found]
    assert len(set(labels)) == len(labels) == 1 + 2 * 2 + 2
    assert found[0].make("q").share == 0
    assert found[0].make("q").cap == 20
    last = found[-1].make("q")
    assert (last.share, last.window, last.chunked) == (0.4, 2, True)
    assert found[-1].policy.params == {"every": 1, "at": {"confidence": 0.9}}
    assert labels[-1].startswith("calibrated:")
