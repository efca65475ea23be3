"""What a trace says of the program that made it."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.traces import header

from dynasor.core.errors import UserError
from dynasor.core.types import PolicySpec, ProgramSpec
from dynasor.evaluate.coded import check_recorded, coded, made_by
from dynasor.evaluate.recorded import Recorded
from dynasor.traces import Trace


def trace(kind, **sampling):
    return Trace(Path("t.jsonl"), header(kind, sampling=sampling), (), "digest")


def test_samples():
    """Samples are self-consistency's, unless they were scored for best-of-n."""
    assert made_by(trace("sampling", temperature=0.5)).program == ProgramSpec("self-consistency")
    found = made_by(trace("sampling", program="best-of-n"))
    assert (found.program.name, found.cap, found.in_flight, found.detect) == (
        "best-of-n",
        None,
        None,
        None,
    )


def test_search():
    """A search's program, cap and rounds stand in the header."""
    found = made_by(
        trace(
            "tree",
            program="rebase",
            params={"balance": 0.2, "step_end": "|"},
            samples=16,
            policy='threshold:detect=4,at={"reward": 1},in_flight=2',
        )
    )
    assert found.program == ProgramSpec("rebase", {"balance": 0.2, "step_end": "|"})
    assert (found.cap, found.detect, found.in_flight, found.step_end) == (16, 4, 2, "|")
    assert found.policy == PolicySpec(
        "threshold", {"detect": 4, "at": {"reward": 1}, "in_flight": 2}, has_lock=False
    )


def test_thoughts():
    """The rounds of all chains together are the cap."""
    params = {"every": 8, "chains": 3}
    found = made_by(trace("chain", program="chain-of-thought", params=params, samples=10))
    assert (found.cap, found.every, found.policy) == (30, 8, None)


@pytest.mark.parametrize("sampling", [{}, {"program": "tot"}, {"program": 3, "params": {}}])
def test_unknown(sampling):
    """A search that nobody says who made is refused in one line."""
    with pytest.raises(UserError, match="does not say which program made it; record one"):
        made_by(trace("tree", **sampling))


def test_codes():
    """A program that goes on from texts is told how a recording writes them."""
    assert coded("mcts") == {"step_end": "\n", "rewards": "model"}
    assert set(coded("chain-of-thought")) == {"max_tokens", "think_start", "think_end", "probe"}
    assert coded("self-consistency") == {}


def test_what_was_recorded():
    """A search or a chain of thought is refused on recordings of another kind."""
    samples = Recorded("q", "?", (0,), (3,), (1.0,))
    check_recorded("self-consistency", [samples])
    with pytest.raises(UserError, match="'rebase' needs recorded searches.*'q' has none"):
        check_recorded("rebase", [samples])
    with pytest.raises(UserError, match="needs recorded thoughts"):
        check_recorded("chain-of-thought", [samples])
