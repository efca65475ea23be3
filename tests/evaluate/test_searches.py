from __future__ import annotations

from pathlib import Path

import pytest
from toys.recorded import recorded

from dynasor.core.errors import UserError
from dynasor.core.types import PolicySpec
from dynasor.evaluate.recorded import RecordedStep
from dynasor.evaluate.replay import Job, replay
from dynasor.evaluate.searches import finished_paths, search_units, with_searches
from dynasor.traces import Header, Node, Trace, Tree, TreeLine


def trace(*lines, kind="tree"):
    header = Header(dynasor_trace=1, kind=kind, workload="w", model="m")
    return Trace(Path("t.jsonl"), header, lines, "digest")


NODES = (
    Node("a", 5, unit=1, reward=0.5),
    Node("b", 7, unit=2, reward=0.4),
    Node("a1", 3, unit=1, parent=0, reward=0.2, is_finished=True, answer="7", is_right=False),
    Node("b1", 4, unit=2, parent=1, reward=0.9, is_finished=True, answer="8", is_right=True),
    Node("b2", 2, unit=2, parent=1, reward=0.95, is_finished=True),
    Node("c", 6, unit=3, reward=0.1),
)
LINE = TreeLine("q", "what?", (Tree("tot-bfs", 3, NODES),), extra={"exact_knobs": [1, 3]})


def test_units():
    """A unit costs what it made; its answer and reward are those of its best finished path."""
    (found,) = search_units(trace(LINE))
    assert found.tokens == (8, 13, 6)
    assert found.classes == (0, 1, None)
    assert found.rewards == (0.2, 0.9, 0.0)
    assert found.quality == (0.0, 1.0)


def test_units_are_not_shuffled():
    """A search's units are replayed in their order, whatever the seed."""
    questions = search_units(trace(LINE))
    job = Job(PolicySpec("even", {"in_flight": 1}, has_lock=False), 2, "best-of-n")
    for seed in range(5):
        found = replay(questions, job, seed)
        assert (found.tokens[0], found.quality[0], found.certaindex[0]) == (21, 1.0, 0.0)


def test_stopping_on_the_reward():
    """A threshold on the reward stops a search at a smaller knob."""
    policy = PolicySpec("stepwise", {"every": 1, "at": {"reward": 0.8}, "in_flight": 1}, False)
    found = replay(search_units(trace(LINE)), Job(policy, 3, "best-of-n"), 0)
    assert (found.knob[0], found.tokens[0], found.quality[0]) == (2, 21, 1.0)


def test_only_what_is_exact():
    """A search whose recording cannot tell every smaller knob is left out on demand."""
    sure = TreeLine("r", "what?", (Tree("tot-bfs", 3, NODES),), extra={"exact_knobs": [1, 2, 3]})
    plain = TreeLine("s", "what?", (Tree("tot-bfs", 3, NODES),))
    found = search_units(trace(LINE, sure, plain), is_exact=True)
    assert [one.id for one in found] == ["r", "s"]


def test_other_kinds_are_refused():
    """A trace of samples is no search."""
    with pytest.raises(UserError, match="kind 'sampling'; this needs 'tree'"):
        search_units(trace(kind="sampling"))


def test_steps():
    """A question's searches have every step, and the class of every finished path."""
    assert [one.answer for one in finished_paths(LINE).samples] == ["7", "8", None]
    found = with_searches(LINE, recorded("ab-", (1,)), "\n")
    assert found.searches == (
        (
            RecordedStep(5, -1, 0.5),
            RecordedStep(7, -1, 0.4),
            RecordedStep(3, 0, 0.2, 0, is_finished=True),
            RecordedStep(4, 1, 0.9, 1, is_finished=True),
            RecordedStep(2, 1, 0.95, is_finished=True),
            RecordedStep(6, -1, 0.1),
        ),
    )
    assert (found.tokens, found.classes, found.rewards) == ((8, 13, 6), (0, 1, None), (0.2, 0.9, 0))
    assert found.is_ordered
    assert found.longest == 11


@pytest.mark.parametrize(
    ("text", "blank"), [("so\n", None), ("\n", ""), ("  \n", " "), ("so", None), ("x", None)]
)
def test_blank_steps(text, blank):
    """A step that says nothing is told from one that does."""
    line = TreeLine("q", "q?", (Tree("rebase", 1, (Node(text, 1),)),))
    assert with_searches(line, recorded("", ()), "\n").searches[0][0].blank == blank
