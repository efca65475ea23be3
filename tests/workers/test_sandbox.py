from __future__ import annotations

import asyncio
import gzip
import json
import os
import tempfile
from pathlib import Path

import pytest

from dynasor.core.errors import ConfigError, DynasorError
from dynasor.tasks.code import assertions
from dynasor.workers import Limits, Outcome, Sandbox, Status, Workers, sandbox

TRACES = Path(os.environ.get("DYNASOR_TRACES") or Path(__file__).parents[3] / "shared" / "traces")
HUMANEVAL = TRACES / "humaneval-codegen16b.jsonl.gz"
PROCESSES = Path("/proc")

LIMITS = Limits(seconds=10.0, cpu_seconds=0.5, memory_bytes=256 * 2**20)
QUESTION = "def double(x):\n"
REFERENCE = "assert double(2) == 4\nassert double(-1) == -2\n"

REFUSED = [
    "open('x', 'w')",
    "open('/tmp/dynasor-test', 'a')",
    "open('/etc/passwd')",
    "open(b'/etc/passwd')",
    "import os; os.open('/etc/passwd', os.O_RDONLY)",
    "import os; open(os.__file__, 'r+')",
    "import os; open(os.path.dirname(os.__file__) + '/../../../etc/passwd')",
    "import io; io.FileIO('/etc/passwd')",
    "import pathlib; pathlib.Path('/etc/passwd').read_text()",
    "import os; os.listdir('/')",
    "import os; os.mkdir('x')",
    "import os; os.remove('x')",
    "import os; os.rename('x', 'y')",
    "import os; os.chmod('.', 0o777)",
    "import os; os.symlink('/', 'x')",
    "import os; os.chdir('/')",
    "import os; os.fork()",
    "import os; os.system('true')",
    "import os; os.execv('/bin/true', ['true'])",
    "import os; os.posix_spawn('/bin/true', ['true'], {})",
    "import os; os.kill(os.getppid(), 9)",
    "import os; os.killpg(0, 9)",
    "import subprocess; subprocess.run(['true'])",
    "import multiprocessing as m; m.get_context('fork').Process(target=print).start()",
    "import socket; socket.socket()",
    "import socket; socket.create_connection(('127.0.0.1', 9))",
    "import socket; socket.getaddrinfo('localhost', 80)",
    "import urllib.request as u; u.urlopen('http://127.0.0.1:9')",
    "import ctypes",
    "import _ctypes",
    "import sys; sys.modules.pop('_posixsubprocess', None); import _posixsubprocess",
    "import sys; sys.settrace(print)",
    "import gc; gc.get_objects()",
    "import mmap; mmap.mmap(-1, 10)",
    "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))",
    "import sqlite3; sqlite3.connect('x')",
]

# Replaces whatever the hook's frame gives access to.
TAMPERING = """
try:
    open('/etc/passwd')
except PermissionError as error:
    frame = error.__traceback__.tb_next.tb_frame
    for names in (frame.f_globals, frame.f_builtins, frame.f_locals):
        for name in list(names):
            names[name] = lambda *_: True
open('/etc/passwd')
"""


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A sandbox with narrow limits whose folders are made, and must be gone, in one place."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield Sandbox(LIMITS, is_allowed=True)
    assert list(tmp_path.iterdir()) == []
    assert descendants() == []


def can_look():
    return PROCESSES.exists()


def descendants():
    """The processes that run a sandbox's cell and were started by this one or what it started."""
    found = []
    for folder in PROCESSES.glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            where = (folder / "cwd").readlink()
        except OSError:
            continue
        if b"dynasor.workers.cell" in command and state != "Z":
            found.append((folder.name, str(where)))
    mine = str(tempfile.gettempdir())
    return [one for one in found if one[1].startswith(mine)]


def test_nothing_runs_without_consent():
    """A sandbox cannot be made without consent, and the error says how to give it."""
    with pytest.raises(ConfigError, match="--run-code"):
        Sandbox(LIMITS, is_allowed=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seconds", 0.0), ("cpu_seconds", float("nan")), ("seconds", float("inf")),
     ("memory_bytes", 1_000)],
)  # fmt: skip
def test_refuses_impossible_limits(name, value):
    """A limit out of range is refused by name."""
    with pytest.raises(ConfigError, match=name):
        Limits(**{name: value})


def test_refuses_no_processes():
    """At least one process must be allowed."""
    with pytest.raises(ConfigError, match="processes is 0"):
        Sandbox(is_allowed=True, processes=0)


@pytest.mark.process
class TestGrading:
    async def test_right_and_wrong(self, box):
        """An answer passes when the reference program comes to its end."""
        right = await box.grade(QUESTION, "    return x + x", REFERENCE)
        wrong = await box.grade(QUESTION, "    return x * x", REFERENCE)
        whole = await box.grade(QUESTION, "def double(x):\n    return 2 * x", REFERENCE)
        broken = await box.grade(QUESTION, "    return (x", REFERENCE)
        assert right == whole == Outcome(Status.PASSED)
        assert right.is_passed
        assert wrong == Outcome(Status.FAILED, "AssertionError")
        assert broken.status is Status.FAILED
        assert broken.detail.startswith("SyntaxError")

    @pytest.mark.parametrize(
        "answer",
        [
            "    import sys; sys.exit(0)",
            "    import os; os._exit(0)",
            "    raise SystemExit",
            "    return 1\nraise SystemExit(0)",
            "    return 1\nimport atexit, sys\natexit.register(sys.exit, 0)",
            "    return 1\nimport os, atexit\natexit.register(os._exit, 0)",
            "    return 1\nexit()",
            "    return 1\nimport os\nos.close(1)\nos._exit(0)",
        ],
    )
    async def test_ending_is_not_passing(self, answer, box):
        """An answer that ends the process, now or later, has not passed."""
        assert (await box.grade(QUESTION, answer, REFERENCE)).status is Status.FAILED

    async def test_a_forged_report_is_not_passing(self, box):
        """What a program writes to any descriptor is not taken for the report."""
        forged = (
            "    import os\n    for one in range(30):\n        try:\n"
            '            os.write(one, b\'\\nready\\n["passed", ""]\\n\')\n'
            "            os.write(one, b'\\n' + b'0' * 32 + b'[\"passed\", \"\"]\\n')\n"
            "        except OSError:\n            pass\n    os._exit(0)\n"
        )
        assert (await box.grade(QUESTION, forged, REFERENCE)).status is Status.FAILED

    async def test_exit_handlers_do_not_spoil_a_pass(self, box):
        """Nothing of the program runs after the reference has come to its end."""
        answer = (
            "    return x + x\nimport atexit, sys, threading, time\natexit.register(sys.exit, 1)\n"
        )
        answer += "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        assert await box.grade(QUESTION, answer, REFERENCE) == Outcome(Status.PASSED)

    async def test_the_reference_cannot_be_swallowed(self, box):
        """An answer whose end is left open does not take the reference in."""
        for end in ("\n'''", "\nif 0:\n    '''", "\\"):
            outcome = await box.grade(QUESTION, f"    return 1{end}", REFERENCE)
            assert outcome.status is Status.FAILED

    async def test_many_answers(self, box):
        """Many answers are graded in one process, no answer fails, and none spoils another."""
        answers = [None, "    return 2 * x", "    while 1: pass", "    return 2 * x"]
        answers += ["    double.__globals__['__builtins__'].clear()", "    return x << 1"]
        outcomes = await box.grade_many(QUESTION, answers, REFERENCE)
        assert [one.status.value for one in outcomes] == [
            "failed", "passed", "timeout", "passed", "failed", "passed",
        ]  # fmt: skip
        assert outcomes[0].detail == "no answer"
        assert await box.grade_many(QUESTION, [], REFERENCE) == []
        assert await box.grade_many(QUESTION, [None], REFERENCE) == outcomes[:1]

    async def test_workers_grade_code_in_the_sandbox(self, box):
        """Workers run programs in the sandbox they were given, and without one refuse to."""
        async with Workers(sandbox=box) as workers:
            assert await workers.grade("code", QUESTION, "    return x + x", REFERENCE)
            assert not await workers.grade("code", QUESTION, "    return x", REFERENCE)
            assert not await workers.grade("code", QUESTION, None, REFERENCE)
        async with Workers() as workers:
            with pytest.raises(ConfigError, match="--run-code"):
                await workers.grade("code", QUESTION, "    return x + x", REFERENCE)


@pytest.mark.process
class TestLimits:
    @pytest.mark.parametrize(
        "source",
        [
            "while True: pass",
            "9 ** 9 ** 9",
            "try:\n    while True: pass\nexcept BaseException: pass",
            "import os\nos.closerange(0, 64)\nwhile True: pass",
        ],
    )
    async def test_endless_programs_run_out_of_time(self, source, box):
        """Processor time ends a program, whatever code it is stuck in."""
        assert (await box.run(source)).status is Status.TIMEOUT

    async def test_waiting_programs_run_out_of_time(self, box, monkeypatch):
        """Wall time ends a program that waits, also where it has silenced its timer."""
        monkeypatch.setattr(sandbox, "GRACE_SECONDS", 0.2)
        patient = Sandbox(Limits(seconds=0.2), is_allowed=True)
        silenced = "import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
        waiting = ["import time\ntime.sleep(60)", silenced + "time.sleep(60)"]
        for source in [*waiting, "import threading\nthreading.Event().wait()"]:
            assert (await patient.run(source)).status is Status.TIMEOUT
        outcomes = await patient.grade_many("", [*waiting, "x = 1"], "")
        assert [one.status.value for one in outcomes] == ["timeout", "timeout", "passed"]

    async def test_silenced_timers_do_not_help(self, box):
        """The process's own limit ends a program that blocks every signal."""
        source = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        assert (await box.run(source + "while True: pass")).status is Status.TIMEOUT

    @pytest.mark.parametrize(
        "source",
        [
            "bytearray(10**10)",
            "kept = []\nwhile True: kept.append(bytearray(10**6))",
            "text = 'x'\nwhile True: text += text",
        ],
    )
    async def test_memory(self, source, box):
        """A program that wants more memory than the limit does not get it."""
        small = Sandbox(Limits(memory_bytes=128 * 2**20), is_allowed=True)
        assert (await small.run(source)).status is Status.MEMORY

    async def test_output_goes_nowhere(self, box):
        """A program may print as much as it has time for."""
        assert (await box.run("for _ in range(10**4): print('x' * 10**4)")).is_passed
        endless = await box.run("while True: print('x' * 10**6)")
        assert endless.status is Status.TIMEOUT

    async def test_input_is_empty(self, box):
        """A program that asks for input is at its end."""
        assert (await box.run("input()")).detail.startswith("EOFError")

    async def test_recursion(self, box):
        """Endless recursion fails, and a broken interpreter is a failure too."""
        deep = "def f(): return f()\nf()"
        assert (await box.run(deep)).detail.startswith("RecursionError")
        deeper = await box.run(f"import sys\nsys.setrecursionlimit(10**9)\n{deep}")
        assert deeper.status in (Status.CRASHED, Status.TIMEOUT, Status.MEMORY, Status.FAILED)

    @pytest.mark.parametrize("source", ["x = '\0'", "x = \ud800", "(" * 10**5, "\\", "return"])
    async def test_odd_text(self, source, box):
        """No text breaks the sandbox."""
        assert (await box.run(source)).status is Status.FAILED

    async def test_details_are_one_short_line(self, box):
        """The text of a program's own error is cut, cleaned and survives being hostile."""
        long = await box.run("raise ValueError('\\n\\0\\x1b[31m\\ud800é' * 10**5)")
        assert long.detail == "ValueError"
        wide = await box.run("raise ValueError('\\x1b\\ud800é' * 10**5)")
        assert len(wide.detail) <= 200
        assert wide.detail.isprintable()
        silent = "class E(Exception):\n    def __str__(self): raise KeyError\nraise E"
        assert (await box.run(silent)).detail == "an error without a text"


@pytest.mark.process
class TestWalls:
    async def test_what_is_refused(self, box):
        """Files, processes, signals, sockets and ways round the hook are refused by name."""
        outcomes = await box.grade_many("", REFUSED, "")
        passed = {
            source: outcome
            for source, outcome in zip(REFUSED, outcomes, strict=True)
            if outcome.status is not Status.REFUSED
            or "is not allowed in the sandbox" not in outcome.detail
        }
        assert passed == {}

    @pytest.mark.parametrize(
        "source",
        [
            "class P(str): pass\nopen(P('/etc/passwd'))",
            "import sys\nfor m in list(sys.modules): del sys.modules[m]\nopen('/etc/passwd')",
            "import builtins\nbuiltins.type = builtins.PermissionError = len\nopen('/etc/passwd')",
            TAMPERING,
        ],
    )
    async def test_the_hook_cannot_be_talked_round(self, source, box):
        """Subclasses, and changes to modules, builtins and the hook's own frame, do not help."""
        outcome = await box.run(f"{source}\nopened = 1")
        assert outcome.status in (Status.REFUSED, Status.FAILED, Status.CRASHED)

    async def test_a_fork_bomb(self, box):
        """A program that multiplies is refused at its first fork."""
        bomb = await box.run("import os\nwhile True:\n    os.fork()")
        assert bomb.status is Status.REFUSED

    async def test_what_a_computation_needs_is_there(self, box):
        """The standard library loads, and threads, dataclasses and hashes work."""
        source = (
            "import asyncio, collections, decimal, email, heapq, json, logging, multiprocessing\n"
            "import subprocess, unittest, urllib.request, xml.etree.ElementTree, zoneinfo\n"
            "import dataclasses, datetime, enum, hashlib, math, random, re, threading, typing\n"
            "@dataclasses.dataclass\nclass A:\n    x: 'int' = 0\n"
            "class C(enum.Enum):\n    R = 1\n"
            "T = typing.NamedTuple('T', [('x', int)])\n"
            "seen = []\nt = threading.Thread(target=seen.append, args=(1,))\nt.start(); t.join()\n"
            "assert seen == [1] and A(1) == A(1) and T(1).x == 1 and C(1) is C.R\n"
            "assert hashlib.md5(b'').hexdigest().startswith('d41d8')\n"
            "assert datetime.datetime.strptime('2020', '%Y').year == 2020\n"
        )
        assert await box.run(source) == Outcome(Status.PASSED)

    async def test_threads(self, box):
        """Twenty threads fit into the limits of memory and processes."""
        source = (
            "import threading, time\nthreads = [threading.Thread(target=time.sleep, args=(0.1,))"
        )
        source += " for _ in range(20)]\nfor one in threads: one.start()\n"
        assert await box.run(source) == Outcome(Status.PASSED)

    async def test_without_the_kernel(self, box, monkeypatch):
        """Where the kernel lends no walls, hook and limits hold, and cancelling kills all."""
        bare = (
            "import dynasor.workers.cell as cell\ncell.raise_walls = lambda _: (False, [])\nmain()"
        )
        monkeypatch.setattr(sandbox, "_START", sandbox._START.replace("main()", bare))
        assert (await box.run("open('/etc/passwd')")).status is Status.REFUSED
        assert box.walls == ()
        assert (await box.run("while True: pass")).status is Status.TIMEOUT
        assert await box.grade(QUESTION, "    return 2 * x", REFERENCE) == Outcome(Status.PASSED)
        running = asyncio.create_task(box.run("import time\ntime.sleep(60)"))
        await asyncio.sleep(0)
        while can_look() and len(descendants()) < 2:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert descendants() == []

    async def test_the_environment_is_empty(self, box, monkeypatch):
        """A program sees neither the environment nor installed packages, and an empty folder."""
        monkeypatch.setenv("SECRET_TOKEN", "secret")
        source = "import os, sys\nassert 'SECRET_TOKEN' not in os.environ\n"
        source += "assert not any('site-packages' in one for one in sys.path)\n"
        source += "assert 'dynasor' in os.getcwd()\n"
        assert await box.run(source) == Outcome(Status.PASSED)
        assert (await box.run("import msgspec")).status is Status.FAILED

    async def test_verdicts_repeat(self, box):
        """Hashes and random numbers are the same in every run."""
        source = (
            "import random\nx = (random.random(), tuple({'a', 'b', 'c', 'd', 'e'}))\nassert 0, x"
        )
        assert await box.run(source) == await box.run(source)


@pytest.mark.process
class TestAgreement:
    async def test_equal_signatures(self, box):
        """Answers that pass the same tests of the model's own are one class."""
        tests = ["assert double(1) == 2", "assert double(", "assert double(3) == 7", "double('a')"]
        answers = ["    return x + x", "    return 2 * x", None, "    return x + 1", "    return ("]
        assert await box.agree(QUESTION, answers, tests) == [
            (True, False, True),
            (True, False, True),
            (False, False, False),
            (True, False, False),
            (False, False, False),
        ]

    async def test_a_stuck_test_fails_alone(self, box):
        """The tests after one that hangs, or ends the process, run in a fresh one."""
        answer = "    if x == 1:\n        while True: pass\n    if x == 2:\n        exit(1)\n"
        answer += "    if x == 3:\n        import os; os._exit(0)\n    return 2 * x"
        tests = [f"assert double({x}) == {2 * x}" for x in range(5)]
        assert await box.agree(QUESTION, [answer], tests) == [(True, False, False, False, True)]

    async def test_three_stuck_tests_are_enough(self, box):
        """An answer that is stuck everywhere costs three limits, not one for each test."""
        tests = [f"double({x})" for x in range(50)] + ["pass"]
        stuck = await box.agree(QUESTION, ["    import os; os._exit(0)"], tests)
        assert stuck == [(False,) * 51]

    async def test_no_tests(self, box):
        """Without a test that parses, all answers agree and nothing is run."""
        assert await box.agree(QUESTION, ["    return 1", None], ["assert ("]) == [(), ()]
        assert box.walls is None


@pytest.mark.process
class TestEnds:
    async def test_cancelling_kills(self, box):
        """A cancelled call leaves no process and no folder, and the next one works."""
        for is_started in (False, True):
            running = asyncio.create_task(box.run("import time\ntime.sleep(60)"))
            await asyncio.sleep(0)
            while is_started and can_look() and not descendants():
                await asyncio.sleep(0.01)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert descendants() == []
        assert (await box.run("x = 1")).is_passed

    async def test_an_interpreter_that_does_not_start(self, box, monkeypatch):
        """A process that never comes up is an error that names the interpreter, no verdict."""
        monkeypatch.setattr(sandbox, "_START", "raise SystemExit")
        with pytest.raises(DynasorError, match="does not start"):
            await box.run("x = 1")

    async def test_processes_are_bounded(self, box):
        """Calls wait for one another, and each gets its own outcome."""
        shared = Sandbox(LIMITS, is_allowed=True, processes=2)
        runs = [shared.run(f"assert {number} % 2") for number in range(6)]
        assert [one.is_passed for one in await asyncio.gather(*runs)] == [False, True] * 3


@pytest.mark.process
@pytest.mark.slow
async def test_recorded_completions(box):
    """Recorded completions are graded, their reference solutions pass, and tests agree."""
    if not HUMANEVAL.exists():
        pytest.skip(f"no recorded completions in {HUMANEVAL}")
    passed = 0
    with gzip.open(HUMANEVAL, "rt") as lines:
        for _, line in zip(range(5), lines, strict=False):
            item = json.loads(line)
            reference = f"{item['test']}\ncheck({item['entry_point']})\n"
            answers = [item["gold"], *(sample["text"] for sample in item["samples"][:5])]
            first, *outcomes = await box.grade_many(item["question"], answers, reference)
            assert first.is_passed
            passed += sum(one.is_passed for one in outcomes)
            tests = assertions("\nassert ".join(item["generated_tests"]), item["entry_point"])
            signatures = await box.agree(item["question"], answers, tests)
            assert {len(one) for one in signatures} == {len(tests)}
    assert 0 < passed < 25
