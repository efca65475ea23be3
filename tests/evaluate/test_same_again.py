"""What was recorded live is replayed to the same tokens, the same certainty, the same answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from toys.recordings import sums
from toys.searching import scored_tokens, stepping_engine, thinking_engine
from toys.watchers import Heard

from dynasor.api import Dynasor
from dynasor.config import Settings, parse_policy
from dynasor.core.types import ProgramSpec
from dynasor.datasets.questions import load_questions
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.evaluate import replay as replays
from dynasor.evaluate.classes import Sorting, sort_trace
from dynasor.evaluate.coded import made_by
from dynasor.evaluate.replay import Job, replay
from dynasor.programs import programs
from dynasor.programs.chain_of_thought import ChainOfThought
from dynasor.record import RecordJob, record
from dynasor.traces import read_trace
from dynasor.wiring import make_catalog

pytestmark = [pytest.mark.usefixtures("no_settings"), pytest.mark.process]

KINDS = {**programs(), ChainOfThought.name: ChainOfThought}
SEED = 3


async def recorded(path, questions, engine, spec, cap, policy=None):
    """Record these questions."""
    job = RecordJob(questions, "w", path, samples=cap, program=spec, policy=policy)
    tally = await record(job, Settings(seed=SEED, live=1), Heard(), [engine])
    assert (tally.recorded, tally.failed) == (len(questions), 0), tally.error


async def lived(questions, engine, spec, cap, policy):
    """Run the program on these questions: tokens without scores, knob, certaindex, answer."""
    found = []
    async with Dynasor(engine, seed=SEED) as dynasor:
        for question in questions:
            before = len(engine.asked) if hasattr(engine, "asked") else 0
            program = KINDS[spec.name](question.question, cap=cap, **spec.params)
            result = await dynasor.run(program, policy=policy, program_id=question.id)
            spent = result.spending.completion_tokens - scored_tokens(
                engine.asked[before:] if hasattr(engine, "asked") else ()
            )
            found.append((spent, result.knob, result.certaindex, result.answer))
    return found


def check(path, questions, found, job):
    """Compare a replay of all questions with what they did live."""
    kept = {one.id: one for one in sort_trace(read_trace(path), Sorting())}
    again = replay([kept[one.id] for one in questions], job, 0)
    assert not again.missing.any()
    assert again.knob.tolist() == [knob for _, knob, _, _ in found]
    assert again.certaindex.tolist() == [next(iter(one.values()), 0.0) for _, _, one, _ in found]
    right = [answer == one.reference for (*_, answer), one in zip(found, questions, strict=True)]
    assert again.quality.tolist() == [float(one) for one in right]
    return again


@pytest.mark.parametrize(
    ("name", "params", "policy"),
    [
        ("rebase", {}, None),
        ("rebase", {"balance": 0.5, "choose": "best"}, "threshold:detect=3,at=1"),
        ("rebase", {"step_end": "x", "max_steps": 7}, "even:in_flight=2"),
        ("beam", {"expand": 2}, None),
        ("mcts", {}, None),
        ("mcts", {"select": "uct", "width": 2, "max_steps": 4}, None),
    ],
)
async def test_searches(tmp_path, name, params, policy):
    """A search is met again, step by step: blank, equal, endless and final ones."""
    path, spec, asked = tmp_path / "t.jsonl", ProgramSpec(name, params), sums(20)
    spent = None if policy is None else parse_policy(policy, has_lock=False)
    await recorded(path, asked, stepping_engine(), spec, 9, spent)
    made = made_by(read_trace(path))
    found = await lived(asked, stepping_engine(), spec, 9, made.policy)
    job = Job(made.policy, 9, made.program.name, params=made.program.params)
    again = await asyncio.to_thread(check, path, asked, found, job)
    assert again.tokens.tolist() == [tokens for tokens, *_ in found]


@pytest.fixture
def with_thoughts(monkeypatch):
    """Let replays know chains of thought."""
    shipped = make_catalog()
    known = replace(shipped, programs={**shipped.programs, ChainOfThought.name: ChainOfThought})
    monkeypatch.setattr(replays, "make_catalog", lambda: known)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "policy", "cap"),
    [
        ({}, "even", 40),
        ({}, "stepwise:every=1,at=1", 40),
        ({"every": 8, "share": 0.5}, "stepwise:every=1,at=1", 40),
        ({"every": 8, "share": 0.5}, "even", 6),
        ({"every": 8, "share": 0.5, "chains": 2}, "even", 40),
    ],
)
async def test_thoughts(tmp_path, with_thoughts, params, policy, cap):
    """A chain is met again, with the probes that the program chooses to send."""
    path, spec, asked = tmp_path / "t.jsonl", ProgramSpec(ChainOfThought.name, params), sums(12)
    rule = parse_policy(policy, has_lock=False)
    await recorded(path, asked, thinking_engine(), spec, cap)
    made = made_by(read_trace(path))
    found = await lived(asked, thinking_engine(), spec, cap, rule)
    job = Job(rule, cap, made.program.name, params=made.program.params)
    again = await asyncio.to_thread(check, path, asked, found, job)
    # Two chains at one instant: which of them goes first says whose last token still counts.
    slack = params.get("chains", 1) - 1
    assert again.tokens.tolist() == pytest.approx([tokens for tokens, *_ in found], abs=slack)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("name", ["rebase", "mcts"])
async def test_embedded_model(tmp_path, name):
    """A search of the shipped model, judged by itself, is met again."""
    path, spec = tmp_path / "t.jsonl", ProgramSpec(name)
    asked = load_questions("arithmetic:4", None)
    await recorded(path, asked, LlamaCppEngine(slots=1), spec, 3)
    made = made_by(read_trace(path))
    found = await lived(asked, LlamaCppEngine(slots=1), spec, 3, made.policy)
    job = Job(made.policy, 3, made.program.name, params=made.program.params)
    again = await asyncio.to_thread(check, path, asked, found, job)
    # Live, scores are billed too.
    assert all(own < live for own, (live, *_) in zip(again.tokens, found, strict=True))
