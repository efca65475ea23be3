"""What other packages bring along: real distributions on the path, written for the test."""

from __future__ import annotations

import importlib
import sys

import pytest
from toys.recorded import recorded

from dynasor.core.allocation import Even, make_policy
from dynasor.core.errors import ConfigError
from dynasor.core.types import PolicySpec
from dynasor.evaluate.replay import Job, replay
from dynasor.installed import KINDS, installed
from dynasor.wiring import make_catalog

MODULE = """
from msgspec import Struct
from dynasor.core.allocation import Grant, Stop
from dynasor.core.ordering import AppFifo
from dynasor.programs import SelfConsistency
from dynasor.tasks import OpenTask

class Mine(Struct, frozen=True):
    branches: int = 3

    def decide(self, view):
        done = view.knob >= min(self.branches, view.cap)
        return Stop("mine") if done else Grant(max(0, self.branches - view.granted))

class MyProgram(SelfConsistency):
    name = "my-program"

class MyOrdering(AppFifo):
    pass

class MyTask(OpenTask):
    name = "my-task"
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with these entry points on the path; its module is called `<name>_mod`."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = []

    def make(name, points, text=MODULE):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        (tmp_path / f"{name}_mod.py").write_text(text)
        modules.append(f"{name}_mod")
        importlib.invalidate_caches()

    yield make
    for module in modules:
        sys.modules.pop(module, None)


def test_by_name(install):
    """What a package registers, of each kind, is there by name."""
    install(
        "x",
        "[dynasor.policies]\nmine = x_mod:Mine\n"
        "[dynasor.programs]\nmy-program = x_mod:MyProgram\n"
        "[dynasor.orderings]\nmy-ordering = x_mod:MyOrdering\n"
        "[dynasor.tasks]\nmy-task = x_mod:MyTask\n",
    )
    catalog = make_catalog()
    policy = make_policy(PolicySpec("mine", {"branches": 2}, has_lock=False), catalog.policies)
    assert policy.branches == 2
    assert catalog.programs["my-program"].name == "my-program"
    assert "my-ordering" in catalog.orderings
    assert catalog.tasks["my-task"].name == "my-task"
    assert "even" in catalog.policies


def test_in_a_replay(install):
    """What is installed also works offline."""
    install("x", "[dynasor.policies]\nmine = x_mod:Mine\n")
    found = replay([recorded("abcd")], Job(PolicySpec("mine", has_lock=False), 4), 0)
    assert found.knob.tolist() == [3]


def test_ones_own_is_stronger(install):
    """What a user passes wins over what is installed."""
    install("x", "[dynasor.policies]\nmine = x_mod:Mine\n")
    assert make_catalog(extra_policies={"mine": Even}).policies["mine"] is Even


@pytest.mark.parametrize("kind", KINDS)
def test_nothing(kind):
    """Where nothing is installed nothing is found."""
    assert installed(kind) == {}


@pytest.mark.parametrize(
    ("target", "text", "match"),
    [
        ("x_mod:Mine", "raise ValueError('boo')", "ValueError: boo"),
        ("x_mod:Mine", "import no_such_module", "ModuleNotFoundError: .*no_such_module"),
        ("x_mod:Absent", MODULE, "AttributeError: .*Absent"),
        ("no_such_module:Mine", MODULE, "ModuleNotFoundError"),
    ],
)
def test_broken(install, target, text, match):
    """What cannot be loaded is one line that names the package."""
    install("x", f"[dynasor.policies]\nmine = {target}\n", text)
    line = f"'mine' in dynasor.policies of x cannot be loaded: {match}"
    with pytest.raises(ConfigError, match=line) as caught:
        make_catalog()
    assert "\n" not in str(caught.value)


def test_same_name(install):
    """A name that two packages use is one line that names both."""
    install("x", "[dynasor.policies]\nmine = x_mod:Mine\n")
    install("y", "[dynasor.policies]\nmine = y_mod:Mine\n")
    with pytest.raises(ConfigError, match="both register 'mine' in dynasor.policies") as caught:
        installed("policies")
    assert "x and y" in str(caught.value) or "y and x" in str(caught.value)
