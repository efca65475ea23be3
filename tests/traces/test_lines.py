"""What lines may not say: what the types cannot tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.traces import chain_line, header, text_of, tree_line

from dynasor.traces import Node, TraceError
from dynasor.traces.lines import LineReader


def problems(kind, line):
    """What is wrong with a line, without saying where."""
    _, found = LineReader(Path("t"), header(kind)).check(2, text_of(line))
    assert all(one.startswith("trace t, line 2: ") for one in found)
    return [one.removeprefix("trace t, line 2: ") for one in found]


def test_good_lines():
    """Probes in order, equal places included, and children after their parents are fine."""
    assert problems("chain", chain_line(at=(1, 1, 2))) == []
    assert problems("tree", tree_line()) == []


def test_probes_out_of_order():
    """Every probe that stands after a later one is named."""
    assert problems("chain", chain_line(at=(5, 3, 4, 1))) == [
        "chains[0].probes[1].at: 3 after 5; probes stand in the order of `at`",
        "chains[0].probes[3].at: 1 after 4; probes stand in the order of `at`",
    ]


@pytest.mark.parametrize("parent", [1, 2, 99])
def test_parent_that_comes_later(parent):
    """A node's parent stands before it: it is neither the node nor a later one."""
    nodes = [Node("a", 1), Node("b", 1, parent=parent), Node("c", 1)]
    assert problems("tree", tree_line(nodes=nodes)) == [
        f"trees[0].nodes[1].parent: {parent}; a parent stands before its child"
    ]


def test_parent_of_a_larger_unit():
    """No search makes a child without its parent."""
    nodes = [Node("a", 1, 2), Node("b", 1, 1, parent=0)]
    (problem,) = problems("tree", tree_line(nodes=nodes))
    assert problem == (
        "trees[0].nodes[1].unit: 1, but its parent's is 2; "
        "a search makes no child without its parent"
    )


def test_unit_beyond_the_knob():
    """No node is made by a unit that the search did not have."""
    assert problems("tree", tree_line(nodes=[Node("a", 1, 3)])) == [
        "trees[0].nodes[0].unit: 3 is beyond the tree's knob, 2"
    ]


def test_the_first_problem_is_raised():
    """Who reads a line gets the first of its problems."""
    nodes = [Node("a", 1, 3), Node("b", 1, parent=5)]
    reader = LineReader(Path("t"), header("tree"))
    with pytest.raises(TraceError, match="line 2: trees.0..nodes.0..unit: 3"):
        reader.read(2, text_of(tree_line(nodes=nodes)))


def test_smaller_knobs():
    """A tree at a smaller knob has the nodes of its units, and their parents."""
    tree = tree_line().trees[0]
    assert [node.text for node in tree.at(1)] == ["a", "b", "aa"]
    assert tree.at(2) == tree.nodes
