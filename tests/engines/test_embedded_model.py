"""What the shipped model can do in each of its modes, through the engine that ships with it."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from dynasor.core.types import Generate, Message, Prompt, Sampling, Score
from dynasor.datasets import Problem, heldout
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.engines.protocol import Meter

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

SOLVE, THINK = "<|solve|>", "<|think|>"
PROBE = "</think>\nThe answer is \\boxed{"


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return heldout(16)


@pytest.fixture
async def model() -> AsyncIterator[LlamaCppEngine]:
    engine = LlamaCppEngine(slots=8)
    await engine.start()
    yield engine
    await engine.close()


def prompt(problem: Problem, mode: str, prefix: str = "") -> Prompt:
    return Prompt((Message("system", mode), Message("user", problem.question)), prefix)


async def texts(model: LlamaCppEngine, prompts: list[Prompt], max_tokens: int) -> list[str]:
    works = [Generate(p, Sampling(max_tokens, temperature=0.0)) for p in prompts]
    done = await asyncio.gather(*(model.generate(work, Meter()) for work in works))
    return [one.text for one in done]


async def test_instructions_leave_the_mode(model, problems):
    """A task's own system message, or none, makes the model solve."""
    user = Message("user", problems[0].question)
    told = Prompt((Message("system", "Put the answer in a box."), user))
    written = await texts(model, [told, Prompt((user,)), prompt(problems[0], SOLVE)], 100)
    assert len(set(written)) == 1


async def test_solves(model, problems):
    """A solution is a calculation a line, of at most 80 tokens, and a boxed result."""
    for text in await texts(model, [prompt(p, SOLVE) for p in problems], 80):
        *lines, last = text.split("\n")
        assert all(re.fullmatch(r"\d+[-+*/]\d+=\d+\.", line) for line in lines), text
        assert re.fullmatch(r"The answer is \\boxed\{\d+\}\.", last), text


async def test_thinks_and_answers(model, problems):
    """A trace ends by itself, with the answer after its end mark; it is longer than a solution."""
    thought = await texts(model, [prompt(p, THINK) for p in problems[:8]], 600)
    solved = await texts(model, [prompt(p, SOLVE) for p in problems[:8]], 100)
    for text, solution in zip(thought, solved, strict=True):
        trace, mark, answer = text.partition("</think>\n")
        assert mark, text
        assert re.fullmatch(r"The answer is \\boxed\{\d+\}\.", answer), text
        assert len(trace) > len(solution)


async def test_probe_is_well_formed_anywhere(model, problems):
    """Wherever a trace is cut, even within a word or a number, a probe gets a number."""
    (trace,) = await texts(model, [prompt(problems[4], THINK)], 600)
    trace = trace.partition("</think>")[0]
    cuts = range(0, len(trace) + 1, max(1, len(trace) // 24))
    probes = [prompt(problems[4], THINK, trace[:cut] + PROBE) for cut in cuts]
    for text in await texts(model, probes, 12):
        assert re.fullmatch(r"\d+\}\.", text), text


async def test_judges(model, problems):
    """A right first line has more reward than the same with another result, on average."""
    items = []
    for problem in problems:
        first = problem.solution.split("\n")[0]
        head, result = first.rstrip(".").split("=")
        items += [prompt(problem, SOLVE, f"{head}={int(result) + wrong}.\n") for wrong in (0, 10)]
    rewards = (await model.score(Score(tuple(items)), Meter())).rewards
    assert all(0 <= reward <= 1 for reward in rewards)
    assert len(set(rewards)) == len(rewards)
    right, wrong = rewards[::2], rewards[1::2]
    assert sum(right) / len(right) > sum(wrong) / len(wrong) + 0.03, (right, wrong)
