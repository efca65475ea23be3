"""Traces of what is served, written while it is served."""

from __future__ import annotations

import logging

import pytest

from dynasor import BestOfN, ChainOfThought, Dynasor, SelfConsistency
from dynasor.config import Settings
from dynasor.core.errors import ConfigError, EngineRefused
from dynasor.core.types import PolicySpec
from dynasor.engines.scripted import Fail, ScriptedEngine
from dynasor.gateway.recording import ServedTraces
from dynasor.tasks import tasks
from dynasor.traces import read_trace, validate

NOON = 43_200
DAY = 86_400
THREE = PolicySpec("even", has_lock=False)


def answers():
    """An engine whose answers are 1, 2, 3 ..."""
    count = iter(range(1, 1000))
    return ScriptedEngine(lambda work: rf"so \boxed{{{next(count)}}}")


@pytest.fixture
def traces(tmp_path):
    made = ServedTraces(tmp_path / "traces", tasks(), "toy", lambda: NOON)
    yield made
    made.close()


def lines(tmp_path, name="1970-01-01/sampling-math.jsonl"):
    return read_trace(tmp_path / "traces" / name).lines


async def serve(traces, *programs, engine=None, **options):
    """Run programs one after the other with everything recorded."""
    engine = engine or answers()
    async with Dynasor(engine, settings=Settings(policy="even", lock=False)) as dynasor:
        dynasor.machine.driver.record_in(traces)
        return [await dynasor.submit(program, policy=THREE, **options) for program in programs]


async def test_samples_of_an_answer(traces, tmp_path):
    """A served program is one line: its question, and its samples as they were drawn."""
    await serve(traces, SelfConsistency("q", cap=3, temperature=0.5), workload="w")
    (line,) = lines(tmp_path)
    assert (line.question, [one.answer for one in line.samples]) == ("q", ["1", "2", "3"])
    assert all(one.tokens == 2 and one.text.startswith("so") for one in line.samples)
    assert len({one.seed for one in line.samples}) == 3
    extra = {name: line.extra[name] for name in ("program", "workload", "knob", "cap", "status")}
    assert list(extra.values()) == ["self-consistency", "w", 3, 3, "answered"]
    assert line.extra["temperature"] == 0.5


async def test_the_file_is_a_trace(traces, tmp_path):
    """What is written passes the validation of traces."""
    await serve(traces, SelfConsistency("q", cap=2), SelfConsistency("r", cap=2))
    path = tmp_path / "traces" / "1970-01-01" / "sampling-math.jsonl"
    assert not validate(path).problems
    assert read_trace(path).header.model == "toy"


async def test_rewards(traces, tmp_path):
    """Of best-of-n each sample has its own reward."""
    count = iter(range(1, 1000))
    engine = ScriptedEngine(
        lambda work: rf"so \boxed{{{next(count)}}}",
        reward=lambda prompt: float(prompt.prefix[-2]) / 10,
    )
    await serve(traces, BestOfN("q", cap=3), engine=engine)
    (line,) = lines(tmp_path)
    assert [(one.answer, one.reward) for one in line.samples] == [
        ("1", 0.1),
        ("2", 0.2),
        ("3", 0.3),
    ]


async def test_other_programs(traces, tmp_path):
    """What is no set of samples is not written."""
    await serve(traces, ChainOfThought("q", cap=2, max_tokens=64))
    assert not list((tmp_path / "traces").iterdir())


async def test_a_program_that_fails(traces, tmp_path):
    """A program that failed has no line."""
    engine = ScriptedEngine(faults={n: Fail(EngineRefused("e", "no")) for n in range(3)})
    await serve(traces, SelfConsistency("q", cap=3), engine=engine)
    assert not list((tmp_path / "traces").iterdir())


async def test_an_id_that_is_used_again(traces, tmp_path):
    """Programs of one id are apart in a trace."""
    await serve(traces, *[SelfConsistency("q", cap=1)] * 3, program_id="mine")
    assert [line.id for line in lines(tmp_path)] == ["mine", "mine (2)", "mine (3)"]


async def test_each_day_has_its_folder(tmp_path):
    """At midnight (UTC) the next folder begins."""
    now = [DAY - 1]
    traces = ServedTraces(tmp_path / "traces", tasks(), "toy", lambda: now[0])
    await serve(traces, SelfConsistency("q", cap=1))
    now[0] += 1
    await serve(traces, SelfConsistency("r", cap=1))
    traces.close()
    assert lines(tmp_path)[0].question == "q"
    assert lines(tmp_path, "1970-01-02/sampling-math.jsonl")[0].question == "r"


async def test_each_start_has_its_file(tmp_path):
    """A server that starts again, or beside another, goes on in a file of its own."""
    for question in ("q", "r"):
        traces = ServedTraces(tmp_path / "traces", tasks(), "toy", lambda: NOON)
        await serve(traces, SelfConsistency(question, cap=1))
        traces.close()
    assert lines(tmp_path)[0].question == "q"
    assert lines(tmp_path, "1970-01-01/sampling-math-2.jsonl")[0].question == "r"


async def test_a_line_is_there_at_once(traces, tmp_path):
    """A line is whole in the file as soon as its program has ended, before anything is closed."""
    await serve(traces, SelfConsistency("q", cap=1))
    text = (tmp_path / "traces" / "1970-01-01" / "sampling-math.jsonl").read_text()
    assert text.count("\n") == 2
    assert text.endswith("\n")


async def test_what_cannot_be_written(tmp_path, caplog):
    """Serving goes on where traces cannot be written, with one warning."""
    traces = ServedTraces(tmp_path / "traces", tasks(), "toy", lambda: NOON)
    (tmp_path / "traces" / "1970-01-01").write_text("in the way")
    with caplog.at_level(logging.WARNING, logger="dynasor"):
        results = await serve(traces, *[SelfConsistency("q", cap=1)] * 2)
    assert [result.status for result in results] == ["answered"] * 2
    assert (traces.failures, len(caplog.records)) == (2, 1)


def test_no_folder(tmp_path):
    """A folder that cannot be made is refused when the server starts."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"folder .*file/traces for traces: Not a directory"):
        ServedTraces(tmp_path / "file" / "traces", tasks(), "toy")
