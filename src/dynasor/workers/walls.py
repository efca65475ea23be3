"""The walls around an untrusted program, from the outside in.

Namespaces (no network, no other process in sight) and Landlock (no file but the interpreter's own,
nothing to write, nothing to execute) where the kernel permits them; resource limits; an audit hook
that lets through what a computation needs and refuses everything else. Loaded by
`dynasor.workers.cell` in the sandbox's process: it imports the standard library only.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

__all__ = ["Refused", "Watch", "confine", "disarm", "raise_walls", "watcher"]

Watch = Callable[[str, tuple[Any, ...]], None]
"""An audit hook: takes an event's name and its arguments."""

MOST_OPEN_FILES = 32
# Threads count too.
MOST_PROCESSES = 64
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Everything that a computation raises. What is not listed is refused: files, processes, sockets,
# signals, ctypes, tracing, a look at all objects.
HARMLESS = frozenset(
    "builtins.id builtins.input builtins.input/result compile exec array.__new__ code.__new__ "
    "function.__new__ "
    "marshal.dumps marshal.load marshal.loads object.__delattr__ object.__getattr__ "
    "object.__setattr__ os.putenv os.unsetenv pickle.find_class sys._getframe "
    "sys._getframemodulename sys.excepthook "
    "sys.set_asyncgen_hooks_finalizer sys.set_asyncgen_hooks_firstiter sys.unraisablehook "
    "time.sleep _thread.start_joinable_thread _thread.start_new_thread".split()
)
# They start processes, or reach into memory, without a word to the hook.
BANNED_MODULES = frozenset("_ctypes _posixsubprocess _testcapi _testinternalcapi ctypes".split())

LISTING = frozenset(("os.listdir", "os.scandir"))

# <linux/sched.h>: new user, network, process and System V IPC namespaces
NAMESPACES = 0x10000000 | 0x40000000 | 0x20000000 | 0x08000000
# <linux/prctl.h>
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
# <linux/landlock.h>; the numbers of the calls are the same on all but two old architectures
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
LANDLOCK_READ = 1 << 2 | 1 << 3
# All rights to files and folders, to TCP and to scopes, by the version that brought them.
LANDLOCK_FILES = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
LANDLOCK_NETWORK_SINCE, LANDLOCK_SCOPES_SINCE = 4, 6
# Extension modules of the standard library are linked against the system's libraries.
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")


class Refused(PermissionError):
    """A program did something that the sandbox does not let it do."""


def confine(cpu_seconds: int, memory_bytes: int, is_alone: bool) -> None:
    """Lower the limits of this process for good.

    The number of processes is limited in a namespace of its own only: elsewhere it counts all
    processes of the user. Root is exempt from it.
    """
    _lower(resource.RLIMIT_CPU, cpu_seconds)
    _lower(resource.RLIMIT_AS, memory_bytes)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, MOST_OPEN_FILES)
    if is_alone:
        _lower(resource.RLIMIT_NPROC, MOST_PROCESSES)


def _lower(kind: int, value: int) -> None:
    with suppress(ValueError, OSError):  # macOS refuses some
        _, hard = resource.getrlimit(kind)
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (lowered, lowered))


def disarm() -> None:
    """Take from the standard library its way to start processes without a word to the hook.

    What imports it in passing, as asyncio and subprocess do, still loads.
    """

    def fork_exec(*_: object) -> None:
        raise Refused("starting processes is not allowed in the sandbox")

    import_module("_posixsubprocess").fork_exec = fork_exec  # type: ignore[attr-defined]


def watcher(roots: tuple[str, ...]) -> Watch:
    """Return an audit hook that lets a program compute, and import what lies under `roots`.

    A program that catches a refusal can reach the hook's frame through the traceback, and from
    there the module's globals, the local variables and the cells of a closure. So the hook uses no
    global and no cell, and has nothing in its variables that could be changed.
    """
    tools = (roots, HARMLESS, LISTING, BANNED_MODULES, WRITING)
    kinds = (type, str, int, Refused)

    def watch(event: str, args: tuple[Any, ...], tools: Any = tools, kinds: Any = kinds) -> None:
        roots, harmless, listing, banned, writing = tools
        kind, text, number, refusal = kinds
        if event in harmless:
            return
        subject = args[0] if args else None
        path = None
        if event == "open":
            if kind(subject) is number:
                return
            path = None if args[2] & writing else subject
        elif event in listing:
            path = subject
        elif event == "import" and kind(subject) is text and subject not in banned:
            path = args[1]
            if path is None:
                return
        if kind(path) is text and f"{path}/".startswith(roots) and "/../" not in f"{path}/":
            return
        what = f"{event} {subject!r}" if kind(subject) is text else event
        raise refusal(f"{what} is not allowed in the sandbox")

    return watch


def raise_walls(roots: tuple[str, ...]) -> tuple[bool, list[str]]:
    """Cut this process off as far as the kernel permits; return whether it is alone, and how.

    Alone means: process 1 of a namespace of its own. The caller goes on in that process.
    """
    if not sys.platform.startswith("linux"):
        return False, []
    with _libc() as call:
        call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        is_alone = call("unshare", NAMESPACES) == 0
        if is_alone:
            _move_inside()
            call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        is_locked = _lock_files(call, roots)
    walls = {"namespaces": is_alone, "landlock": is_locked}
    return is_alone, [name for name, stands in walls.items() if stands]


@contextmanager
def _libc() -> Iterator[Callable[..., int]]:
    """Yield a way to call the C library, and forget ctypes afterwards."""
    import ctypes  # noqa: PLC0415 - to be forgotten

    library = ctypes.CDLL(None)
    try:
        yield lambda name, *args: int(getattr(library, name)(*args))
    finally:
        for name in [name for name in sys.modules if "ctypes" in name]:
            del sys.modules[name]


def _move_inside() -> None:
    """Go on as the first process of the new namespace; the old one waits for it."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        os._exit(1 if status else 0)


def _lock_files(call: Callable[..., int], roots: tuple[str, ...]) -> bool:
    """Forbid with Landlock all use of files but reading the interpreter's own."""
    version = call("syscall", LANDLOCK_CREATE, None, 0, 1)
    if version < 1 or os.uname().machine.startswith(("alpha", "mips")):
        return False
    rights = sum(bits for since, bits in LANDLOCK_FILES.items() if since <= version)
    fields = [rights]
    if version >= LANDLOCK_NETWORK_SINCE:
        fields.append(3)
    if version >= LANDLOCK_SCOPES_SINCE:
        fields.append(3)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = call("syscall", LANDLOCK_CREATE, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    for path in (*roots, f"{sys.base_prefix}/lib", *LIBRARIES):
        with suppress(FileNotFoundError, NotADirectoryError):
            folder = os.open(path, os.O_PATH | os.O_DIRECTORY)
            rule = struct.pack("=Qi", LANDLOCK_READ, folder)
            call("syscall", LANDLOCK_ADD, ruleset, 1, rule, 0)
            os.close(folder)
    is_locked = call("syscall", LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return is_locked
