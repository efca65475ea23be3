"""What a body asks for."""

from __future__ import annotations

import pytest

from dynasor.config import Settings
from dynasor.requests.body import Refused, read_body
from dynasor.requests.program import make_program
from dynasor.wiring import make_catalog

USER = {"role": "user", "content": "1+1?"}


def program(settings=None, **body):
    """The program of a body, with the default settings."""
    asked = read_body({"messages": [USER], **body})
    return make_program(asked, settings or Settings(), make_catalog())


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


def test_program_of_the_settings():
    """A line that names no algorithm, or the settings' one, gets it with its parameters."""
    settings = Settings(program="mcts:width=3,max_tokens=50", max_tokens=70, temperature=0.2)
    for body in ({}, {"dynasor": {"algorithm": "mcts"}}):
        made = program(settings, **body)
        assert (made.name, made.width, made.max_tokens) == ("mcts", 3, 50)
        assert made.temperature == 0.2


def test_own_algorithm():
    """A line's own algorithm takes nothing of another one's parameters, but the settings."""
    settings = Settings(program="mcts:width=3,temperature=1", temperature=0.2)
    made = program(settings, dynasor={"algorithm": "rebase", "params": {"balance": 0.3}})
    assert (made.name, made.balance, made.temperature) == ("rebase", 0.3, 0.2)


def test_params():
    """A line's parameters go before those of the settings and before the body's sampling."""
    made = program(
        Settings(program="mcts:width=3,exploration=2"),
        max_tokens=9,
        temperature=0.3,
        dynasor={"params": {"width": 5, "max_tokens": 8}},
    )
    assert (made.width, made.exploration, made.max_tokens, made.temperature) == (5, 2, 8, 0.3)


@pytest.mark.parametrize("name", ["question", "messages", "task", "cap"])
def test_params_that_are_said_elsewhere(name):
    """What is asked, and how far, is no parameter of the algorithm."""
    with pytest.raises(
        Refused, match=rf"params has '{name}'; that is what body\.\w+ says"
    ) as caught:
        read_body({"messages": [USER], "dynasor": {"params": {name: 1}}})
    assert caught.value.param == f"body.dynasor.params.{name}"


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


def test_places():
    """Fields are named as who sends the body knows them."""
    for place, param in (("body", "body.n"), ("", "n")):
        with pytest.raises(Refused, match=rf"^{param} is not supported") as caught:
            read_body({"messages": [USER], "n": 2}, place)
        assert caught.value.param == param
    with pytest.raises(Refused, match="the body is list; expected an object") as caught:
        read_body([], "")
    assert caught.value.param == ""


def test_stop():
    """Texts that end a branch are for algorithms that have them."""
    assert read_body({"messages": [USER], "stop": "\n"}).stops == ("\n",)
    with pytest.raises(Refused, match="'mcts' ends its branches itself") as caught:
        program(stop=["\n"], dynasor={"algorithm": "mcts"})
    assert caught.value.param == "body.stop"


def test_profile(tmp_path):
    """A request may name the profile that the settings have, and no other."""
    asked = read_body({"messages": [USER], "dynasor": {"profile": "mine"}})
    named = Settings().model_copy(update={"profile": tmp_path / "mine.json"})
    assert make_program(asked, named, make_catalog()).name == "self-consistency"
    with pytest.raises(Refused, match="unknown profile 'mine'"):
        make_program(asked, Settings(), make_catalog())


def test_effort_is_never_nothing():
    """The least effort is one unit."""
    assert [program(reasoning_effort=name).cap for name in ("none", "minimal", "xhigh")] == [
        1,
        3,
        20,
    ]


@pytest.mark.parametrize("name", ["algorithm", "policy", "profile", "task"])
def test_endless_choices(name):
    """A choice of absurd length is refused by name: to read a policy of megabytes takes days."""
    with pytest.raises(Refused) as caught:
        read_body({"messages": [USER], "dynasor": {name: '\\"' * 1_000}})
    assert caught.value.param == f"body.dynasor.{name}"
