"""What a part's calls need of its recording."""

from __future__ import annotations

import pytest
from toys.recorded import recorded

from dynasor.online.outcomes import check_fits, check_questions, prompt_path, prompt_tokens
from dynasor.online.workload import Deadline, Part, WorkloadError
from dynasor.sim.engine import Segment

PART = Part("a", cap=4)


def asked(characters, **rest):
    """A question of so many characters."""
    return recorded("aaaa", name="q" * (characters - 1), **rest)


@pytest.mark.parametrize(("characters", "tokens"), [(1, 1), (4, 1), (5, 2), (400, 100)])
def test_estimate(characters, tokens):
    """A prompt has a token for every four characters, begun ones too."""
    assert prompt_tokens(PART, asked(characters)) == tokens


def test_given():
    """A prompt has as many tokens as its part says."""
    assert prompt_tokens(Part("a", prompt_tokens=77), asked(400)) == 77


def test_path():
    """Programs share their part's instructions and nothing else."""
    question = asked(40)
    assert prompt_path(PART, "a/00001", question) == (Segment("a/00001", 10),)
    part = Part("a", shared_tokens=500)
    first, second = (prompt_path(part, f"a/0000{number}", question) for number in (1, 2))
    assert first == (Segment("a", 500), Segment("a/00001", 10))
    assert first[0] == second[0]
    assert first[1] != second[1]


@pytest.mark.parametrize(
    ("part", "questions", "match"),
    [
        (PART, [], "no question that can be used"),
        (PART, [recorded("aaa")], "cap 4 is beyond what was recorded"),
        (PART, [recorded("aaaa", tokens=0)] * 2, "every sample of its trace has 0 tokens"),
        (
            Part("a", cap=4, deadline=Deadline(3.0)),
            [recorded("aaaa"), recorded("aaaa", has_quality=False)],
            "nothing says what is right for 1 of 2 questions",
        ),
        (
            Part("a", cap=4, deadline=Deadline(3.0, judged_at=9)),
            [recorded("aaaaaa"), recorded("a" * 20)],
            "judged_at is 9, and some question has only 6 samples; give at most 6",
        ),
        (
            Part("a", cap=4, program="best-of-n"),
            [recorded("aaaa", rewards=(0.5,) * 4), recorded("aaaa")],
            "'best-of-n' asks for a reward of each sample, and 1 of 2 questions do not have them",
        ),
    ],
)
def test_mistakes(part, questions, match):
    """Questions that do not suit their part are refused in one line that names it."""
    with pytest.raises(WorkloadError, match=f"^part 'a': .*{match}") as caught:
        check_questions(part, questions)
    assert "\n" not in str(caught.value)


def test_suited():
    """Equal factors need no labels, votes what was recorded, and some samples may be empty."""
    part = Part("a", cap=4, deadline=Deadline(3.0, factors=(1.0, 1.0, 1.0)))
    check_questions(part, [recorded("aaaa", tokens=[0, 0, 0, 1], has_quality=False)])
    check_questions(Part("a", cap=4, deadline=Deadline(3.0, judged_at=6)), [recorded("a" * 6)])
    best = Part("a", cap=4, program="best-of-n")
    check_questions(best, [recorded("aaaa", rewards=(0.5,) * 4)])


def test_fits():
    """Instructions, prompt and longest sample fit to the token, or are refused."""
    part = Part("a", cap=4, prompt_tokens=30, shared_tokens=100)
    questions = [recorded("aaaa"), recorded("aaaa", tokens=[1, 1, 70, 1], name="long")]
    check_fits(part, questions, 200)
    match = "^part 'a': the modelled memory holds 199 tokens, and 1 of 2 .*'long' 200 .*more memory"
    with pytest.raises(WorkloadError, match=match):
        check_fits(part, questions, 199)
    check_fits(part, [], 1)
