from __future__ import annotations

import asyncio
import os
import sys

import pytest

from dynasor.workers import sandbox
from dynasor.workers.walls import Refused, watcher

# What runs behind the kernel's walls alone: no audit hook, no limits.
UNHOOKED = """
import os, sys, types
for name, folder in zip(("dynasor", "dynasor.workers"), sys.argv[2:]):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from dynasor.workers.walls import raise_walls
is_alone, walls = raise_walls(tuple(f"{one}/" for one in sys.path))
try:
    assert len(walls) == 2, "walls are missing"
    exec(sys.argv[1])
except BaseException as error:
    print(str(error) if type(error) is AssertionError else type(error).__name__)
else:
    print("nothing")
"""


@pytest.fixture
def watch():
    return watcher(("/library/",))


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("open", ("/library/os.py", "r", os.O_RDONLY | os.O_CLOEXEC)),
        ("open", (3, "w", os.O_WRONLY)),
        ("os.listdir", ("/library",)),
        ("os.scandir", ("/library/json",)),
        ("import", ("json", None, [], [], [])),
        ("import", ("_json", "/library/_json.so", [], [], [])),
        ("compile", (b"1", "<program>")),
        ("object.__setattr__", (print, "__defaults__", ())),
    ],
)
def test_a_computation_may_go_on(watch, event, args):
    """Reading and loading the library, and compiling, pass."""
    watch(event, args)


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("open", ("/library/os.py", "w", os.O_WRONLY)),
        ("open", ("/library/os.py", None, os.O_RDWR)),
        ("open", ("/library/os.py", None, os.O_RDONLY | os.O_CREAT)),
        ("open", ("/library/../etc/passwd", "r", 0)),
        ("open", ("/library/..", "r", 0)),
        ("open", ("/libraryx", "r", 0)),
        ("open", ("os.py", "r", 0)),
        ("open", (b"/library/os.py", "r", 0)),
        ("open", (True, "r", 0)),
        ("os.listdir", ("/",)),
        ("os.listdir", (None,)),
        ("import", ("ctypes", None, [], [], [])),
        ("import", ("mine", "/tmp/mine.so", [], [], [])),
        ("import", (bytearray(b"os"), None, [], [], [])),
        ("os.remove", ("/library/os.py", -1)),
        ("an.event.of.tomorrow", ()),
    ],
)
def test_everything_else_is_refused(watch, event, args):
    """Other paths, ways to write, kinds of argument and events are refused by name."""
    with pytest.raises(Refused, match=rf"{event}.* is not allowed"):
        watch(event, args)


def test_a_refusal_is_a_lack_of_permission(watch):
    """Programs that handle errors of the system handle refusals too."""
    with pytest.raises(PermissionError):
        watch("socket.__new__", ())


@pytest.mark.process
@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("open('/etc/passwd')", "PermissionError"),
        ("open('made', 'w')", "PermissionError"),
        ("os.mkdir('made')", "PermissionError"),
        ("os.kill(2, 0)", "ProcessLookupError"),
        ("os.execv('/bin/true', ['true'])", "PermissionError"),
        ("import socket; socket.socket(type=2).connect(('192.0.2.1', 9))", "OSError"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "PermissionError"),
        ("assert os.getpid() == 1 and not any('ctypes' in one for one in sys.modules)", "nothing"),
        ("import colorsys", "nothing"),
    ],
)
async def test_the_kernel_stands_behind_the_hook(source, error, tmp_path):
    """Without the hook, the kernel still denies files, network and other processes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-ISB", "-c", UNHOOKED, source, *sandbox._FOLDERS),
        stdout=asyncio.subprocess.PIPE,
        cwd=tmp_path,
    )
    out, _ = await process.communicate()
    if out.strip() == b"walls are missing":
        pytest.skip("the kernel lends no namespaces or no Landlock here")
    assert out.decode().strip() == error
