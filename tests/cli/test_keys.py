"""`dynasor keys`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dynasor.gateway.keys import Keys


def test_add(command):
    """A new key's secret is printed once, opens the gate, and stands in no file."""
    code, out, err = command("keys", "add", "keys.jsonl", "app", "--tokens", "1000")
    secret = out.strip()
    assert (code, err) == (0, "")
    found = Keys.load(Path("keys.jsonl")).find(secret)
    assert (found.name, found.tokens, found.period) == ("app", 1000, "day")
    assert secret not in Path("keys.jsonl").read_text()


def test_list(command):
    """A list has names and limits, and never a hash."""
    command("keys", "add", "k", "app", "--weight", "2", "--concurrency", "8")
    command("keys", "add", "k", "batch", "--tokens", "5000000", "--period", "week", "--operator")
    code, out, err = command("keys", "list", "k")
    assert (code, err) == (0, "")
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert rows == [
        "name weight concurrency tokens operator",
        "app 2 8 any no",
        "batch 1 any 5,000,000 a week yes",
    ]
    found = json.loads(command("keys", "list", "k", "--json")[1])
    assert [one["name"] for one in found] == ["app", "batch"]
    assert found[0] == {
        "name": "app",
        "weight": 2.0,
        "concurrency": 8,
        "tokens": None,
        "period": "day",
        "operator": False,
    }


def test_remove(command):
    """A key that was removed is gone; the others stay."""
    secrets = [command("keys", "add", "k", name)[1].strip() for name in ("app", "batch")]
    assert command("keys", "remove", "k", "app") == (0, "", "")
    keys = Keys.load(Path("k"))
    assert [keys.find(secret) is None for secret in secrets] == [True, False]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("add", "k", "app"), "has a key 'app' already"),
        (("add", "k", "a b"), "key 'a b' cannot be made"),
        (("add", "k", "b", "--weight", "0"), "key 'b' cannot be made"),
        (("add", "k", "b", "--period", "year"), "--period is 'year'; choose one of minute, "),
        (("remove", "k", "apq"), "'apq' (known: app); did you mean 'app'?"),
        (("remove", "none", "app"), "keys file none cannot be read: No such file"),
        (("list", "none"), "keys file none cannot be read: No such file"),
    ],
)
def test_mistakes(command, given, message):
    """What cannot be done is one line and changes nothing."""
    command("keys", "add", "k", "app")
    before = Path("k").read_bytes()
    code, out, err = command("keys", *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert Path("k").read_bytes() == before
    assert not Path("none").exists()
