from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.core.errors import UnknownName
from dynasor.tasks import task, tasks

NAMES = sorted(tasks())
# Any code point, lone surrogates and NUL included, and the characters that patterns look for.
TEXTS = st.text(st.characters(exclude_categories=())) | st.text(
    "\\boxed{}fracanswer is:$.=()+-*/ 0129\n"
)


def test_registry_is_built_afresh():
    """Each call returns tasks of its own, under their own names."""
    assert tasks() is not tasks()
    assert tasks()["math"] is not tasks()["math"]
    assert {name: one.name for name, one in tasks().items()} == {name: name for name in NAMES}


def test_an_unknown_name_is_named():
    """An unknown task raises an error that lists the known ones."""
    assert task("open").name == "open"
    with pytest.raises(UnknownName, match="known: choice, code, expression, math, open"):
        task("sums")


@pytest.mark.parametrize("name", NAMES)
def test_the_question_is_the_last_user_message(name):
    """The question travels unchanged in the last message, the instruction before it."""
    prompt = task(name).prompt("What is 1+1?")
    assert (prompt.messages[-1].role, prompt.messages[-1].content) == ("user", "What is 1+1?")
    assert all(message.role == "system" for message in prompt.messages[:-1])
    assert prompt.prefix == ""


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_is_wrong(name):
    """A completion without an answer is graded at once."""
    assert task(name).grade("1 2 3 4", None, "24") is False


@pytest.mark.parametrize("name", NAMES)
@given(text=TEXTS)
def test_extraction_takes_any_text(name, text):
    """Extraction never raises, and never returns an empty answer."""
    assert task(name).extract(text) != ""


@pytest.mark.parametrize("name", NAMES)
@given(left=TEXTS, right=TEXTS)
def test_sameness_is_symmetric_and_reflexive(name, left, right):
    """Two answers are the same in either order, and every answer is the same as itself."""
    one = task(name)
    assert one.same(left, left) is True
    assert one.same(left, right) == one.same(right, left)


@pytest.mark.parametrize("name", ["choice", "code", "expression", "open"])
@given(left=TEXTS, right=TEXTS)
def test_only_mathematics_takes_a_worker(name, left, right):
    """All other tasks decide at sight, and their final verdict is the same one."""
    one = task(name)
    one.prepare()
    assert one.same(left, right) is one.equal(left, right)


def test_importing_the_tasks_does_not_import_computer_algebra():
    """Sympy takes a second to load, which only worker processes pay."""
    code = "import sys, dynasor.workers, dynasor.tasks as t; t.tasks()['math'].same('x', 'y')\n"
    code += "sys.exit('sympy' in sys.modules or 'math_verify' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
