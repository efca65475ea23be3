"""`dynasor profile`, and `dynasor evaluate --profile`, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

from toys.profiles import profile
from toys.recorded import line, write
from toys.refusals import refused


def test_in_plain_words(command):
    """The summary names the policy, what it was made for, and what it was measured to do."""
    profile().write(Path("p.json"))
    code, out, err = command("profile", "p.json")
    assert (code, err) == (0, "")
    for part in ("sums (math) on toy", "beta with the lock", "confidence=0.9", "tokens saved"):
        assert part in out


def test_for_machines(command):
    """--json prints the profile as it is written."""
    profile().write(Path("p.json"))
    _, out, _ = command("profile", "p.json", "--json")
    assert json.loads(out) == json.loads(Path("p.json").read_text())


def test_no_profile(command):
    """A file that is none is one line."""
    Path("p.json").write_text("{}")
    refused(command("profile", "p.json"), "p.json", "is no profile")


def test_evaluated(command):
    """A profile is a row of an evaluation at its own cap, with a warning where it does not fit."""
    profile(cap=8).write(Path("p.json"))
    write(Path("t.jsonl"), line("a", ["1"] * 8), line("b", ["1", "2"] * 4))
    options = ("--profile", "p.json", "-p", "esc", "--seeds", "2")
    code, out, err = command("evaluate", "t.jsonl", *options)
    assert code == 0
    assert "cap 8, 1 in flight" in out
    assert "\nthe profile's" in out
    assert "made for the model 'toy' and is used for 'm'" in err
