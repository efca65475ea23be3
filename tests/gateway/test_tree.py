"""Trees made of calls."""

from __future__ import annotations

from dynasor.core.types import Generate, Generated, Message, Prompt, Score, Scored, Usage
from dynasor.gateway.tree import Tree

ASKED = (Message("user", "q"),)


def grown(*calls):
    """A tree after these calls: prefix and text of each."""
    tree = Tree("\n")
    for number, (prefix, text) in enumerate(calls):
        tree.grow(f"c{number}", Generate(Prompt(ASKED, prefix)), Generated(text, Usage(1, 9)))
    return tree


def test_steps():
    """Each call is a step below the one that it goes on from."""
    tree = grown(("", "one"), ("", "two\n"), ("two\n", "three"))
    assert [(node.text, node.parent) for node in tree.nodes] == [
        ("one\n", None),
        ("two\n", None),
        ("three\n", 1),
    ]


def test_rollouts():
    """A call of several steps is as many nodes, which share its tokens; blank steps are none."""
    tree = grown(("", "one\n\ntwo\nthree"), ("one\n\n", "four"))
    assert [(node.text, node.parent) for node in tree.nodes] == [
        ("one\n\n", None),
        ("two\n", 0),
        ("three\n", 1),
        ("four\n", 0),
    ]
    assert sum(node.tokens for node in tree.nodes[:3]) == 9


def test_rewards():
    """A reward belongs to every step with that path, those that come later too."""
    tree = grown(("", "one"), ("", "one"))
    tree.score(Score((Prompt(ASKED, "one\n"), Prompt(ASKED, "none\n"))), Scored((0.7, 0.1)))
    tree.grow("c2", Generate(Prompt(ASKED)), Generated("one", Usage(1, 1)))
    assert [node.reward for node in tree.nodes] == [0.7] * 3


def test_way_to_the_answer():
    """The way to the answer is marked."""
    tree = grown(("", "one"), ("", "two"), ("two\n", "three"), ("two\n", "four"))
    tree.end("two\nthree")
    assert [node.is_answer for node in tree.nodes] == [False, True, True, False]
    assert tree.shown()[1]["text"] == "two\n"


def test_empty_step():
    """A step that says nothing is a step."""
    tree = grown(("", ""))
    assert [(node.text, node.tokens) for node in tree.nodes] == [("\n", 9)]


def test_paragraphs():
    """Line breaks beyond those that end a step stay with it, as in the program's own text."""
    tree = Tree("\n\n")
    tree.grow("c0", Generate(Prompt(ASKED)), Generated("one\n", Usage(1, 9)))
    tree.grow("c1", Generate(Prompt(ASKED, "one\n\n\n")), Generated("two", Usage(1, 9)))
    assert [(node.text, node.parent) for node in tree.nodes] == [
        ("one\n\n\n", None),
        ("two\n\n", 0),
    ]
