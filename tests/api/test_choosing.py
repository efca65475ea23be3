"""Which program answers, and under which policy."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from plays import Single, answers, one
from toys.profiles import profile

import dynasor
from dynasor import BestOfN, Dynasor, Extensions, Mcts, SelfConsistency
from dynasor.core.allocation import EVEN
from dynasor.core.errors import ConfigError, UnknownName
from dynasor.core.types import PolicySpec
from dynasor.programs import programs


@dataclass
class Long(Single):
    """A program with defaults of its own."""

    name = "long"

    cap: int = 99
    max_tokens: int = 5000


class Impatient(msgspec.Struct, frozen=True):
    """A policy with a bug: it counts on votes, and on units."""

    def decide(self, view):
        """Divide by what is not there yet."""
        return view.tokens / view.knob


def made(question="q", **settings):
    """The program that the settings make."""
    own = Extensions(programs={"long": Long})
    return Dynasor(answers("1"), extensions=own, **settings).make_program(question)


# Programs.


def test_default_program():
    """Without a word it is self-consistency with the defaults of the settings."""
    assert made() == SelfConsistency("q")


def test_program_of_the_settings():
    """The program of the settings takes those that it has parameters for."""
    found = made(program="mcts:width=3", cap=7, temperature=0.1, max_tokens=50, task="open")
    wanted = Mcts("q", width=3, cap=7, temperature=0.1, max_tokens=50, task="open")
    assert found == wanted
    assert type(made(program="long", temperature=0.1)) is Long


def test_own_defaults():
    """What nobody chose has the program's own default."""
    assert (made(program="long").cap, made(program="long").max_tokens) == (99, 5000)
    assert made(program="long", cap=20).cap == 20


def test_own_parameters_go_first():
    """A parameter of the program goes before a setting of the same name."""
    assert made(program="mcts:max_tokens=5", max_tokens=50).max_tokens == 5


def test_given_parameters_go_first():
    """What is given with the question goes before everything else."""
    dynasor = Dynasor(answers("1"), program="mcts:width=3", cap=7)
    found = dynasor.make_program("q", width=5, cap=2)
    assert (found.width, found.cap) == (5, 2)


@pytest.mark.parametrize("name", sorted(programs()))
def test_every_program(name):
    """Every program that ships can be made by its name, has a policy, and a word for its units."""
    dynasor = Dynasor(answers("1"), program=name)
    program = dynasor.make_program("q")
    assert (program.name, program.question) == (name, "q")
    assert program.unit != "unit"
    assert dynasor.policy_for(program)


@pytest.mark.parametrize("name", sorted(dynasor.__all__))
def test_lazy_names(name):
    """Every name of the package is found where it is said to be."""
    assert getattr(dynasor, name).__name__ == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mtcs", "unknown program 'mtcs' .*did you mean 'mcts'"),
        ("mcts:widht=3", "parameter of program 'mcts': 'widht' .*did you mean 'width'"),
        ("mcts:width=x", "program 'mcts': Expected `int`"),
        ("mcts:task=open", "'task' has a setting of its own"),
    ],
)
def test_bad_program(text, message):
    """A program that cannot be used is refused in one line."""
    with pytest.raises((UnknownName, ConfigError), match=message) as caught:
        made(program=text)
    assert "\n" not in str(caught.value)


# Policies.


@pytest.mark.parametrize(
    ("program", "settings", "policy"),
    [
        (one("q"), {}, PolicySpec("beta")),
        (one("q"), {"lock": False}, PolicySpec("beta", has_lock=False)),
        (Mcts("q"), {}, Mcts.usual_policy),
        (Mcts("q", choose="vote"), {"policy": "beta"}, PolicySpec("beta")),
        (BestOfN("q"), {}, EVEN),
        (Single("q"), {}, EVEN),
        (Single("q"), {"policy": "esc:window=2"}, None),
        (Single("q"), {"policy": "length:tokens=9"}, PolicySpec("length", {"tokens": 9})),
    ],
)
def test_policy(program, settings, policy):
    """The chosen policy goes first, then the program's usual one; even where nothing votes."""
    dynasor = Dynasor(answers("1"), **settings)
    if policy is not None:
        assert dynasor.policy_for(program) == policy
        return
    with pytest.raises(ConfigError, match="'single': .*'esc' needs votes.*'even' suits it"):
        dynasor.policy_for(program)


def test_policy_of_one_run():
    """A policy of one run goes before the settings', with their lock where it is a text."""
    dynasor = Dynasor(answers("1"), policy="even", lock=False)
    assert dynasor.policy_for(one("q"), "beta") == PolicySpec("beta", has_lock=False)
    assert dynasor.policy_for(one("q"), PolicySpec("esc")) == PolicySpec("esc")


async def test_usual_policy_runs():
    """A submitted program runs under its usual policy."""
    engine = answers("1")
    engine.reward = lambda prompt: 0.5
    async with Dynasor(engine) as dynasor:
        result = await dynasor.run(Mcts("q", cap=9))
    assert (result.knob, result.reason) == (Mcts.usual_policy.params["detect"], "certain")


async def test_policy_with_a_bug():
    """A policy that raises fails the run of its program, not the one who submits it."""
    own = Extensions(policies={"impatient": Impatient})
    async with Dynasor(answers("1"), extensions=own) as dynasor:
        result = await dynasor.submit(one("q"), policy="impatient")
    assert result.status == "failed"
    assert "ZeroDivisionError" in str(result.error)


# Profiles.


def calibrated(caplog, **rest):
    """A Dynasor with a profile for MCTS, hearing what it warns of."""
    path = Path("p.json")
    profile(program="mcts:width=2", policy="threshold", params={"detect": 2}, **rest).write(path)
    caplog.set_level(logging.WARNING, "dynasor")
    return Dynasor(answers("1"), profile=path)


def test_program_of_a_profile(no_settings, caplog):
    """A profile's program is the settings' one, its policy goes before the usual one."""
    dynasor = calibrated(caplog)
    program = dynasor.make_program("q")
    assert program == Mcts("q", width=2, cap=10)
    assert dynasor.policy_for(program) == PolicySpec("threshold", {"detect": 2})
    assert caplog.messages == []


def test_profile_for_another_program(no_settings, caplog):
    """The policy of a profile for another program is warned of, once a program."""
    dynasor = calibrated(caplog)
    for _ in range(2):
        dynasor.policy_for(one("q"))
        dynasor.policy_for(one("q"), "even")
    (warning,) = caplog.messages
    assert warning == (
        "warning: p.json: the profile was made for the program 'mcts' and is used for "
        "'self-consistency'; calibrate for it"
    )
