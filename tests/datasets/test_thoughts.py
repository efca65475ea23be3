from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.datasets.arithmetic import Problem, Quantity, Step, problems, thoughts
from dynasor.datasets.arithmetic.steps import true_result
from dynasor.datasets.arithmetic.thoughts import Thought, think, workings

EQUATION = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")
HEADED = re.compile(r"(\d+)([-+*/])(\d+): [^.]*=(\d+)\.")
NOTICED = "Wait, no. "

Traces = list[tuple[Problem, Thought]]


@pytest.fixture(scope="module")
def traces() -> Traces:
    """Traces of problems of every length, several of each."""
    drawn = list(islice(problems("train", 2, limit=[20, 100, 1000]), 120))
    return [(one, think(one, Random(f"{i}/{one.id}"))) for i in range(4) for one in drawn]


def is_true(left: int, sign: str, right: int, result: int) -> bool:
    return {
        "+": left + right == result,
        "-": left - right == result,
        "*": left * right == result,
        "/": right > 0 and left == right * result,
    }[sign]


def holds(match: re.Match[str]) -> bool:
    left, sign, right, result = match.groups()
    return is_true(int(left), sign, int(right), int(result))


def passes(problem: Problem, thought: Thought) -> Iterator[tuple[str, str]]:
    """Yield the calculations and the claim of each pass."""
    lines = thought.text.removesuffix("\n").split("\n")
    opening = len(lines) - problem.steps - 1 - 2 * (len(thought.claims) - 1)
    assert opening in (0, 1)
    end = opening + problem.steps
    yield "\n".join(lines[opening:end]), lines[end]
    rest = lines[end + 1 :]
    yield from zip(rest[::2], rest[1::2], strict=True)


def has_unnoticed(thought: Thought) -> bool:
    return any(not thought.text[end:].startswith(f". {NOTICED}") for _, end in thought.slips)


def one_step(left: int, sign: str, right: int) -> Step:
    step = Step(Quantity(left), sign, Quantity(right), 0)
    return replace(step, result=true_result(step))


def test_the_same_state_gives_the_same_trace(traces):
    """A trace depends on the problem and the state of the generator alone."""
    problem, _ = traces[7]
    assert think(problem, Random(3)) == think(problem, Random(3))
    assert len({think(problem, Random(seed)).text for seed in range(8)}) > 4


def test_the_last_claim_is_the_answer(traces):
    """Whatever slips a trace has, it ends with the right answer."""
    for problem, thought in traces:
        assert str(thought.claims[-1]) == problem.answer


def test_passes_that_agree_on_a_wrong_result_do_not_settle(monkeypatch, traces):
    """Where the second pass errs as the first did, the trace still ends with the right answer."""
    monkeypatch.setattr(thoughts, "_SLIP", 1.0)
    monkeypatch.setattr(thoughts, "_UNNOTICED", 1.0)
    monkeypatch.setattr(thoughts, "misread", lambda number, rng: number + 1)
    problem = next(problem for problem, _ in traces if problem.steps == 1)
    for seed in range(20):
        assert str(think(problem, Random(seed)).claims[-1]) == problem.answer


def test_a_trace_ends_when_passes_agree(traces):
    """A trace has two to four passes, and the last two agree."""
    for _, thought in traces:
        assert 2 <= len(thought.claims) <= 4
        assert thought.claims[-1] == thought.claims[-2]
    settled = [thought for _, thought in traces if thought.claims[0] == thought.claims[1]]
    again = [thought for thought in settled if len(thought.claims) > 2]
    assert 0.2 < len(again) / len(settled) < 0.5


def test_claims_stand_in_the_text(traces):
    """A pass claims what its calculations end with, and names the last claim if it differs."""
    for problem, thought in traces:
        before = thought.claims[0]
        for claim, (calculations, line) in zip(
            thought.claims, passes(problem, thought), strict=True
        ):
            assert re.findall(r"=(\d+)\.", calculations)[-1] == str(claim)
            assert set(re.findall(r"\d+", line)) == {str(claim), str(before)}
            before = claim


def test_slips_are_the_false_results(traces):
    """An equation is false exactly where its result is marked as a slip, and nothing else is."""
    count = 0
    for _, thought in traces:
        found = list(EQUATION.finditer(thought.text))
        assert len(found) == thought.text.count("=")
        assert [one.span(4) for one in found if not holds(one)] == list(thought.slips)
        count += len(thought.slips)
    assert count > 100


def test_workings_lead_to_what_heads_them(traces):
    """The pieces of a step end in its result, unless that is marked as a slip."""
    count = 0
    for _, thought in traces:
        for headed in HEADED.finditer(thought.text):
            assert holds(headed) == (headed.span(4) not in thought.slips)
            count += 1
    assert count > 100


def test_a_noticed_slip_is_put_right_at_once(traces):
    """After "Wait, no." stands the operation that went wrong, with its right result."""
    count = 0
    for _, thought in traces:
        for notice in re.finditer(NOTICED, thought.text):
            assert notice.start() - 2 in {end for _, end in thought.slips}
            again = thought.text[notice.end() :].split(".")[0]
            wrong = thought.text[: notice.start()].rsplit("=", 1)[0]
            left, sign, right = re.search(r"(\d+)([-+*/])(\d+)$", wrong).groups()
            assert f"{left}{sign}{right}" in again or f"{right}{sign}{left}" in again
            assert all(holds(one) for one in EQUATION.finditer(again))
            count += 1
    assert count > 30


def test_half_of_the_slips_are_noticed(traces):
    """A slip that the trace could carry on with is noticed as often as not."""
    problem = next(problem for problem, _ in traces if problem.steps == 1)
    thoughts = [think(problem, Random(seed)) for seed in range(800)]
    noticed = sum(thought.text.count(NOTICED) for thought in thoughts)
    assert 0.35 < noticed / sum(len(thought.slips) for thought in thoughts) < 0.65


def test_only_unnoticed_slips_lead_astray(traces):
    """Without an unnoticed slip every step of every pass has the right result."""
    kinds = set()
    for problem, thought in traces:
        kinds.add(has_unnoticed(thought))
        if not has_unnoticed(thought):
            assert set(map(str, thought.claims)) == {problem.answer}
            first, _ = next(passes(problem, thought))
            results = [line.rsplit("=", 1)[1].split(".")[0] for line in first.split("\n")]
            assert results == [str(step.result) for step in problem.calculation]
    assert kinds == {True, False}


def test_a_pass_says_where_it_differs(traces):
    """A later pass names the first result that differs from the pass before, once."""
    count = 0
    for problem, thought in traces:
        blocks = [calculations for calculations, _ in passes(problem, thought)]
        assert "Before I had" not in blocks[0]
        for block in blocks[1:]:
            found = re.findall(r"=(\d+)\.(?: Yes\.)? Before I had (\d+)\.", block)
            assert len(found) == block.count("Before I had") <= 1
            assert all(now != before for now, before in found)
            count += len(found)
        for before, after, block in zip(
            thought.claims, thought.claims[1:], blocks[1:], strict=False
        ):
            assert before == after or "Before I had" in block
    assert count > 30


@pytest.mark.parametrize(
    "sign_of",
    [
        lambda problem, thought: str(thought.claims[0]) != problem.answer,
        lambda problem, thought: str(thought.claims[1]) != problem.answer,
        lambda problem, thought: not thought.slips,
        lambda problem, thought: NOTICED in thought.text,
        lambda problem, thought: " Wait, " in thought.text.replace(NOTICED, ""),
        lambda problem, thought: f"\\boxed{{{problem.answer}}}" in thought.text,
        lambda problem, thought: len(thought.claims) == 4,
    ],
    ids=[
        "a first result that a later pass corrects",
        "a check that goes wrong itself",
        "no slip at all",
        "a slip that is noticed",
        "a needless second look",
        "an interim answer",
        "all the passes there may be",
    ],
)
def test_traces_are_of_many_kinds(traces, sign_of):
    """Every turn that a trace may take is taken by some, and none by all."""
    assert 0 < sum(sign_of(*one) for one in traces) < len(traces)


@pytest.mark.parametrize(
    ("step", "pieces"),
    [
        ((12, "+", 7), "12+7=19"),
        ((47, "+", 20), "47+20=67"),
        ((47, "+", 25), "47+20=67, 67+5=72"),
        ((47, "+", 11), "47+10=57, 57+1=58"),
        ((83, "-", 47), "83-40=43, 43-7=36"),
        ((50, "-", 25), "50-20=30, 30-5=25"),
        ((6, "*", 8), "6*8=48"),
        ((21, "*", 1), "21*1=21"),
        ((0, "*", 12), "0*12=0"),
        ((15, "*", 2), "10*2=20, 5*2=10, 20+10=30"),
        ((47, "*", 8), "40*8=320, 7*8=56, 320+56=376"),
        ((8, "*", 105), "100*8=800, 5*8=40, 800+40=840"),
        ((56, "/", 8), "56/8=7"),
        ((84, "/", 7), "70/7=10, 14/7=2, 10+2=12"),
    ],
)
def test_steps_are_worked_out_in_pieces(step, pieces):
    """Hard steps are split by decimal places, easy ones stand as they are."""
    assert workings(one_step(*step)) == pieces.split(", ")


@given(st.sampled_from("+-*/"), st.integers(0, 3000), st.integers(0, 3000))
def test_workings_are_true(sign, one, other):
    """All small equations of a step are true, and the last one's value is the step's result."""
    if sign == "-":
        one, other = max(one, other), min(one, other)
    if sign == "/":
        one, other = one * (other % 9 + 1), other % 9 + 1
    step = one_step(one, sign, other)
    lines = workings(step)
    assert all(holds(EQUATION.fullmatch(line)) for line in lines)
    assert lines[-1].endswith(f"={step.result}")


@given(st.sampled_from("+-*"), st.integers(0, 99), st.integers(0, 99), st.integers())
def test_the_true_result_ignores_the_stated_one(sign, left, right, stated):
    """What a step should give does not depend on what it says."""
    step = Step(Quantity(left), sign, Quantity(right), stated)
    assert is_true(left, sign, right, true_result(step))
