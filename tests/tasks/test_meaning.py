from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import ConfigError
from dynasor.tasks import OpenTask, tasks
from dynasor.tasks.groupings import groupings
from dynasor.tasks.meaning import ByMeaning

TEXTS = st.text(st.characters(exclude_categories=()))


def test_what_differs_is_left_to_the_host():
    """Texts are the same at sight when only blanks and case set them apart, never different."""
    task = ByMeaning(OpenTask())
    assert task.same("The  Straße", "the STRASSE") is True
    assert task.same("Paris", "London") is None


@given(left=TEXTS, right=TEXTS)
def test_nothing_is_different_at_sight(left, right):
    """The verdict is symmetric, True where the task's own is, and never False."""
    task = ByMeaning(OpenTask())
    assert task.same(left, right) is (OpenTask().same(left, right) or None)
    assert task.same(left, right) is task.same(right, left)


def test_everything_else_is_the_tasks():
    """Name, prompt and extraction are those of the task that is grouped."""
    task, plain = ByMeaning(OpenTask()), OpenTask()
    assert task.name == plain.name
    assert task.prompt("Why?") == plain.prompt("Why?")
    assert task.extract(" Because. \n") == "Because."
    assert task.extract(" ") is None


@pytest.mark.parametrize("name", ["math", "choice", "expression"])
def test_exact_answers_have_no_meaning(name):
    """A task whose answers one number sets apart is refused by name."""
    with pytest.raises(ConfigError, match=f"task '{name}' .* differ in one number"):
        ByMeaning(tasks()[name])


def test_groupings_by_name():
    """The task's own grouping changes nothing; every grouping keeps the task's name."""
    task = OpenTask()
    assert groupings()["task"](task) is task
    assert {name: make(task).name for name, make in groupings().items()} == {
        "meaning": "open",
        "task": "open",
    }
