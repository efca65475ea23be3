"""Steps, marks, and which partial solutions cover which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.types import Message, Prompt
from dynasor.engines.steps import Partial, longest, mark_of_model, partial_of, split_steps

lines = st.text(alphabet="ab.1 \t", max_size=6)
texts = st.lists(lines, max_size=6).map("\n".join)
paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple)


def partial(*steps: str) -> Partial:
    return Partial((Message("user", "q"),), steps)


@given(texts)
def test_steps_are_the_lines_that_say_something(text):
    """Steps are never blank but for an empty text's, keep every word, and are their own steps."""
    steps = split_steps(text)
    assert steps == ("",) or all(step.strip() and "\n" not in step for step in steps)
    assert " ".join(steps).split() == text.split()
    assert split_steps("\n".join(steps)) == steps


@given(texts, texts)
def test_steps_of_a_path_begin_with_its_parents(parent, step):
    """A step that is added behind a line break leaves the steps before it as they were."""
    steps = split_steps(parent + "\n" + step)
    if parent.strip():
        assert steps[: len(split_steps(parent))] == split_steps(parent)


@pytest.mark.parametrize(
    ("text", "mark", "steps"),
    [
        ("a\n\nb\n", "<m>", ("a", "b")),
        ("a<m>\nb<m>", "<m>", ("a", "b")),
        ("a\nb\n", "\n", ("a", "b")),
        ("  a \r\nb", "\n", ("  a", "b")),
        ("\n\n", "<m>", ("",)),
        ("a\n\nb\n\n", "", ("a\n\nb",)),
    ],
)
def test_partial_of_an_item(text, mark, steps):
    """An item's steps are its lines without marks; without a mark the text is one step."""
    assert partial_of(Prompt((), text), mark).steps == steps


def test_text():
    """The mark stands after each step."""
    assert partial("a", "b").text("<m>") == "a<m>b<m>"
    assert partial("a\n\nb").text("") == "a\n\nb"


@given(st.lists(paths, max_size=8))
def test_longest_cover_everything(steps):
    """Every partial solution is a beginning of one that is kept, and none kept is of another."""
    partials = [partial(*one) for one in steps]
    kept = longest(partials)
    covered = [one.beginnings() for one in kept]
    assert all(any(one in starts for starts in covered) for one in partials)
    assert not any(
        one in starts
        for one in kept
        for other, starts in zip(kept, covered, strict=True)
        if one != other
    )
    assert len(set(kept)) == len(kept)


def test_longest_keeps_conversations_apart():
    """The same steps answer two questions in two ways."""
    other = Partial((Message("user", "another"),), ("a", "b"))
    assert longest([partial("a"), other]) == [partial("a"), other]


@pytest.mark.parametrize(
    ("names", "mark"),
    [
        (("Qwen/Qwen2.5-Math-PRM-7B",), "<extra_0>"),
        (("prm", "/models/Qwen2.5-Math-7B-PRM800K"), "<extra_0>"),
        (("Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B", None), "\n"),
        (("Skywork-Reward-V2-Qwen3-8B", "Qwen2.5-Math-RM-72B"), ""),
    ],
)
def test_mark_of_model(names, mark):
    """The mark follows from any of a model's names; an unknown model has none."""
    assert mark_of_model(*names) == mark
