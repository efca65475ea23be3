"""What a body asks for."""

from __future__ import annotations

import pytest

from dynasor.batch.body import Refused, read_body
from dynasor.batch.program import make_program
from dynasor.config import Settings
from dynasor.wiring import make_catalog

USER = {"role": "user", "content": "1+1?"}


def program(**body):
    """The program of a body, with the default settings."""
    return make_program(read_body({"messages": [USER], **body}), Settings(), make_catalog())


def test_defaults():
    """A bare question takes everything from the settings and the task's own prompt."""
    made = program()
    assert (made.name, made.task, made.cap) == ("self-consistency", "math", 20)
    assert (made.temperature, made.max_tokens, made.messages) == (0.7, 1024, ())


def test_sampling():
    """Sampling in the body goes before the settings, max_completion_tokens before max_tokens."""
    made = program(temperature=0.1, top_p=0.5, max_tokens=5, max_completion_tokens=6)
    assert (made.temperature, made.top_p, made.max_tokens) == (0.1, 0.5, 6)


@pytest.mark.parametrize(("effort", "cap"), [("low", 5), ("medium", 10), ("high", 20), (None, 20)])
def test_effort(effort, cap):
    """Effort is a share of the configured cap: a quarter, a half, all of it."""
    assert program(reasoning_effort=effort).cap == cap


def test_cap_before_effort():
    """A cap in the body goes before the effort."""
    assert program(reasoning_effort="low", dynasor={"cap": 7, "task": "open"}).cap == 7


def test_conversation():
    """A conversation is asked whole; its last user message is the question."""
    said = [
        {"role": "developer", "content": "Be brief."},
        USER,
        {"role": "assistant", "content": "2"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "and "}, {"type": "text", "text": "3?"}],
        },
    ]
    made = program(messages=said)
    assert made.question == "and 3?"
    assert [message.role for message in made.messages] == ["system", "user", "assistant", "user"]


def test_body_no_object():
    """A body that is no object is refused."""
    with pytest.raises(Refused, match="body is null; expected an object"):
        read_body(None)
