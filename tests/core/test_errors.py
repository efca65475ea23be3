from __future__ import annotations

import inspect
import pickle

import pytest

from dynasor.core import errors
from dynasor.core.errors import (
    CallFailed,
    ConfigError,
    DynasorError,
    EngineRefused,
    EngineTimeout,
    UnknownName,
)

TREE = {
    name: cls
    for name, cls in vars(errors).items()
    if inspect.isclass(cls) and issubclass(cls, DynasorError)
}


@pytest.mark.parametrize("name", TREE)
def test_tree(name):
    """Every error is exported, stands in the tree of the module's docstring, with its status."""
    assert name in errors.__all__
    lines = [line.split() for line in errors.__doc__.splitlines()]
    lines = [[word for word in line if word.strip("│├└─")] for line in lines]
    assert [name, str(TREE[name].http_status)] in [line[:2] for line in lines]


def test_engine_errors_name_the_address():
    """An engine's error says which engine, and whether another attempt may succeed."""
    error = EngineTimeout("http://a:1", "too late")
    assert str(error) == "engine http://a:1: too late"
    assert error.address == "http://a:1"
    assert error.is_retryable
    assert not EngineRefused("a", "no").is_retryable


def test_unknown_name():
    """An unknown name is answered with all that are known and the nearest, if one is near."""
    assert str(UnknownName("fruit", "aple", {"pear", "apple"})) == (
        "unknown fruit 'aple' (known: apple, pear); did you mean 'apple'?"
    )
    assert "did you mean" not in str(UnknownName("fruit", "zzz", ["pear"]))


def test_unknown_name_of_megabytes():
    """Of a name of absurd length the message says the beginning only, and travels all the same."""
    error = UnknownName("fruit", "pear" * 100_000, ["pear"])
    assert len(str(error)) < 300
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_call_failed():
    """CallFailed says how often it was tried."""
    assert str(CallFailed("c", 3, "EngineTimeout", "too late")) == "too late (call c, 3 attempts)"
    assert str(CallFailed("c", 1, "EngineTimeout", "too late")) == "too late (call c, 1 attempt)"


@pytest.mark.parametrize("name", TREE)
def test_revive(name):
    """An error that travelled as name and message comes back as its class with its message."""
    error = errors.revive(name, "so it went")
    assert type(error) is TREE[name]
    assert str(error) == "so it went"


@pytest.mark.parametrize("name", ["", "NoSuchError", "annotations", "revive", "Exception"])
def test_revive_a_stranger(name):
    """What is no error of the tree comes back as its root."""
    assert type(errors.revive(name, "x")) is DynasorError
    assert isinstance(ConfigError("x"), DynasorError)
