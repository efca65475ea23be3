"""The journal: what a live run wrote, a fresh scheduler decides again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import msgspec
import pytest

from dynasor import Dynasor, SelfConsistency
from dynasor.core.commands import Answered, Submit
from dynasor.core.config import SchedulerConfig
from dynasor.core.errors import EngineUnreachable, JournalError
from dynasor.core.events import Cancelled, Event, Failed, TimerFired, Withdrew
from dynasor.core.scheduler import Scheduler
from dynasor.datasets.arithmetic import heldout
from dynasor.engines.scripted import Drop, Fail, Hang, ScriptedEngine
from dynasor.journal import (
    Entry,
    Header,
    JournalWriter,
    Replay,
    digest,
    read_journal,
    replay,
)
from dynasor.wiring import build_id, make_catalog

HEADER = Header(1, "test", SchedulerConfig())


class Watched(Scheduler):
    """A scheduler that keeps every command it gave."""

    def __init__(self, *args):
        super().__init__(*args)
        self.said = []

    def handle(self, event, now):
        commands = super().handle(event, now)
        self.said.extend(commands)
        return commands


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where the journal goes; no settings of the machine's owner."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "journal"


async def live(path, engine, programs, **settings):
    """Run programs with a journal; return every command that the live scheduler gave."""
    dynasor = Dynasor(engine, journal=path, **settings)
    driver = dynasor.machine.driver
    driver.scheduler = Watched(driver.scheduler.config, dynasor.machine.catalog)
    async with dynasor:
        handles = [dynasor.submit(program, **options) for program, options in programs]
        handles[-1].withdraw()
        for handle in handles:
            await handle
    return driver.scheduler.said


def again(path):
    """Feed the journal to a fresh scheduler; return every command that it gave."""
    header, entries = read_journal(path)
    scheduler = Watched(header.config, make_catalog())
    for entry in entries:
        scheduler.handle(entry.event, entry.now)
    return scheduler.said


def toy_programs(count=30):
    """Programs of several policies and workloads, with deadlines and one to be withdrawn."""
    options = [
        {"deadline_seconds": 1.0},
        {"policy": "beta:confidence=0.9,speculative=2", "deadline_seconds": 1.0},
        {"policy": "stepwise:every=2,at=0.9", "workload": "w", "deadline_seconds": 1.0},
        {"deadline_seconds": 1.0, "tenant": "t"},
        {"deadline_seconds": 0.01},
    ]
    return [(SelfConsistency(f"q{n}", cap=3 + n % 5), options[n % 5]) for n in range(count)]


def toy_engine():
    """An engine that is of several opinions and often fails, with few slots."""
    faults = {
        3: Fail(EngineUnreachable("e", "gone")),
        7: Hang(2),
        11: Drop(1),
        19: Hang(0),
        23: Drop(2),
    }

    def answer(work):
        return f"so the answer is \\boxed{{{work.sampling.seed % 3}}}"

    return ScriptedEngine(answer, faults=faults, slots=6)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in which much happens: its journal's bytes, and the commands that were given."""
    path = tmp_path_factory.mktemp("run") / "journal"
    said = asyncio.run(live(path, toy_engine(), toy_programs(), ordering="sjf", seed=5))
    return path.read_bytes(), said


@pytest.fixture
def journal(path, run):
    """A copy of that run's journal."""
    path.write_bytes(run[0])
    return path


def test_replay(journal, run):
    """The journal of a live run gives a fresh scheduler the same commands in the same order."""
    said = run[1]
    assert again(journal) == said
    found = replay(journal, make_catalog())
    events = len(journal.read_bytes().splitlines()) - 1
    programs = sum(isinstance(command, Answered) for command in said)
    assert programs == 30
    assert found == Replay(events, len(said), 30, found.tokens, None, is_torn=False)
    assert found.tokens > 0


def test_much_happens(journal):
    """The run that is replayed has failures, cancellations, timers and a withdrawal in it."""
    kinds = {type(entry.event) for entry in read_journal(journal)[1]}
    assert {Failed, Cancelled, TimerFired, Withdrew} <= kinds


def test_journal_says_where_to_start(journal):
    """The header has the format, the build and the configuration with its seed."""
    header, _ = read_journal(journal)
    assert (header.journal, header.build) == (1, build_id())
    assert (header.config.seed, header.config.ordering.name) == (5, "sjf")


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_replay_in_another_process(journal, run, seed):
    """Another process, whose hashes differ, replays the same commands."""
    said = run[1]
    command = [sys.executable, "-m", "dynasor", "replay", "--json", str(journal)]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    found = msgspec.json.decode(ended.stdout, type=Replay)
    assert (found.commands, found.first_difference) == (len(said), None)


@pytest.mark.engine
@pytest.mark.slow
async def test_replay_of_the_embedded_engine(path):
    """A run on the real embedded engine is replayed exactly, aborted calls and all."""
    programs = [(SelfConsistency(p.question, cap=8, max_tokens=256), {}) for p in heldout(6)]
    said = await live(path, "embedded", programs, slots=8, seed=3)
    assert again(path) == said
    assert replay(path, make_catalog()).first_difference is None
    assert sum(isinstance(command, Submit) for command in said) > 20


# What is wrong with a journal is said with its line.


def test_wrong_digest(journal):
    """The first line whose commands are others than recorded is reported, not later ones."""
    lines = journal.read_bytes().splitlines(keepends=True)
    for number in (9, 20):
        entry = msgspec.json.decode(lines[number - 1], type=Entry)
        changed = msgspec.structs.replace(entry, commands="0" * 16)
        lines[number - 1] = msgspec.json.encode(changed) + b"\n"
    journal.write_bytes(b"".join(lines))
    assert replay(journal, make_catalog()).first_difference == 9


def test_event_left_out(journal):
    """A journal from which a line is missing does not replay."""
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:4] + lines[5:]))
    assert replay(journal, make_catalog()).first_difference is not None


def test_other_seed(journal):
    """A journal replayed from another seed is not the same."""
    first, rest = journal.read_bytes().split(b"\n", 1)
    assert b'"seed":5' in first
    journal.write_bytes(first.replace(b'"seed":5', b'"seed":6') + b"\n" + rest)
    assert replay(journal, make_catalog()).first_difference is not None


@pytest.mark.parametrize("kept", [1, 10, -3])
def test_torn_last_line(journal, kept):
    """A last line that was cut off is left out, and the replay says so."""
    *whole, last = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(whole) + last[:kept])
    found = replay(journal, make_catalog())
    assert (found.is_torn, found.first_difference) == (True, None)
    assert found.events == len(whole) - 1


def test_newline_cut_off(journal):
    """A last line that lacks its newline only is whole."""
    data = journal.read_bytes()
    journal.write_bytes(data[:-1])
    found = replay(journal, make_catalog())
    assert (found.is_torn, found.events) == (False, data.count(b"\n") - 1)


def test_garbage_in_the_middle(journal):
    """A line in the middle that is no event is an error with its number."""
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:5], b"{oops\n", *lines[6:]]))
    with pytest.raises(JournalError, match=r"journal, line 6 is no event"):
        replay(journal, make_catalog())


def write(path, *entries):
    """Write a journal by hand."""
    lines = [msgspec.json.encode(line) for line in (HEADER, *entries)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def test_time_backwards(path):
    """Events whose times decrease are an error with the line."""
    write(path, Entry(2.0, Withdrew("p"), ""), Entry(1.0, Withdrew("p"), ""))
    with pytest.raises(JournalError, match=r"line 3: time ran backwards"):
        replay(path, make_catalog())


def test_empty_journal(path):
    """A journal without events is replayed: there is nothing that could differ."""
    write(path)
    assert replay(path, make_catalog()) == Replay(0, 0, 0, 0, None, is_torn=False)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"hello\n", b"[]\n", b"{}\n", b'{"journal":"1"}\n', b"\xff\xfe\n", b"\0" * 100],
)
def test_no_journal(path, content):
    """A file of another kind is refused with its name."""
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"journal is no journal: its first line") as caught:
        read_journal(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extra", ["", ',"new":{"x":1}'])
def test_other_format(path, extra):
    """A journal of another format is refused with both formats, whatever else its header has."""
    path.write_text(f'{{"journal":2,"build":"x"{extra}}}\n')
    with pytest.raises(JournalError, match="has journal format 2; this build reads 1"):
        read_journal(path)


def test_missing(path):
    """A journal that is not there is an error with its name and the reason."""
    with pytest.raises(JournalError, match=r"journal cannot be read: No such file"):
        read_journal(path)


# Writing.


def test_existing_file(path):
    """A file that exists is never written over."""
    path.write_text("precious")
    with pytest.raises(JournalError, match="exists already; name a new file"):
        JournalWriter(path, HEADER)
    assert path.read_text() == "precious"


def test_no_folder(path):
    """A journal that cannot be made is an error with the reason."""
    with pytest.raises(JournalError, match="cannot be written: No such file"):
        JournalWriter(path / "no" / "such", HEADER)


def test_close_twice(path):
    """Closing twice is no error."""
    writer = JournalWriter(path, HEADER)
    writer.close()
    writer.close()
    assert read_journal(path)[0] == HEADER


def test_text_that_is_none(path):
    """An event that cannot be written ends the journal; closing says so, the rest stays whole."""
    writer = JournalWriter(path, HEADER)
    writer.record(1.0, Withdrew("p"), [])
    writer.record(2.0, Withdrew("\ud800"), [])
    writer.record(3.0, Withdrew("q"), [])
    with pytest.raises(JournalError, match="could not be written to its end"):
        writer.close()
    assert replay(path, make_catalog()).events == 1


def test_digest():
    """The digest tells commands and their order apart, and is empty for none."""
    a = Answered("p", "x", "", None, "", "", 0, 0, {}, {}, 0)
    other = msgspec.structs.replace(a, program="q")
    assert digest([]) == ""
    assert digest([a, other]) != digest([other, a])
    assert digest([a]) == digest([msgspec.structs.replace(a)])
    assert len(digest([a])) == 16


@pytest.mark.parametrize("kind", Event.__args__)
def test_every_event_has_a_tag(kind):
    """Every event can be told from the others in a journal."""
    tags = [one.__struct_config__.tag for one in Event.__args__]
    assert tags.count(kind.__struct_config__.tag) == 1
