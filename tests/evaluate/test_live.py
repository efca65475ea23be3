"""Trials: every question judged, in order, and comparable with another trial."""

from __future__ import annotations

import re

import pytest

from dynasor import Dynasor
from dynasor.core.errors import ConfigError, EngineRefused
from dynasor.core.types import PolicySpec
from dynasor.engines.scripted import ScriptedEngine
from dynasor.evaluate import Question, run_trial

pytestmark = pytest.mark.usefixtures("no_settings")

EVEN = PolicySpec("even", has_lock=False)
SHORT = PolicySpec("threshold", {"detect": 2, "at": 0.0}, has_lock=False)


def questions(count=10):
    """Sums with their answers."""
    return [Question(f"s-{n}", f"{n}+1", str(n + 1)) for n in range(count)]


def engine(*offsets):
    """An engine that is off by one of these, by the call's seed."""

    def answer(work):
        number = int(re.match(r"\d+", work.prompt.messages[-1].content).group())
        off = offsets[work.sampling.seed % len(offsets)]
        return f"so the answer is \\boxed{{{number + 1 + off}}}"

    return ScriptedEngine(answer)


def dynasor(made, **settings):
    """A Dynasor of cap 6."""
    return Dynasor(made, **{"cap": 6, **settings})


async def test_right():
    """Right answers are judged right, all their votes too."""
    async with dynasor(engine(0)) as on:
        trial = await run_trial(on, questions(), EVEN)
    assert trial.accuracy == 1.0
    assert [(one.right_votes, one.counted_votes) for one in trial.judged] == [(6.0, 6.0)] * 10
    assert (trial.branches, trial.tokens, trial.aborted_calls) == (60, 60 * 5, 0)
    assert trial.seconds > 0


async def test_wrong():
    """Wrong answers are judged wrong, and have no right votes."""
    async with dynasor(engine(7)) as on:
        trial = await run_trial(on, questions(), EVEN)
    assert trial.accuracy == 0.0
    assert [(one.right_votes, one.counted_votes) for one in trial.judged] == [(0.0, 6.0)] * 10


async def test_no_answers():
    """Branches without an answer count for nobody."""
    async with dynasor(ScriptedEngine(lambda work: "no idea")) as on:
        trial = await run_trial(on, questions(2), EVEN)
    assert [(j.is_right, j.right_votes, j.counted_votes) for j in trial.judged] == [
        (False, 0.0, 0.0)
    ] * 2


async def test_mixed():
    """An answer is right when the majority is; the right votes are counted one by one."""
    async with dynasor(engine(0, 1, 2), cap=9) as on:
        trial = await run_trial(on, questions(30), EVEN)
    for judged, question in zip(trial.judged, questions(30), strict=True):
        assert judged.is_right == (judged.result.answer == question.gold)
        assert judged.right_votes == judged.result.votes.get(question.gold, 0.0)
        assert judged.counted_votes == 9
    assert 0.0 < trial.accuracy < 1.0
    assert trial.accuracy == sum(one.is_right for one in trial.judged) / 30


async def test_other_spellings():
    """A reference that is spelled otherwise is the same answer."""
    asked = [Question("a", "1+1", "2.0"), Question("b", "999+1", "1,000")]
    async with dynasor(engine(0)) as on:
        trial = await run_trial(on, asked, EVEN)
    assert trial.accuracy == 1.0


async def test_order_is_that_of_the_questions():
    """Judgements stand in the questions' order, whichever ended first."""
    heard = []

    def answer(work):
        number = int(work.prompt.messages[-1].content.removesuffix("+1"))
        return " ".join(["word"] * (100 - number)) + f" \\boxed{{{number + 1}}}"

    async def sleep(seconds):
        import asyncio

        await asyncio.sleep(0)

    slow = ScriptedEngine(answer, token_seconds=1.0, sleep=sleep)
    async with dynasor(slow, cap=1) as on:
        trial = await run_trial(on, questions(20), EVEN, heard.append)
    assert [one.id for one in trial.judged] == [f"s-{n}" for n in range(20)]
    assert sorted(one.id for one in heard) == sorted(one.id for one in trial.judged)
    assert [one.id for one in heard] != [one.id for one in trial.judged]


async def test_live():
    """No more questions run at once than the settings allow."""
    made = engine(0)
    async with dynasor(made, live=3, cap=1) as on:
        await run_trial(on, questions(20), EVEN)
    assert made.peak == 3


async def test_pairs():
    """Two trials of the same questions draw the same branches; the policy alone differs."""
    made = engine(0, 1, 2, 3)
    async with dynasor(made, cap=8) as on:
        full = await run_trial(on, questions(), EVEN)
        drawn = {(work.prompt, work.sampling.seed) for work in made.asked}
        short = await run_trial(on, questions(), SHORT)
    assert [one.id for one in full.judged] == [one.id for one in short.judged]
    again = {(work.prompt, work.sampling.seed) for work in made.asked}
    assert again == drawn
    assert len(made.asked) == 10 * 8 + 10 * 2
    assert (full.branches, short.branches) == (80, 20)


async def test_failure():
    """A question that fails fails the trial with its own error, and the rest is withdrawn."""
    made = ScriptedEngine({f"{n}+1": ["\\boxed{1}"] for n in range(5)})
    async with dynasor(made) as on:
        with pytest.raises(EngineRefused, match=r"no output for '\d\+1'"):
            await run_trial(on, questions(10), EVEN)
        assert (await run_trial(on, questions(5), EVEN)).branches == 30


async def test_one_id_twice():
    """Two questions of one id are refused."""
    async with dynasor(engine(0)) as on:
        with pytest.raises(ConfigError, match="'s-0' is in use"):
            await run_trial(on, [*questions(2), *questions(1)], EVEN)
