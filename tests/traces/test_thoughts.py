"""Tree searches as logged become trees that can be replayed at a smaller width."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.traces import TraceError
from dynasor.traces.thoughts import Info, Search, Step, tree_line


def search(width, *levels, verdicts=None, **others):
    """Log a search: a level maps each kept path's place to its candidates' (name, value)."""
    steps, paths = [], ("",)
    for level in levels:
        candidates = [
            (f"{paths[place]}{name}\n", value)
            for place, children in sorted(level.items())
            for name, value in children
        ]
        texts, values = zip(*candidates, strict=True)
        best = sorted(range(len(texts)), key=lambda place: -values[place])[:width]
        kept = tuple(texts[place] for place in best)
        steps.append(Step("1 2 3 4", paths, texts, values, kept))
        paths = kept
    infos = tuple(Info(one) for one in (verdicts or [0] * len(paths)))
    return Search("q", tuple(steps), infos, **others)


def tree_of(found):
    """The one tree of a line, its nodes by their texts, and the exact knobs."""
    line = tree_line(found)
    (tree,) = line.trees
    nodes = {node.text.strip(): node for node in tree.nodes}
    return tree, nodes, line.extra["exact_knobs"]


def narrow(found, width):
    """Run the search again with a smaller width: the candidates made, None if one is not logged."""
    made, paths = [], [""]
    for depth, step in enumerate(found.steps):
        options = [
            (text, value)
            for text, value in zip(step.new_ys, step.values, strict=True)
            if any(text.startswith(path) for path in paths)
        ]
        made += [text for text, _ in options]
        paths = [text for text, _ in sorted(options, key=lambda one: -one[1])[:width]]
        if depth < len(found.steps) - 1 and not set(paths) <= set(step.select_new_ys):
            return None
    return made


def test_nodes():
    """Candidates become nodes with their parents, scaled values and estimated tokens."""
    found = search(
        2,
        {0: [("a", 60.0), ("b", 3.0), ("c", 0.0)]},
        {0: [("Answer: 1*4*6 = 24", 40.001)], 1: [("d", 0.003)]},
        verdicts=[1, 0],
        usage_so_far={"completion_tokens": 9},
    )
    line = tree_line(found)
    (tree,) = line.trees
    assert (line.question, line.reference) == ("1 2 3 4", "24")
    assert line.extra == {"exact_knobs": [1, 2], "usage_so_far": {"completion_tokens": 9}}
    assert (tree.algorithm, tree.knob) == ("tot-bfs", 2)
    assert [node.parent for node in tree.nodes] == [None, None, None, 0, 1]
    assert [node.reward for node in tree.nodes] == [1.0, 0.05, 0.0, 40.001 / 60, 0.003 / 60]
    assert [node.tokens for node in tree.nodes] == [1, 1, 1, 7, 1]
    assert [node.is_finished for node in tree.nodes] == [False] * 3 + [True] * 2
    assert [node.answer for node in tree.nodes[3:]] == ["1*4*6 = 24", None]
    assert [node.is_right for node in tree.nodes] == [None] * 3 + [True, False]


def test_units_follow_the_paths():
    """A node's unit is the smallest width that keeps its parent; first steps have unit 1."""
    found = search(
        3,
        {0: [("a", 1.0), ("b", 3.0), ("c", 2.0)]},
        {0: [("d", 9.0)], 1: [("e", 8.0)], 2: [("f", 7.0)]},
        {0: [("g", 1.0)], 1: [("h", 1.0)], 2: [("i", 1.0)]},
    )
    _, nodes, exact = tree_of(found)
    assert {name: node.unit for name, node in nodes.items()} == {
        **dict.fromkeys("abcdg", 1),
        **dict.fromkeys("eh", 2),
        **dict.fromkeys("fi", 3),
    }
    assert exact == [1, 2, 3]


def test_path_that_was_dropped():
    """A width that would keep a path that the log dropped is not exact."""
    found = search(
        2,
        {0: [("a", 2.0), ("b", 1.0)]},
        {0: [("c", 1.0)], 1: [("d", 9.0), ("e", 8.0)]},
        {0: [("f", 1.0)], 1: [("g", 1.0)]},
    )
    _, nodes, exact = tree_of(found)
    assert nodes["c"].unit == 1  # a search of width 1 makes c, keeps it, and goes on with it
    assert exact == [2]


def test_path_that_a_wider_search_drops():
    """A width that drops what a smaller one makes is not exact."""
    found = search(
        3,
        {0: [("a", 3.0), ("b", 2.0), ("c", 1.0)]},
        {0: [("d", 5.0)], 1: [("e", 9.0), ("f", 9.0)], 2: [("g", 1.0)]},
        {0: [("h", 1.0)], 1: [("i", 1.0)], 2: [("j", 1.0)]},
    )
    _, nodes, exact = tree_of(found)
    # Width 1 goes on with d; width 2 drops it for e and f; width 3 keeps all of them.
    assert (nodes["j"].unit, nodes["h"].unit, nodes["i"].unit) == (1, 2, 2)
    assert exact == [1, 3]


def test_idle_last_steps():
    """A last step without an answer may be kept without being logged: nothing hangs on it."""
    levels = ({0: [("a", 2.0), ("b", 1.0)]}, {0: [("c", 0.0)], 1: [("d", 9.0), ("e", 8.0)]})
    assert tree_of(search(2, *levels))[2] == [1, 2]
    levels[1][0][0] = ("Answer: 1", 0.0)
    assert tree_of(search(2, *levels))[2] == [2]


def test_candidates_made_twice():
    """Of equal candidates the better one is the one that is kept."""
    found = search(2, {0: [("a", 0.0), ("a", 5.0), ("b", 1.0)]}, {0: [("c", 1.0)], 1: [("d", 1.0)]})
    assert [node.parent for node in tree_line(found).trees[0].nodes] == [None] * 3 + [1, 2]


@st.composite
def searches(draw):
    """Searches of three steps, each path continued by one to three candidates."""
    width = draw(st.integers(1, 4))
    values = st.sampled_from([0.0, 1.0, 3.0, 20.0, 60.0])
    levels, kept = [], 1
    for depth in range(3):
        level = {
            place: [
                (f"{depth}{place}{index}", draw(values)) for index in range(draw(st.integers(1, 3)))
            ]
            for place in range(kept)
        }
        levels.append(level)
        kept = min(sum(map(len, level.values())), width)
    return search(width, *levels)


@given(found=searches())
def test_exact_knobs_are_exact(found):
    """At an exact knob the tree is what the search with that width makes, node for node."""
    tree, _, exact = tree_of(found)
    assert tree.knob in exact
    texts = [text for step in found.steps for text in step.new_ys]
    for knob in exact:
        kept = [text for text, node in zip(texts, tree.nodes, strict=True) if node.unit <= knob]
        assert kept == narrow(found, knob)


@given(found=searches())
def test_smaller_trees_are_trees(found):
    """At every knob a node's parent is kept with it, and larger knobs keep more."""
    nodes = tree_line(found).trees[0].nodes
    for node in nodes:
        assert node.parent is None or nodes[node.parent].unit <= node.unit


def step(**others):
    """A step of a search that is fine, but for the others."""
    fine = {"x": "1", "ys": ("",), "new_ys": ("a",), "values": (1.0,), "select_new_ys": ("a",)}
    return Step(**{**fine, **others})


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ((), r"infos: 1 verdicts"),
        ((step(ys=("x",)),), r"steps\[0\].ys: not what the step before it kept"),
        ((step(), step()), r"steps\[1\].ys: not what the step before it kept"),
        ((step(values=()),), r"steps\[0\].values: 0 values of 1 candidates"),
        ((step(values=(99.0,)),), r"steps\[0\].values: 99.0; they are from 0 to 60"),
        ((step(values=(-1.0,)),), r"steps\[0\].values: -1.0; they are from 0 to 60"),
        ((step(), step(ys=("a",))), None),
        ((step(), step(ys=("a",), new_ys=("b",))), r"steps\[1\].new_ys\[0\]: it continues none"),
        ((step(select_new_ys=("b",)),), r"steps\[0\].select_new_ys\[0\]: it is none of"),
        ((step(select_new_ys=("a", "a")),), r"steps\[0\].select_new_ys\[1\]: it is none of"),
        ((step(select_new_ys=()),), r"infos: 1 verdicts on 0 paths"),
    ],
)
def test_logs_that_contradict_themselves(steps, complaint):
    """A log that cannot be is refused; the message names the field."""
    found = Search("q", steps, (Info(0),))
    if complaint is None:
        tree_line(found)
        return
    with pytest.raises(TraceError, match=complaint):
        tree_line(found)


def test_nothing_kept():
    """A search that keeps nothing is refused."""
    found = msgspec.structs.replace(search(1, {0: [("a", 1.0)]}), infos=())
    empty = msgspec.structs.replace(found.steps[0], select_new_ys=())
    with pytest.raises(TraceError, match="no step keeps anything"):
        tree_line(msgspec.structs.replace(found, steps=(empty,)))
