from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.datasets.arithmetic import Problem, Quantity, Step, conclusion, problems
from dynasor.datasets.arithmetic.slips import Attempt, attempt, careless, grade, misread
from dynasor.datasets.arithmetic.steps import operate, recalculate

EQUATION = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)\.")

STORY = (
    Step(Quantity(12), "+", Quantity(7), 19),
    Step(Quantity(19, 0), "*", Quantity(2), 38),
    Step(Quantity(3), "*", Quantity(4), 12),
    Step(Quantity(38, 1), "-", Quantity(12, 2), 26),
    Step(Quantity(26, 3), "/", Quantity(2), 13),
)
LINES = ["12+7=19.", "19*2=38.", "3*4=12.", "38-12=26.", "26/2=13.", conclusion(13)]
PROBLEM = Problem("story", "", "\n".join(LINES), "13", len(STORY), STORY)


@pytest.fixture(scope="module")
def drawn() -> list[Problem]:
    """Problems of every length."""
    return list(islice(problems("train", 4), 160))


@pytest.fixture(scope="module")
def attempts(drawn) -> list[tuple[Problem, Attempt]]:
    """Several attempts at each problem."""
    return [(one, attempt(one, Random(f"{i}/{one.id}"))) for i in range(5) for one in drawn]


@pytest.fixture(scope="module")
def at_the_story() -> set[tuple[str, ...]]:
    """The different attempts at one problem."""
    return {attempt(PROBLEM, Random(seed)).lines for seed in range(2500)}


def is_true(line: str) -> bool:
    left, sign, right, result = EQUATION.fullmatch(line).groups()
    a, b, c = int(left), int(right), int(result)
    return {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": b > 0 and a == b * c}[sign]


def written(steps: list[Step] | None) -> str | None:
    return None if steps is None else " ".join(map(str, steps))


def test_recalculation_changes_nothing_by_itself(drawn):
    """Without other results a calculation comes out as it is."""
    for problem in drawn:
        assert recalculate(problem.calculation) == list(problem.calculation)
        assert recalculate(problem.calculation, {}) == list(problem.calculation)


@pytest.mark.parametrize(
    ("results", "wanted"),
    [
        ({0: 20}, "12+7=20 20*2=40 3*4=12 40-12=28 28/2=14"),
        ({1: 12}, "12+7=19 19*2=12 3*4=12 12-12=0 0/2=0"),
        ({2: 14}, "12+7=19 19*2=38 3*4=14 38-14=24 24/2=12"),
        ({4: 0}, "12+7=19 19*2=38 3*4=12 38-12=26 26/2=0"),
        ({0: 9, 3: 8}, "12+7=9 9*2=18 3*4=12 18-12=8 8/2=4"),
    ],
)
def test_another_result_is_carried_on(results, wanted):
    """A given result stands where it is given, and all later steps use it."""
    assert written(recalculate(STORY, results)) == wanted


@pytest.mark.parametrize(
    "results",
    [{1: 37}, {3: 25}, {0: 5}, {2: 39}],
    ids=["a remainder behind", "a remainder", "below zero behind", "below zero"],
)
def test_what_does_not_work_out_is_none(results):
    """A remainder and a difference below zero make a calculation impossible."""
    assert recalculate(STORY, results) is None


def test_a_division_by_zero_is_none():
    """A step that would divide by an earlier result of zero makes a calculation impossible."""
    steps = [
        Step(Quantity(4), "-", Quantity(2), 2),
        Step(Quantity(6), "/", Quantity(2, 0), 3),
    ]
    assert written(recalculate(steps, {0: 3})) == "4-2=3 6/3=2"
    assert recalculate(steps, {0: 0}) is None


def test_an_impossible_step_stays_impossible_with_a_result():
    """A result given for a step does not make its operation possible."""
    assert recalculate([Step(Quantity(7), "/", Quantity(2), 3)], {0: 3}) is None
    assert recalculate([Step(Quantity(2), "-", Quantity(7), 5)], {0: 5}) is None


def test_recalculation_keeps_the_calculation(drawn):
    """One other result leaves signs and sources alone and makes every other step true."""
    rng = Random(1)
    outcomes = set()
    for problem in drawn:
        at = rng.randrange(problem.steps)
        wrong = misread(problem.calculation[at].result, rng)
        steps = recalculate(problem.calculation, {at: wrong})
        outcomes.add(steps is None)
        if steps is None:
            continue
        assert steps[:at] == list(problem.calculation[:at])
        assert steps[at] == replace(problem.calculation[at], result=wrong)
        for index, (old, new) in enumerate(zip(problem.calculation, steps, strict=True)):
            assert (new.sign, new.left.step, new.right.step) == (
                old.sign,
                old.left.step,
                old.right.step,
            )
            assert is_true(f"{new}.") == (index != at)
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("number", "ways"),
    [
        (7, {17, *range(10)}),
        (95, {94, 96, 85, 105, *range(90, 100), *range(5, 100, 10)}),
        (105, {104, 106, 95, 115, *range(100, 110), *range(105, 200, 10), *range(5, 1000, 100)}),
    ],
)
def test_numbers_are_misread_in_every_way(number, ways):
    """A misread number is off by one, off by ten or has one other digit, and all of them occur."""
    rng = Random(0)
    assert {misread(number, rng) for _ in range(1500)} == ways - {number}


@given(st.integers(0, 10**6), st.integers(0, 999))
def test_a_misread_number_is_another(number, seed):
    """A misread number is never the number itself and never negative."""
    wrong = misread(number, Random(seed))
    assert wrong != number
    assert wrong >= 0


def test_half_of_the_attempts_are_right(attempts):
    """An attempt is right about as often as wrong."""
    assert 0.45 < sum(all(one.is_right) for _, one in attempts) / len(attempts) < 0.58


def test_the_same_state_gives_the_same_attempt(drawn):
    """An attempt depends on the problem and the state of the generator alone."""
    problem = drawn[7]
    assert attempt(problem, Random(3)) == attempt(problem, Random(3))
    assert len({attempt(problem, Random(seed)) for seed in range(20)}) > 4


def test_right_attempts_are_the_solution(attempts):
    """A right attempt has the lines of the solution, a wrong one other results."""
    for problem, one in attempts:
        solution = problem.solution.split("\n")
        if all(one.is_right):
            assert list(one.lines) == solution
        else:
            ends = [[line.rsplit("=")[-1] for line in lines] for lines in (one.lines, solution)]
            assert ends[0] != ends[1]
            assert not one.is_right[-1]


@pytest.mark.parametrize(
    "lines",
    [
        "12+7=20. 20*2=40. 3*4=12. 40-12=28. 28/2=14.",
        "12+7=19. 19*2=38. 3*4=12. 38+12=50. 50/2=25.",
        "12+7=19. 19*2=38. 3*4=12. 38-4=34. 34/2=17.",
        "12+7=19. 19*2=38. 3*4=12. 38-12=26. 38/2=19.",
        "12*2=24. 3*4=12. 24-12=12. 12/2=6.",
        "12+7=19. 19*2=38. 3*4=12. 38/2=19.",
        "12+7=19. 19*2=38. 3*4=12. 38-12=26.",
    ],
    ids=[
        "a misread result",
        "another sign",
        "another number of the story",
        "an earlier count",
        "the first step left out",
        "a step left out",
        "the last step left out",
    ],
)
def test_attempts_go_wrong_in_many_ways(at_the_story, lines):
    """Each kind of error is made, and what follows builds on it."""
    steps = lines.split(" ")
    answer = steps[-1].rsplit("=")[-1].removesuffix(".")
    assert (*steps, conclusion(answer)) in at_the_story


def test_another_way_to_the_same_result_is_no_error():
    """An attempt that is meant to go wrong does not end up with all results right."""
    step = Step(Quantity(2), "+", Quantity(2), 4)
    problem = Problem("twos", "", f"2+2=4.\n{conclusion(4)}", "4", 1, (step,))
    tried = [attempt(problem, Random(seed)) for seed in range(200)]
    assert {one.lines for one in tried if all(one.is_right)} == {("2+2=4.", conclusion(4))}


def test_an_attempt_never_recovers(attempts):
    """Each line has a verdict; the first line that differs and all lines after it are wrong."""
    for problem, one in attempts:
        assert len(one.lines) == len(one.is_right)
        assert list(one.is_right) == sorted(one.is_right, reverse=True)
        agreeing = 0
        for line, right in zip(one.lines, problem.solution.split("\n"), strict=False):
            if line != right:
                break
            agreeing += 1
        assert sum(one.is_right) == agreeing


def test_a_wrong_attempt_carries_on(attempts):
    """After its one error an attempt works on truly and concludes with its last result."""
    false, lengths = set(), set()
    for problem, one in attempts:
        *lines, last = one.lines
        assert last == conclusion(int(lines[-1].rsplit("=")[-1].removesuffix(".")))
        false.add(sum(not is_true(line) for line in lines))
        lengths.add(len(lines) - problem.steps)
    assert false == {0, 1}
    assert lengths == {0, -1}


def test_careless_solutions_slip_where_numbers_are_large():
    """Only steps with three digits slip, as often as asked, and what follows uses the result."""
    rng = Random(0)
    large = slipped = 0
    for problem in islice(problems("train", 3, limit=[50, 999]), 400):
        right = problem.solution.split("\n")
        lines = careless(problem, 0.25, rng).split("\n")
        assert len(lines) == len(right)
        assert lines[-1] == conclusion(int(lines[-2].rsplit("=")[-1].removesuffix(".")))
        for line in lines[:-1]:
            left, sign, right_, _ = re.fullmatch(r"(\d+)(.)(\d+)=(\d+)\.", line).groups()
            is_large = max(int(left), int(right_), operate(int(left), sign, int(right_))) >= 100
            assert is_large or is_true(line)
            large += is_large
            slipped += not is_true(line)
    assert 0.1 < slipped / large < 0.3
    assert careless(problem, 0.0, rng) == problem.solution


def test_errors_strike_at_every_step(attempts):
    """The first wrong line of attempts at long problems may be any."""
    first = {
        one.is_right.index(False)
        for problem, one in attempts
        if problem.steps == 6 and not all(one.is_right)
    }
    assert first == set(range(6))


@pytest.mark.parametrize(
    ("lines", "right"),
    [
        (LINES, 6),
        ([], 0),
        (LINES[:-1], 5),
        (LINES[:3], 3),
        (LINES[1:], 0),
        ([*LINES[:2], *LINES[3:]], 2),
        ([*LINES, ""], 6),
        ([*LINES, LINES[-1]], 6),
        (["7+12=19.", "2*19=38.", "4*3=12.", *LINES[3:]], 6),
        ([" 12 + 7 = 19. ", *LINES[1:]], 6),
        (["12+7=18.", *LINES[1:]], 0),
        (["9+10=19.", *LINES[1:]], 0),
        ([*LINES[:4], "26/2=14.", conclusion(13)], 4),
        ([*LINES[:5], conclusion(14)], 5),
        (["Let me see.", *LINES], 0),
        ([*LINES[:2], "no sum at all", *LINES[3:]], 2),
        (["=", "", "12+7", "\\boxed{13}"], 0),
        ([*LINES[:4], LINES[5]], 4),
    ],
)
def test_lines_are_right_as_far_as_the_solution(lines, right):
    """Lines count in order, operands exchanged or not; nothing after the first wrong one does."""
    graded = grade(PROBLEM, lines)
    assert graded.lines == tuple(lines)
    assert graded.is_right == tuple(index < right for index in range(len(lines)))


@given(st.lists(st.sampled_from(LINES) | st.text("=.0123456789 \\{}x")))
def test_grading_takes_any_lines(lines):
    """Any lines get a verdict each, and no line is right after a wrong one."""
    graded = grade(PROBLEM, lines)
    assert len(graded.is_right) == len(lines)
    assert list(graded.is_right) == sorted(graded.is_right, reverse=True)
    assert sum(graded.is_right) <= len(LINES)
