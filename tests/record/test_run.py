"""Runs that record: what is written, going on, and engines that fail."""

from __future__ import annotations

import asyncio

import pytest
from toys.recordings import seeded_engine, sums

from dynasor.api import Dynasor
from dynasor.core.chance import call_seed, program_seed
from dynasor.core.errors import ConfigError, DynasorError, EngineRefused, EngineUnreachable
from dynasor.core.types import PolicySpec, Usage
from dynasor.datasets.questions import QuestionLine
from dynasor.engines.protocol import Description
from dynasor.engines.scripted import Fail, Lie, ScriptedEngine
from dynasor.evaluate.classes import Sorting, sort_trace
from dynasor.evaluate.replay import Job, replay
from dynasor.programs import SelfConsistency
from dynasor.record import RecordJob
from dynasor.record.run import HOPELESS_QUESTIONS
from dynasor.traces import TraceError, TraceWriter


async def test_what_is_written(folder):
    """A line has the question and each sample's text, answer, tokens, log-probability and seed."""
    tally = await folder.run(sums(3), seed=7)
    trace = folder.trace()
    line = folder.lines()["q1"]
    assert (line.question, line.reference, line.extra) == ("1+1?", "2", {"level": 1})
    seeds = [call_seed(program_seed(7, "q1"), number) for number in (1, 2, 3, 4)]
    assert [one.seed for one in line.samples] == seeds
    for one in line.samples:
        assert one.text == f"drawn with {one.seed}: \\boxed{{{one.answer}}}"
        assert (one.answer, one.tokens, one.mean_logprob) == (str(one.seed % 5), 4, -1.0)
        assert one.finish_reason == "stop"
    assert (trace.header.workload, trace.header.model) == ("sums", "scripted")
    assert (trace.header.task, trace.header.seed) == ("math", 7)
    assert trace.header.sampling == {
        "temperature": 0.7,
        "max_tokens": 1024,
        "top_p": 1.0,
        "samples": 4,
        "logprobs": True,
    }
    assert (tally.total, tally.recorded, tally.samples, tally.unanswered) == (3, 3, 12, 0)
    assert tally.completion_tokens == 3 * 4 * 4
    assert folder.heard.moves == 4
    assert folder.heard.warnings == []


async def test_same_seed_same_samples(folder):
    """A second recording with the same seed has the same lines, another seed has others."""
    await folder.run(sums(6), live=6)
    first = folder.lines()
    folder.out_path.unlink()
    await folder.run(sums(6)[::-1], live=1)
    assert folder.lines() == first
    folder.out_path.unlink()
    await folder.run(sums(6), seed=1)
    assert all(line.samples != first[line.id].samples for line in folder.trace().lines)


async def test_more_samples_begin_alike(folder):
    """The first samples are the same however many are drawn."""
    await folder.run(sums(2))
    first = folder.lines()
    folder.out_path.unlink()
    await folder.run(sums(2), job={"samples": 9})
    assert all(first[name].samples == line.samples[:4] for name, line in folder.lines().items())


async def test_a_live_run_draws_the_same(folder):
    """Self-consistency on a question of the same name and seed draws what was recorded."""
    await folder.run(sums(1), seed=5)
    engine = seeded_engine()
    async with Dynasor(engine, seed=5) as dynasor:
        program = SelfConsistency("0+1?", cap=4)
        await dynasor.run(program, policy=PolicySpec("even", has_lock=False), program_id="q0")
    seeds = [one.seed for one in folder.lines()["q0"].samples]
    assert [work.sampling.seed for work in engine.asked] == seeds


@pytest.mark.process
def test_replay(folder):
    """What was recorded is sorted, graded and replayed as any trace."""
    asyncio.run(folder.run(sums(5)))
    questions = sorted(sort_trace(folder.trace(), Sorting()), key=lambda one: one.id)
    assert [one.tokens for one in questions] == [(4, 4, 4, 4)] * 5
    assert all(len(one.logprobs) == 4 for one in questions)
    replayed = replay(questions, Job(PolicySpec("even", has_lock=False), 4), seed=0)
    assert replayed.tokens.tolist() == [16.0] * 5
    assert replayed.knob.tolist() == [4.0] * 5


async def test_goes_on(folder):
    """A later run asks what is new in the data set, and leaves what is there as it is."""
    await folder.run(sums(5))
    before = folder.out_path.read_bytes()
    engine = seeded_engine()
    tally = await folder.run(sums(8), engine)
    assert (tally.found, tally.recorded, len(engine.asked)) == (5, 3, 12)
    assert folder.out_path.read_bytes().startswith(before)
    assert set(folder.lines()) == {f"q{n}" for n in range(8)}
    tally = await folder.run(sums(3), engine)
    assert (tally.total, tally.found, tally.recorded, len(engine.asked)) == (3, 3, 0, 12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed"),
        ({"temperature": 1.0}, "temperature"),
        ({"max_tokens": 9}, "max_tokens"),
        ({"task": "open"}, "task"),
        ({"workload": "others"}, "workload"),
        ({"job": {"samples": 5}}, "samples"),
        ({"job": {"top_p": 0.5}}, "top_p"),
        ({"job": {"has_logprobs": False}}, "logprobs"),
        ({"engine": seeded_engine(model="other")}, "model"),
    ],
)
async def test_other_header(folder, change, said):
    """A trace that was begun with anything else is refused, and nothing is asked."""
    await folder.run(sums(1))
    before = folder.out_path.read_bytes()
    engine = change.pop("engine", None) or seeded_engine()
    with pytest.raises(TraceError, match=said):
        await folder.run(sums(2), engine, **change)
    assert engine.asked == []
    assert folder.out_path.read_bytes() == before


async def test_other_data_set(folder):
    """An id that stands for another question in the trace ends the run before anything is asked."""
    await folder.run([QuestionLine("q1", "1+1?")])
    engine = seeded_engine()
    with pytest.raises(TraceError, match="has another question with the id 'q1'"):
        await folder.run([QuestionLine("q1", "2+2?"), QuestionLine("q2", "1+1?")], engine)
    assert engine.asked == []


async def test_two_at_once(folder):
    """A trace that another run holds is refused."""
    await folder.run(sums(1))
    with TraceWriter(folder.out_path, folder.trace().header), pytest.raises(TraceError):
        await folder.run(sums(2))


async def test_failed_question(folder):
    """A question that lost a sample is counted, not written, and asked again by the next run."""
    faults = {5: Fail(EngineRefused("toy", "no"))}
    tally = await folder.run(sums(3), seeded_engine(faults=faults, slots=1))
    assert (tally.recorded, tally.failed, tally.samples) == (2, 1, 8)
    assert tally.error.startswith("'q1': engine toy: no")
    assert set(folder.lines()) == {"q0", "q2"}
    tally = await folder.run(sums(3))
    assert (tally.found, tally.recorded, tally.failed) == (2, 1, 0)


async def test_refused_questions_end_nothing(folder):
    """Refusals in a row are answers: the questions behind them are recorded."""
    never = [QuestionLine(f"n{n}", "never") for n in range(HOPELESS_QUESTIONS + 1)]
    tally = await folder.run([*never, *sums(2)], live=1)
    assert (tally.failed, tally.recorded) == (len(never), 2)


@pytest.mark.slow
async def test_engine_lost(folder):
    """An engine that lets down question after question ends the run with one line."""
    gone = [QuestionLine(f"n{n}", "broken") for n in range(2 * HOPELESS_QUESTIONS)]
    with pytest.raises(DynasorError, match=r"20 questions in a row .* 2 of 42 are in .*again"):
        await folder.run([*sums(2), *gone])
    assert set(folder.lines()) == {"q0", "q1"}


async def test_no_engine(folder):
    """An engine that nobody can reach leaves no trace behind."""

    class Down(ScriptedEngine):
        async def start(self):
            raise EngineUnreachable("http://nowhere:1", "no connection; is it running?")

    with pytest.raises(EngineUnreachable):
        await folder.run(sums(1), Down())
    assert not folder.out_path.exists()


async def test_no_answer(folder):
    """A sample without an answer is a sample, and counted."""
    tally = await folder.run([QuestionLine("m", "mute"), *sums(1)])
    assert [one.answer for one in folder.lines()["m"].samples] == [None] * 4
    assert (tally.samples, tally.unanswered) == (8, 4)


async def test_estimated_tokens(folder):
    """Tokens that no engine counted are marked in their line, with one warning a run."""
    faults = {n: Lie(Usage(1, 6, is_counted=False)) for n in range(4, 12)}
    await folder.run(sums(3), seeded_engine(faults=faults, slots=1))
    lines = folder.lines()
    assert lines["q0"].extra == {"level": 0}
    assert lines["q1"].extra == {"level": 1, "estimated_tokens": 24}
    (warning,) = folder.heard.warnings
    assert "does not count its tokens" in warning


@pytest.mark.parametrize("has_logprobs", [None, False])
async def test_without_logprobs(folder, has_logprobs):
    """Where the engine has no log-probabilities, or nobody wants them, none are asked for."""

    class Plain(ScriptedEngine):
        async def start(self):
            described = await super().start()
            if has_logprobs is None:
                return Description(described.model, described.slots, None, frozenset({"generate"}))
            return described

    engine = Plain(lambda work: "\\boxed{1}")
    await folder.run(sums(1), engine, job={"has_logprobs": has_logprobs})
    assert not any(work.sampling.has_logprobs for work in engine.asked)
    assert {one.mean_logprob for one in folder.lines()["q0"].samples} == {None}


async def test_live_limit(folder):
    """No more than `live` questions are worked on at once."""
    engine = seeded_engine()
    await folder.run(sums(30), engine, live=3, job={"samples": 2})
    assert engine.peak == 6


async def test_settings_for_answers_do_not_matter(folder):
    """Grouping, policy and lock of the settings change nothing: every sample is drawn."""
    tally = await folder.run(sums(2), policy="beta", lock=True, cap=1, grouping="meaning")
    assert tally.samples == 8


@pytest.mark.parametrize(
    ("numbers", "said"),
    [({"samples": 0}, "samples is 0"), ({"top_p": 0.0}, "top_p is 0"), ({"top_p": 1.5}, "up to 1")],
)
def test_bad_numbers(tmp_path, numbers, said):
    """Numbers out of range are one error."""
    with pytest.raises(ConfigError, match=said):
        RecordJob(sums(1), "sums", tmp_path / "t", **numbers)


async def test_gzip(tmp_path, folder):
    """A trace whose name ends in .gz is compressed, and goes on all the same."""
    folder.out_path = tmp_path / "trace.jsonl.gz"
    await folder.run(sums(2))
    await folder.run(sums(4))
    assert folder.out_path.read_bytes().startswith(b"\x1f\x8b")
    assert len(folder.lines()) == 4
