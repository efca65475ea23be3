"""Where a tree search goes on: PUCT and UCT by hand, on small trees."""

from __future__ import annotations

from math import log, sqrt

import pytest

from dynasor.programs.selection import Branch, Rule, selected


def grow(parent, reward=None, visits=1, total=0.5, **rest):
    """Add a step to another."""
    text = f"{parent.text}{len(parent.children)}\n"
    branch = Branch(text, parent=parent, reward=reward, visits=visits, total=total, **rest)
    parent.children.append(branch)
    return branch


@pytest.fixture
def root():
    """A root with two steps: `a`, of reward 0.8, and `b`, of 0.2."""
    made = Branch(visits=3, total=1.3)
    grow(made, 0.8, visits=2, total=1.2)
    grow(made, 0.2, visits=1, total=0.1)
    return made


def puct(width=2, exploration=1.0):
    return Rule("puct", exploration, width)


def uct(width=2, exploration=1.0):
    return Rule("uct", exploration, width)


def test_puct(root):
    """A child scores its value and its share of the siblings' rewards, by visits."""
    a, b = root.children
    assert puct()._score(a, root) == pytest.approx(0.6 + 0.8 * sqrt(3) / 3)
    assert puct()._score(b, root) == pytest.approx(0.1 + 0.2 * sqrt(3) / 2)
    assert puct().best(root) is a
    assert puct(exploration=0.0)._score(b, root) == pytest.approx(0.1)


def test_puct_new_step(root):
    """A new step scores its parent's value and a mean prior; it must be better than all there."""
    assert puct(3)._new(root) == pytest.approx(1.3 / 3 + sqrt(3) / 2)
    assert puct(3).best(root) is None
    assert puct(3, exploration=0.1).best(root) is root.children[0]
    assert puct(2).best(root) is root.children[0], "there is no room for a third"


def test_uct(root):
    """A child scores its mean reward and what visits leave to explore."""
    a, b = root.children
    assert uct()._score(a, root) == pytest.approx(0.6 + sqrt(log(3) / 2))
    assert uct()._score(b, root) == pytest.approx(0.1 + sqrt(log(3)))
    assert uct().best(root) is a
    assert uct(exploration=2.0).best(root) is b
    assert uct(3).best(root) is None, "new steps go first"


def test_without_rewards():
    """Steps that could not be scored share the prior alike; so do steps of reward 0."""
    for reward in (None, 0.0):
        root = Branch(visits=2, total=1.0)
        one = grow(root, reward, total=0.5)
        grow(root, reward, total=0.5)
        assert puct()._score(one, root) == pytest.approx(0.5 + 0.5 * sqrt(2) / 2)
        assert puct().best(root) is one, "the first of equals"


def test_virtual_loss(root):
    """Rollouts under way count as visits that came to nothing, until another step is better."""
    a, b = root.children
    a.virtual, root.virtual = 2, 2
    assert a.value == pytest.approx(1.2 / 4)
    assert puct()._score(a, root) == pytest.approx(0.3 + 0.8 * sqrt(5) / 5)
    assert puct().best(root) is a
    a.virtual = root.virtual = 8
    assert puct().best(root) is b


def test_value():
    """Before its first visit a step is worth as much as one that could not be scored."""
    assert Branch().value == 0.5
    assert Branch(virtual=1).value == 0.0
    assert Branch(visits=2, total=1.0).value == 0.5


def test_descent(root):
    """Selection descends until a new step is better than all that are there."""
    a, _ = root.children
    deep = grow(a, 0.9, visits=2, total=1.6)
    assert selected(root, puct()) is a, "0.6 + sqrt(2) against 0.8 + sqrt(2) / 3"
    grow(a, 0.1, visits=1, total=0.0)
    assert selected(root, puct()) is deep
    assert list(deep.path()) == [deep, a, root]


def test_first():
    """An empty tree grows at its root."""
    root = Branch()
    for rule in (puct(1), uct(1)):
        assert selected(root, rule) is root


def test_room():
    """New steps under way take room; where the root is full of them alone it takes more."""
    root = Branch(growing=1, virtual=1)
    assert root.has_room(2)
    assert not root.has_room(1)
    assert not root.is_open(1)
    assert selected(root, puct(1)) is root


def test_closed():
    """A finished path is not gone on from, nor a step all of whose children are finished."""
    root = Branch(visits=3, total=2.9)
    a = grow(root, 1.0, visits=2, total=1.9)
    b = grow(root, 0.1, visits=1, total=0.1)
    grow(a, 1.0, is_finished=True)
    grow(a, 1.0, is_finished=True)
    assert not a.is_open(2)
    assert b.is_open(2)
    assert root.is_open(2)
    assert selected(root, puct(2)) is b
    assert selected(root, uct(2)) is b


def test_deep_path():
    """A path may be longer than Python's stack is deep."""
    root = leaf = Branch(visits=1)
    for _ in range(5000):
        leaf = grow(leaf, 0.5, visits=1)
    leaf.is_finished = True
    assert not root.is_open(1)
    assert root.is_open(2)


def test_everything_closed():
    """Where no step has room the root takes one more than its width."""
    root = Branch(visits=1, total=1.0)
    grow(root, 1.0, is_finished=True)
    for rule in (puct(1), uct(1), uct(1, exploration=0.0)):
        assert not root.is_open(1)
        assert selected(root, rule) is root
