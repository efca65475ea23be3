from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from string import Formatter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynasor.datasets.arithmetic import (
    MAX_STEPS,
    Problem,
    Quantity,
    Step,
    conclusion,
    generator,
    heldout,
    limits,
    problems,
    split_of,
)
from dynasor.datasets.arithmetic.generator import Split
from dynasor.datasets.arithmetic.steps import operate
from dynasor.datasets.arithmetic.wordings import PARTS, SETTINGS, TIMES

WORDS = {
    "half": 2,
    "a third": 3,
    "a quarter": 4,
    "a fifth": 5,
    "a sixth": 6,
    "twice": 2,
    "three times": 3,
    "four times": 4,
    "five times": 5,
    "six times": 6,
}

FIELDS = {
    "start": [{"n"}],
    "start_groups": [{"a", "b"}],
    "start_sum": [{"a", "b"}],
    "add": [{"n"}],
    "remove": [{"n"}],
    "multiply": [{"times"}],
    "divide": [{"part"}, {"n"}],
    "add_groups": [{"a", "b"}],
    "remove_groups": [{"a", "b"}],
    "compare_more": [{"n"}],
    "compare_fewer": [{"n"}],
    "compare_times": [{"times"}],
    "compare_part": [{"part"}],
    "ask": [set()],
    "ask_price": [{"n"}],
    "ask_share": [{"n"}],
    "ask_missing": [{"n"}],
    "ask_together_times": [{"times"}],
    "ask_together_more": [{"n"}],
}

TEMPLATES = sorted(
    {
        (kind, template)
        for setting in SETTINGS
        for kind, templates in setting.sentences.items()
        for template in templates
    }
)


@pytest.fixture(scope="module")
def drawn() -> list[Problem]:
    """Training problems of every length."""
    return list(islice(problems("train", 5), 320))


@pytest.fixture(scope="module")
def held() -> list[Problem]:
    """The first held-out problems."""
    return heldout(24)


def solutions(split: Split, count: int, **arguments: Any) -> set[str]:
    return {problem.solution for problem in islice(problems(split, **arguments), count)}


def is_sum_of_both(problem: Problem) -> bool:
    return "together" in problem.question


def numbers(problem: Problem) -> Iterator[int]:
    for step in problem.calculation:
        yield from (step.left.value, step.right.value, step.result)


def stated(problem: Problem) -> Counter[int]:
    """Count the numbers that a calculation takes from the story; one used twice is told once."""
    quantities = [q for step in problem.calculation for q in (step.left, step.right)]
    found = Counter(q.value for q in quantities if q.step is None)
    own = problem.calculation[-1].left
    if is_sum_of_both(problem) and own.step is None:
        found[own.value] -= 1
    return +found


def told(question: str) -> Counter[int]:
    """Count the numbers that a question holds as digits or as words."""
    found = Counter(int(digits) for digits in re.findall(r"\d+", question))
    for word, number in WORDS.items():
        found[number] += len(re.findall(rf"\b{word}\b", question))
    return +found


def test_the_same_arguments_give_the_same_problems(drawn):
    """A stream depends on its arguments alone, and another seed gives other problems."""
    assert list(islice(problems("train", 5), 40)) == drawn[:40]
    other = list(islice(problems("train", 6), 8))
    assert not {problem.question for problem in other} & {one.question for one in drawn[:8]}
    limited = {"seed": 5, "steps": [2], "limit": [50]}
    assert list(islice(problems("train", **limited), 8)) == list(
        islice(problems("train", **limited), 8)
    )


def test_identifiers_are_unique(drawn, held):
    """No two problems of a stream, nor of two splits, share an identifier."""
    names = [problem.id for problem in [*drawn, *held]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("steps", [[3, 1, 1], [8], range(1, MAX_STEPS + 1)])
def test_step_counts_follow_in_turn(steps):
    """Problem i has as many steps as the i-th entry of the repeated list, and calculates them."""
    for index, problem in enumerate(islice(problems("train", steps=steps), 2 * len(steps))):
        assert problem.steps == len(problem.calculation) == steps[index % len(steps)]


def test_every_calculation_is_true(drawn):
    """Each step's result is what its operation gives; quotients leave no remainder."""
    for step in chain.from_iterable(problem.calculation for problem in drawn):
        left, right, result = step.left.value, step.right.value, step.result
        wanted = {"+": left + right, "-": left - right, "*": left * right}
        assert wanted.get(step.sign, result) == result
        assert step.sign != "/" or left == right * result
    assert {step.sign for problem in drawn for step in problem.calculation} == set("+-*/")


def test_steps_build_on_each_other(drawn):
    """A quantity made by a step comes earlier and has its result; none but the last is unused."""
    for problem in drawn:
        used = set()
        for index, step in enumerate(problem.calculation):
            for quantity in (step.left, step.right):
                if quantity.step is not None:
                    assert quantity.step < index
                    assert quantity.value == problem.calculation[quantity.step].result
                    used.add(quantity.step)
        assert used == set(range(problem.steps - 1))


def test_the_solution_is_the_calculation(drawn):
    """A solution has one line a step, then the answer, which is the last result."""
    for problem in drawn:
        *lines, last = problem.solution.split("\n")
        assert lines == [
            f"{step.left.value}{step.sign}{step.right.value}={step.result}."
            for step in problem.calculation
        ]
        assert last == f"The answer is \\boxed{{{problem.answer}}}."
        assert problem.answer == str(problem.calculation[-1].result)


def test_the_question_holds_the_numbers(drawn):
    """A question tells exactly the numbers that the calculation takes from the story."""
    for problem in drawn:
        assert told(problem.question) == stated(problem), problem
    assert any(word in problem.question for problem in drawn for word in WORDS)


@pytest.mark.parametrize("bound", [20, 50, 300])
def test_numbers_keep_to_the_limit(bound):
    """All numbers lie between 1 and the bound; only a final sum of two counts may reach more."""
    sums = []
    for problem in islice(problems("train", limit=[bound]), 160):
        *inner, last = numbers(problem)
        assert min(*inner, last) >= 1
        assert max(inner) <= bound
        if last > bound:
            assert is_sum_of_both(problem)
            sums.append(last)
    assert sums
    assert max(sums) < 2 * bound


def test_bounds_are_drawn_from_the_limits():
    """Each entry of the limits bounds its share of the problems."""
    largest = [
        max(numbers(problem))
        for problem in islice(problems("train", steps=[1], limit=[20, 10_000]), 200)
    ]
    assert 60 < sum(number <= 40 for number in largest) < 140


@pytest.mark.parametrize("steps", range(1, MAX_STEPS + 1))
def test_longer_problems_have_larger_numbers(steps):
    """Without limits the number of steps grades the bounds."""
    bound = max(limits(steps))
    assert bound >= max(limits(max(1, steps - 1)))
    largest = 0
    for problem in islice(problems("train", steps=[steps]), 60):
        largest = max(largest, *list(numbers(problem))[:-1])
    assert bound / 2 < largest <= bound


@pytest.mark.parametrize("limit", [None, [20], [50], [20, 100]])
def test_splits_are_disjoint(limit):
    """No held-out solution is a training solution, whatever the limits of either."""
    easy = [1, 1, 1, 2]
    outside = solutions("heldout", 60, steps=easy, limit=limit)
    inside = set().union(
        *(
            solutions("train", 500, seed=seed, steps=easy, limit=other)
            for seed, other in enumerate([None, [20], [50]])
        )
    )
    assert {split_of(solution) for solution in outside} == {"heldout"}
    assert {split_of(solution) for solution in inside} == {"train"}
    assert not outside & inside


def test_one_solution_in_sixteen_is_held_out():
    """The hash of the solution holds out a sixteenth."""
    texts = [f"{a}+{b}={a + b}.\n{conclusion(a + b)}" for a in range(64) for b in range(64)]
    assert 210 < sum(split_of(text) == "heldout" for text in texts) < 302


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"split": "test"}, "split is 'test', expected 'train' or 'heldout'"),
        ({"split": "Train"}, "split is 'Train'"),
        ({"steps": []}, "steps is [], expected counts from 1 to 8"),
        ({"steps": [1, 0]}, "steps is [1, 0]"),
        ({"steps": (MAX_STEPS + 1,)}, f"steps is ({MAX_STEPS + 1},)"),
        ({"limit": []}, "limit is [], expected bounds of 20 or more"),
        ({"limit": [20, 19]}, "limit is [20, 19]"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    """A bad argument raises at the call, not at the first problem, and the message names it."""
    with pytest.raises(ValueError, match=re.escape(named)):
        problems(**{"split": "train", **arguments})


def test_heldout_is_an_even_mix(held):
    """Held-out problems are distinct, of 1 to 8 steps in turn, and all in their split."""
    assert [problem.steps for problem in held] == [1 + index % MAX_STEPS for index in range(24)]
    assert len({problem.question for problem in held}) == len(held)
    assert {split_of(problem.solution) for problem in held} == {"heldout"}


def test_a_shorter_heldout_list_is_a_prefix(held):
    """Asking for more held-out problems adds to the end."""
    assert heldout(9) == held[:9]
    assert heldout(0) == []


def test_heldout_skips_what_it_has(monkeypatch, drawn):
    """A question that comes again is skipped, and the order stays."""
    one, two, three = drawn[:3]
    stream = [one, one, two, one, three, two]
    monkeypatch.setattr(generator, "problems", lambda split, seed: iter(stream))
    assert heldout(3) == [one, two, three]


def test_a_negative_count_is_named():
    """A negative count of held-out problems raises an error that names it."""
    with pytest.raises(ValueError, match="count is -1, expected 0 or more"):
        heldout(-1)


@given(st.integers(0, 999), st.integers(1, 999))
def test_operations_are_those_of_whole_numbers(left, right):
    """Operations are the schoolbook ones; a quotient is rounded down."""
    assert operate(left, "+", right) - right == left
    assert operate(left, "-", right) + right == left
    assert operate(left, "*", right) == sum([left] * right)
    assert 0 <= left - right * operate(left, "/", right) < right


def test_a_step_is_written_as_in_a_solution():
    """A step reads as an equation without spaces, with the result that it holds."""
    made_by = Quantity(19, 0)
    assert str(Step(made_by, "*", Quantity(2), 39)) == "19*2=39"


@pytest.mark.parametrize(("kind", "template"), TEMPLATES)
def test_a_template_tells_its_numbers(kind, template):
    """Each wording of a kind has the fields for its numbers, once, and no number of its own."""
    fields = [name for _, name, _, _ in Formatter().parse(template) if name]
    known = {"who", "name", "friend", "things", "spot"}
    used = [name for name in fields if name not in known]
    assert set(used) in FIELDS[kind]
    assert len(used) == len(set(used))
    assert told(Formatter().vformat(template, (), dict.fromkeys(fields, ""))) == Counter()


@pytest.mark.parametrize(("kind", "template"), TEMPLATES)
def test_pronouns_begin_sentences(kind, template):
    """The owner who may become a pronoun stands at the start of a sentence only."""
    for match in re.finditer(r"\{who\}", template):
        assert match.start() == 0 or template[: match.start()].endswith(". ")


def test_number_words_mean_their_numbers():
    """Factors and shares are told by the words for them, each word for one number."""
    assert {word: n for n, word in [*TIMES.items(), *PARTS.items()]} == WORDS
