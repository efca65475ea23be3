"""Runs: going on, retrying, one at a time, and engines that fall silent."""

from __future__ import annotations

import errno
import json
import os

import pytest
from toys.batches import line, sums_engine

from dynasor.batch import BatchJob, OutputError, run_batch
from dynasor.batch.output import Output, read_progress
from dynasor.batch.run import HOPELESS_QUESTIONS
from dynasor.config import Settings, parse_policy
from dynasor.core.errors import (
    ConfigError,
    DynasorError,
    EngineRefused,
    EngineUnreachable,
    UserError,
)
from dynasor.engines.scripted import ScriptedEngine
from dynasor.programs import Mcts


class Down(ScriptedEngine):
    """An engine that nobody can reach."""

    async def start(self):
        raise EngineUnreachable("http://nowhere:1", "no connection; is it running?")


async def test_all_answered(folder):
    """Every question gets its own answer, whatever the order in which they end."""
    folder.questions(50)
    tally = await folder.run(live=7)
    answers = {
        one["custom_id"]: one["response"]["body"]["dynasor"]["answer"] for one in folder.records()
    }
    assert answers == {f"q{n}": str(n + 1) for n in range(50)}
    assert (tally.total, tally.answered, tally.left) == (50, 50, 0)


async def test_live_limit(folder):
    """No more than `live` questions are worked on at once."""
    folder.questions(30)
    engine = sums_engine()
    await folder.run(engine, live=4, cap=1)
    assert engine.peak == 4


async def test_second_run_asks_nothing(folder):
    """A run over a finished output starts no engine, changes nothing and warns of nothing."""
    folder.questions(5)
    await folder.run()
    before = folder.out_path.read_bytes()
    tally = await folder.run(Down())
    assert folder.out_path.read_bytes() == before
    assert (tally.found, tally.answered) == (5, 0)
    assert folder.heard.warnings == []


async def test_goes_on(folder):
    """A later run asks what is new in the input, and that only."""
    folder.questions(5)
    await folder.run()
    folder.questions(8)
    engine = sums_engine()
    tally = await folder.run(engine, cap=1)
    assert (tally.found, tally.answered) == (5, 3)
    assert len(engine.asked) == 3


@pytest.mark.parametrize("kept", [1, 17, 18, 40, -1])
async def test_torn_line(folder, kept):
    """A torn last line is cut off and its question asked again."""
    folder.questions(3)
    await folder.run()
    first, second, third = folder.out_path.read_bytes().splitlines(keepends=True)
    folder.out_path.write_bytes(first + second + third[:kept])
    tally = await folder.run()
    assert (tally.found, tally.answered) == (2, 1)
    assert {one["custom_id"] for one in folder.records()} == {"q0", "q1", "q2"}


async def test_bad_lines_stay(folder):
    """Lines that could not be run, duplicates too, are not reported again."""
    folder.write(line("a"), b"{oops", line("a"), line("b", dynasor={"task": "x"}), b"\xff")
    await folder.run()
    before = folder.out_path.read_bytes()
    tally = await folder.run()
    assert folder.out_path.read_bytes() == before
    assert (tally.found, tally.ended) == (5, 0)


async def test_corrected_line(folder):
    """A broken line that was corrected is asked, though its number has a record."""
    folder.write(line("a"), b"{oops")
    await folder.run()
    folder.write(line("a"), line("b"))
    tally = await folder.run()
    assert (tally.found, tally.answered) == (1, 1)


async def test_retry_errors(folder):
    """Retrying takes failed records out and asks those questions, and only those, again."""
    folder.write(line("a"), line("b", "never"), b"{oops", line("c", "never"))
    await folder.run()
    kept = folder.record("a")
    folder.write(line("a"), line("b", "1+1?"), line("d"), line("c", "never"))
    tally = await folder.run(retry_errors=True)
    assert folder.records()[0] == kept
    statuses = {one["custom_id"]: one["response"]["status_code"] for one in folder.records()}
    assert statuses == {"a": 200, "b": 200, "c": statuses["c"], "d": 200}
    assert statuses["c"] >= 400
    assert (tally.found, tally.answered, tally.failed) == (1, 2, 1)
    assert [one.name for one in folder.out_path.parent.iterdir() if ".new" in one.name] == []


async def test_failures_stay_without_retry(folder):
    """Without being told to, a run does not ask failed questions again."""
    folder.write(line("a", "never"))
    await folder.run()
    engine = sums_engine()
    assert (await folder.run(engine)).found == 1
    assert engine.asked == []


async def test_retry_keeps_lock_and_mode(folder):
    """The file that takes the output's place is locked like it and has its permissions."""
    folder.write(line("a", "never"), line("b"))
    await folder.run()
    folder.out_path.chmod(0o640)
    with Output(folder.out_path) as output:
        output.prepare(read_progress(folder.out_path, drops_failures=True), drops_failures=True)
        assert folder.out_path.stat().st_mode & 0o777 == 0o640
        with pytest.raises(OutputError, match="another run"):
            Output(folder.out_path)
    assert [one["custom_id"] for one in folder.records()] == ["b"]


async def test_two_at_once(folder):
    """The second run on one output gets one clear error and harms nothing."""
    folder.questions(3)
    with Output(folder.out_path), pytest.raises(OutputError, match="written by another run"):
        await folder.run()
    tally = await folder.run()
    assert tally.answered == 3


async def test_other_input(folder):
    """An output with answers to other questions is kept, with one warning."""
    folder.questions(3)
    await folder.run()
    folder.write(line("other"))
    await folder.run()
    (warning,) = folder.heard.warnings
    assert "3 answers to questions that" in warning
    assert len(folder.records()) == 4


async def test_model_named(folder):
    """Questions that name another model are answered, with one warning."""
    folder.write(line("a", model="gpt"), line("b", model="gpt"), line("c", model="scripted"))
    await folder.run()
    assert folder.heard.warnings == ["a question asks for model 'gpt'; 'scripted' answers all"]


@pytest.mark.parametrize("text", ["precious\n", "precious", '{"a": 1}\n', "[1]", '{"a": 1}'])
async def test_foreign_output(folder, text):
    """A file that holds something else is refused and not touched."""
    folder.questions(1)
    folder.out_path.write_text(text)
    with pytest.raises(OutputError, match=r"out\.jsonl, line 1 is no record of a batch"):
        await folder.run()
    assert folder.out_path.read_text() == text


async def test_same_file(folder):
    """One file cannot be input and output."""
    folder.questions(1)
    before = folder.in_path.read_bytes()
    folder.out_path.symlink_to(folder.in_path)
    with pytest.raises(OutputError, match="the input and the output"):
        await folder.run()
    assert folder.in_path.read_bytes() == before


async def test_no_input(folder):
    """A missing input is one clear error, and no output is made."""
    with pytest.raises(ConfigError, match=r"in\.jsonl cannot be read: No such file"):
        await folder.run()
    assert not folder.out_path.exists()


async def test_no_output_folder(folder):
    """An output that cannot be made is one clear error."""
    folder.questions(1)
    folder.out_path = folder.out_path.parent / "no" / "out"
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        await folder.run()


async def test_empty_input(folder):
    """An input without a line has an output without a line."""
    folder.write()
    tally = await folder.run(Down())
    assert tally.total == 0
    assert folder.records() == []


async def test_engine_down(folder):
    """An engine that is down at the start is an error with its address; no output is made."""
    folder.questions(1)
    with pytest.raises(EngineUnreachable, match="engine http://nowhere:1: no connection"):
        await folder.run(Down())
    assert not folder.out_path.exists()


@pytest.mark.parametrize("retry_errors", [False, True])
async def test_engine_down_later(folder, retry_errors):
    """With an engine that is down, an output that exists stays as it is, torn line and all."""
    folder.write(line("a"), line("b", "never"), line("c"))
    await folder.run()
    torn = folder.out_path.read_bytes()[:-20]
    folder.out_path.write_bytes(torn)
    with pytest.raises(EngineUnreachable):
        await folder.run(Down(), retry_errors=retry_errors)
    assert folder.out_path.read_bytes() == torn


@pytest.mark.slow
async def test_engine_goes_down(folder):
    """When no engine answers any more the run stops, and the next one does what is left."""
    calls = []

    def before(question):
        calls.append(question)
        if len(calls) > 10:
            raise EngineUnreachable("toy", "no connection")

    folder.questions(100)
    with pytest.raises(EngineUnreachable, match=r"10 of 100 lines are in .* same command again"):
        await folder.run(sums_engine(before), cap=1, live=40)
    assert len(folder.records()) == 10
    tally = await folder.run(cap=1)
    assert (tally.found, tally.answered, tally.failed) == (10, 90, 0)


async def test_engine_gone_for_long(folder, monkeypatch):
    """An engine that cannot be reached for long ends the run, however few questions have failed."""
    monkeypatch.setattr("dynasor.batch.run.WATCH_SECONDS", 0.01)
    monkeypatch.setattr("dynasor.batch.run.HOPELESS_SECONDS", 0.05)

    def before(question):
        raise EngineUnreachable("toy", "no connection")

    folder.questions(2)
    with pytest.raises(EngineUnreachable, match="it has not answered for 0 s"):
        await folder.run(sums_engine(before), cap=1)
    assert folder.records() == []
    assert any("no engine can be reached" in warning for warning in folder.heard.warnings)


async def test_refusals_do_not_stop(folder):
    """Questions that the engine refuses are records, however many come in a row."""
    folder.write(*(line(f"q{n}", "never") for n in range(3 * HOPELESS_QUESTIONS)))
    tally = await folder.run(cap=1)
    assert tally.failed == 3 * HOPELESS_QUESTIONS


@pytest.mark.slow
async def test_one_unreachable_question(folder):
    """A question that fails while the engine serves others is a record."""
    folder.write(line("bad", "gone"), *(line(f"q{n}") for n in range(3)))
    tally = await folder.run(cap=1)
    assert (tally.answered, tally.failed) == (3, 1)
    assert folder.record("bad")["response"]["body"]["error"]["code"] == "EngineUnreachable"


async def test_disk_full(folder, monkeypatch):
    """A full disk ends the run with one clear line; what was whole before stays, and no more."""
    folder.questions(6)
    real, written = os.pwrite, []

    def pwrite(fd, data, offset):
        written.append(data)
        if len(written) == 4:
            return real(fd, data[:30], offset)
        if len(written) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(DynasorError, match=r"cannot be written: No space left .* same command"):
        await folder.run()
    monkeypatch.undo()
    assert len(folder.records()) == 3
    assert (await folder.run()).answered == 3


async def test_journal(folder):
    """A journal of the run is written where one was asked for."""
    folder.questions(2)
    journal = folder.out_path.parent / "journal"
    await folder.run(journal=journal)
    assert len(journal.read_bytes().splitlines()) > 2


async def test_programs(folder):
    """Lines run their own algorithms beside the settings', each under the policy it says."""
    engine = sums_engine(reward=lambda prompt: 0.5)
    own = {"algorithm": "mcts", "params": {"width": 2}, "cap": 4}
    folder.write(line("a"), line("b", dynasor=own), line("c", dynasor={**own, "policy": "even"}))
    chosen = Settings(program="best-of-n", cap=2)
    await run_batch(BatchJob(folder.in_path, folder.out_path), chosen, folder.heard, [engine])
    found = [folder.record(name)["response"]["body"]["dynasor"] for name in "abc"]
    assert [one["algorithm"] for one in found] == ["best-of-n", "mcts", "mcts"]
    assert [one["knob"] for one in found] == [2, 3, 4]
    assert found[0]["policy"] == "even"
    assert parse_policy(found[1]["policy"], has_lock=False) == Mcts.usual_policy
    assert found[2]["policy"] == "even"
    assert [one["answer"] for one in found] == ["2"] * 3
    assert [one["notes"] for one in found] == [{}] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"program": "magic"}, "unknown program 'magic'"),
        ({"program": "mcts:widht=3"}, "did you mean 'width'"),
        ({"program": "best-of-n", "policy": "beta"}, "'best-of-n': .* needs votes"),
    ],
)
async def test_program_that_cannot_be_used(folder, settings, message):
    """A program of the settings that cannot be used ends the run before an engine is loaded."""
    folder.questions(1)
    with pytest.raises(UserError, match=message):
        await folder.run(Down(), **settings)
    assert not folder.out_path.exists()


async def test_estimate(folder):
    """What even allocation would have cost is a question's own mean branch times its cap."""
    folder.questions(2)
    tally = await folder.run(cap=10, policy="even:in_flight=1", lock=True)
    # Six votes of ten cannot be overtaken; a branch has five tokens.
    assert (tally.completion_tokens, tally.even_tokens) == (2 * 6 * 5, 2 * 10 * 5)
    assert tally.saved_share == pytest.approx(0.4)


async def test_refused_is_error_free(folder):
    """The refusal of an engine carries its words into the record."""
    folder.write(line("q", "never"))

    def before(question):
        raise EngineRefused("toy", "the context is too long")

    await folder.run(sums_engine(before))
    assert "the context is too long" in json.dumps(folder.record("q"))
