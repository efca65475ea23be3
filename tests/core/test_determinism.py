"""The same events give the same commands in the same order, in any process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest
from toys.stage import catalog, in_order, toy
from toys.words import compare

from dynasor.core.commands import Submit
from dynasor.core.events import Arrived, Configured, Event, Observed, PoolChanged, Withdrew
from dynasor.core.program import Sample
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import (
    Generate,
    Generated,
    PolicySpec,
    ProgramSpec,
    Prompt,
    Replica,
    Sampling,
    Usage,
)
from dynasor.sim import Outcome, SimpleEngine, VirtualHost

POLICIES = [
    PolicySpec("even", {}, False),
    PolicySpec("even", {"in_flight": 2}),
    PolicySpec("threshold", {"detect": 3}),
    PolicySpec("stepwise", {"every": 2, "in_flight": 2}),
    PolicySpec("beta", {"speculative": 3}),
    PolicySpec("shadow", {"policy": "threshold"}),
    PolicySpec("beta", {"x": 1}),
    PolicySpec("none such"),
]


def dice(self, context):
    """A program whose calls show its random numbers."""
    random = context.random("dice")
    for _ in range(3):
        yield Sample(Generate(Prompt(()), Sampling(seed=int(random.random() * 2**31))))


def make(seed):
    return Scheduler(in_order("gang", 3.0, seed=seed), catalog(toy(dice, "dice")))


def busy_day(seed=5):
    """A host whose log holds programs, failures, withdrawals, deadlines, pools that change."""
    random = Random(seed)

    def model(call, attempt):
        tokens = random.randint(1, 40)
        if random.random() < 0.1:
            kind = random.choice(["EngineTimeout", "EngineUnreachable", "EngineRefused"])
            return Outcome(None, tokens, kind, "boo", kind != "EngineRefused")
        word = random.choice(["aa", "AA", "bb", "Bb", "ccc", "none"])
        return Outcome(Generated(f"so {word}", Usage(5, tokens)), tokens)

    host = VirtualHost(make(seed), model, compare, has_log=True)
    host.add_pool("generate", {"a": SimpleEngine(4, 20.0), "b": SimpleEngine(3, 30.0)})
    for number in range(30):
        params = {"question": "q", "task": "words", "cap": random.randint(1, 12)}
        policy = random.choice(POLICIES)
        deadline = random.choice([None, None, 3.0, 20.0, -1.0])
        spec = ProgramSpec(random.choice(["self-consistency"] * 5 + ["dice"]), params)
        at = random.random() * 20
        arrived = Arrived(
            f"p{number}", spec, policy, random.choice("vw"), random.choice("tu"), deadline
        )
        host.at(at, arrived)
        if random.random() < 0.3:
            host.at(at + random.random() * 2, Withdrew(f"p{number}"))
    one = (Replica("a", 4),)
    host.at(6.0, PoolChanged("generate", one))
    host.at(9.0, PoolChanged("generate", (*one, Replica("b", 3))))
    learnt = (Replica("a", 4, is_learnt=True), Replica("b", 3, is_draining=True))
    host.at(10.0, PoolChanged("generate", learnt))
    host.at(10.5, Observed("generate", "a", waiting=3, running=1))
    host.at(11.0, Observed("generate", "a", is_healthy=False))
    host.at(12.0, Configured(in_order("sjf", 1.0, window_slack=0.3, seed=seed)))
    host.at(13.0, Configured(in_order("sjf", 1.0, seed=seed, has_shares=True, has_hints=True)))
    host.run()
    return host


def digest(log):
    """A digest of all commands as a journal would write them, in order."""
    sums = hashlib.sha256()
    for _, _, commands in log:
        sums.update(msgspec.msgpack.encode(commands))
    return sums.hexdigest()


@pytest.fixture(scope="module")
def host():
    return busy_day()


def test_a_busy_day_has_everything(host):
    """The recorded day is worth replaying: it holds every kind of command and ending."""
    commands = [command for _, _, commands in host.log for command in commands]
    kinds = {type(command).__name__ for command in commands}
    assert kinds == {"Submit", "Abort", "Compare", "SetTimer", "Moved", "Answered", "Closed"}
    assert {answer.status for answer in host.answers.values()} >= {
        "answered",
        "deadline",
        "failed",
        "withdrawn",
    }
    assert len(host.bills) == len(host.answers) == 30
    assert any(c.call.work.sampling.seed for c in commands if isinstance(c, Submit))


def test_replay(host):
    """The journal, written and read back, gives a fresh scheduler's commands in the same order."""
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(tuple[float, Event])
    fresh, again = make(5), []
    for at, told, _ in host.log:
        now, event = decoder.decode(encoder.encode((at, told)))
        again.append((now, event, fresh.handle(event, now)))
    assert [commands for *_, commands in again] == [commands for *_, commands in host.log]
    assert fresh.ignored == host.scheduler.ignored
    fresh.validate()


def test_another_seed_is_another_day():
    """The digest tells different days apart."""
    assert digest(busy_day(5).log) != digest(busy_day(6).log)


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_other_processes(host, hash_seed):
    """A process with another hash seed gives the same commands."""
    paths = [path for path in sys.path if path]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(paths)}
    code = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('day', sys.argv[1])\n"
        "day = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(day)\n"
        "print(day.digest(day.busy_day().log))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest(host.log)
