"""Recorded searches in an engine's place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recorded import recorded

from dynasor.core.errors import UserError
from dynasor.core.types import Call, Generate, PolicySpec, Prompt, Sampling, Score, Usage
from dynasor.evaluate.recorded import RecordedStep
from dynasor.evaluate.recording import RecordedTask, Recording
from dynasor.evaluate.replay import Job, replay
from dynasor.sim.engine import Segment

EVEN = PolicySpec("even", has_lock=False)
STEPS = (
    RecordedStep(5, -1, 0.5),
    RecordedStep(7, -1, 0.9),
    RecordedStep(3, 0, 0.2, group=1, is_finished=True),
    RecordedStep(4, 1, 0.8, group=0, is_finished=True),
    RecordedStep(9, 1, None, is_cut=True),
    RecordedStep(0, 1, 0.1, blank=""),
    RecordedStep(2, 5, 0.3, is_finished=True, blank=""),
)


def question(*searches, **rest):
    """A question with these searches, and as many units as the first has steps."""
    size = len(searches[0])
    return recorded("ab" * size, (0,), is_ordered=True, searches=searches, **rest)


class Program:
    """Calls of one program on a recording."""

    def __init__(self, *searches, seed=0, path=()):
        self.recording = Recording()
        self.recording.add("p", question(*searches), seed, path)
        self.count = 0

    def call(self, work):
        self.count += 1
        return self.recording(Call(f"p#{self.count}", "p", "generate", work, "p", "p"), 1)

    def step(self, prefix=""):
        return self.call(Generate(Prompt((), prefix), Sampling(stop=("\n",))))

    def rest(self, prefix=""):
        return self.call(Generate(Prompt((), prefix)))

    def score(self, *prefixes):
        return self.call(Score(tuple(Prompt((), one) for one in prefixes))).output.rewards


def test_steps():
    """The k-th call from a step gets the k-th step behind it, with its tokens."""
    on = Program(STEPS)
    found = [on.step() for _ in range(2)]
    assert [(one.output.text, one.tokens) for one in found] == [("#0", 5), ("#1", 7)]
    behind = [on.step("#1\n") for _ in range(3)]
    assert [one.output.text for one in behind] == ["#3=0", "#4", ""]
    assert [one.output.finish_reason for one in behind] == ["stop", "length", "stop"]
    assert on.step("#0\n").output.text == "#2=1"
    assert on.step("#1\n\n").output.text == ""
    assert on.score("#1\n#3=0\n", "#0\n", "#1\n\n") == (0.8, 0.5, 0.1)
    assert on.recording.missing("p") == 0


def test_whole_paths():
    """A call that stops nowhere gets all that came behind a step in one go."""
    on = Program(STEPS)
    assert [(one.output.text, one.tokens) for one in (on.rest(), on.rest())] == [
        ("#0\n#2=1", 8),
        ("#1\n#3=0", 11),
    ]
    assert on.rest("#1\n").output.finish_reason == "length"
    assert on.score("#0\n#2=1\n") == (0.2,)


def test_once_more():
    """What is asked for beyond the recording is what was recorded, again, and counted."""
    on = Program(STEPS)
    assert [on.step().output.text for _ in range(5)] == ["#0", "#1", "#0", "#1", "#0"]
    assert on.recording.missing("p") == 2


def test_a_step_that_nobody_went_on_from():
    """It is gone on from as the step of its depth with the nearest reward was."""
    steps = (*STEPS[:2], RecordedStep(1, -1, 0.85), RecordedStep(3, 1, 0.8, 0, is_finished=True))
    on = Program(steps)
    assert [on.step().output.text for _ in range(3)] == ["#0", "#1", "#2"]
    assert on.step("#2\n").output.text == "#3=0"
    assert on.score("#2\n#3=0\n") == (0.8,)
    assert on.recording.missing("p") == 1


def test_nothing_at_all():
    """Where nothing was recorded a model has nothing to say."""
    on = Program(STEPS[:1])
    on.step()
    assert (on.step("#0\n").output.text, on.recording.missing("p")) == ("", 1)


def test_seeds():
    """A seed chooses the search."""
    other = (RecordedStep(1, -1, 0.5, 0, is_finished=True),)
    assert [Program(STEPS, other, seed=n).step().tokens for n in range(4)] == [5, 1, 5, 1]


def test_prompts():
    """A prompt is the question's and the steps', and what was generated can be found again."""
    on = Program(STEPS, path=(Segment("w", 100), Segment("p", 7)))
    first = on.step()
    assert (first.path, first.output.usage) == ((Segment("w", 100), Segment("p", 7)), Usage(107, 5))
    second = on.step("#0\n")
    assert second.path == (*first.path, Segment(first.key, 5))
    assert second.output.usage == Usage(112, 3)
    assert len({first.key, second.key, on.step().key}) == 3


def test_prompts_from_the_middle():
    """A prompt that ends within what one call generated is its beginning."""
    on = Program(STEPS)
    on.rest()
    whole = on.rest()
    assert on.rest("#1\n").path == (Segment(whole.key, 7),)


def test_unknown_text():
    """A text that is no path is one error."""
    with pytest.raises(UserError, match="'q': the program goes on from 'so'"):
        Program(STEPS).step("so")


def test_no_reward():
    """A reward that was never given is one error."""
    on = Program(STEPS)
    on.step()
    on.step()
    for _ in range(2):
        on.step("#1\n")
    with pytest.raises(UserError, match="a step without a reward"):
        on.score("#1\n#4\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#17", None),
        ("#17=2", "2"),
        ("#1\n#17=12\n", "12"),
        ("#1=3\n\n", "3"),
        ("#1\n\n", None),
        ("", None),
        ("2@4", "2"),
        ("@4", None),
        ("...=5", "5"),
        ("?-", None),
    ],
)
def test_answers(text, value):
    """A text's answer is the class that its last step states."""
    assert RecordedTask().extract(text) == value


@st.composite
def searches(draw):
    """Any search: steps with parents before them, finished, blank and cut ones."""
    steps = []
    for _ in range(draw(st.integers(1, 12))):
        open_ones = [
            place for place, step in enumerate(steps) if not (step.is_finished or step.is_cut)
        ]
        parent = draw(st.sampled_from([-1, *open_ones]))
        kind = draw(st.sampled_from(["plain", "blank", "finished", "cut"]))
        steps.append(
            RecordedStep(
                draw(st.integers(0, 9)),
                parent,
                draw(st.floats(0, 1)),
                group=draw(st.none() | st.integers(0, 1)) if kind == "finished" else None,
                is_finished=kind == "finished",
                blank="" if kind == "blank" else None,
                is_cut=kind == "cut",
            )
        )
    return tuple(steps)


@given(
    st.lists(searches(), min_size=1, max_size=2),
    st.sampled_from(["rebase", "beam", "mcts"]),
    st.integers(1, 6),
    st.integers(0, 3),
    st.none() | st.integers(1, 3),
)
def test_any_search_under_any_program(found, name, cap, seed, in_flight):
    """Whatever was recorded, every program runs on it to its end, and spends what it was given."""
    size = max(cap, *map(len, found))
    asked = recorded("ab" * size, (0,), is_ordered=True, searches=tuple(found))
    policy = PolicySpec("even", {"in_flight": in_flight}, has_lock=False)
    job = Job(policy, cap, name, params={"max_steps": 5})
    ended = replay([asked], job, seed)
    assert ended.knob.tolist() == [cap]
    assert ended.quality[0] in (0.0, 1.0)
    assert 0 <= ended.missing[0] <= ended.launched[0]
    assert replay([asked], job, seed).tokens.tolist() == ended.tokens.tolist()
