"""The limit of open files, in a process of its own and on a system that says infinity."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from dynasor.cli.open_files import ENOUGH, raise_open_files

PROGRAM = """
import resource
from dynasor.cli.open_files import raise_open_files
hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 512)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
raise_open_files()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
"""


def test_as_far_as_it_goes():
    """The soft limit becomes the hard one."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)


@pytest.mark.parametrize(
    ("soft", "wanted"), [(256, [ENOUGH]), (ENOUGH + 1, []), (resource.RLIM_INFINITY, [])]
)
def test_infinity(monkeypatch, soft, wanted):
    """A hard limit without end is no soft one: enough is asked for, and nothing is lowered."""
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    raise_open_files()
    assert asked == [(one, resource.RLIM_INFINITY) for one in wanted]
