from __future__ import annotations

import pytest
from toys.stage import catalog
from toys.words import Words

from dynasor.core.catalog import describe_program
from dynasor.core.types import Message, PolicySpec, Prompt
from dynasor.programs import SelfConsistency, programs

WORDS = {"question": "what?", "task": "words"}


def test_registered():
    """Programs are registered by their names."""
    assert programs()["self-consistency"] is SelfConsistency
    assert all(kind.name == name for name, kind in programs().items())


def test_description_round_trip():
    """A program's description builds an equal program, fresh."""
    program = SelfConsistency("what?", task="words", cap=7, temperature=0.2)
    spec = describe_program(program)
    again = catalog().build_program(spec)
    assert again == program
    assert again is not program
    assert set(spec.params) >= {
        "question",
        "task",
        "cap",
        "max_tokens",
        "temperature",
        "top_p",
        "has_logprobs",
    }


def test_what_is_sent(stage):
    """Each branch samples the task's prompt with the program's sampling."""
    on = stage()
    params = {**WORDS, "cap": 2, "max_tokens": 9, "temperature": 0.1, "top_p": 0.5}
    on.arrive(params={**params, "has_logprobs": True})
    works = [submit.call.work for submit in on.submits]
    assert works[0] == works[1]
    assert isinstance(works[0].prompt, Prompt)
    assert works[0].prompt.messages[0].content == "what?"
    sampling = works[0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (9, 0.1, 0.5)
    assert sampling.has_logprobs
    assert works[0].report_every == 0
    on.drain()


def test_messages(stage):
    """A conversation is sent as it is, after the task's instruction if it brings none."""

    class Strict(Words):
        def prompt(self, question):
            return Prompt((Message("system", "be brief"), Message("user", question)))

    on = stage(tasks=[Strict("strict")])
    asked = [{"role": "user", "content": "hm?"}]
    told = [{"role": "system", "content": "sing"}, *asked]
    for messages in ([], asked, told):
        on.arrive(params={"question": "q", "task": "strict", "cap": 1, "messages": messages})
    sent = [[m.content for m in submit.call.work.prompt.messages] for submit in on.submits]
    assert sent == [["be brief", "q"], ["be brief", "hm?"], ["sing", "hm?"]]
    on.drain()


def test_text_is_the_winners_first(stage):
    """The answer's text is the first finished completion of the winning class."""
    on = stage()
    program = on.arrive(cap=4)
    for call, text in zip(on.calls, ["a red", "b blue", "c blue", "d red"], strict=True):
        on.finish(call, text)
    assert on.answers[program].answer.text == "a red", "a tie goes to the first launch"


def test_tie_goes_to_the_first_launch(stage):
    """With all votes in, a tie goes to the class launched first, whoever finished first."""
    on = stage()
    program = on.arrive(cap=2)
    on.finish("p0#2", "so blue")
    on.finish("p0#1", "so red")
    assert on.answers[program].answer.value == "red"


def test_grouped_answers_share_a_vote(stage):
    """Answers that a worker finds equal vote together, under the first one's name."""
    on = stage()
    program = on.arrive(cap=3)
    on.finish("p0#1", "so aa")
    on.finish("p0#2", "so AA")
    on.finish("p0#3", "so bb")
    on.verdict(program, 0)
    assert on.answers[program].votes == {"aa": 2.0, "bb": 1.0}
    assert on.answers[program].answer.value == "aa"


def test_votes_settle_in_launch_order(stage):
    """Beta reads launches: agreement of later branches waits for the first one."""
    on = stage()
    program = on.arrive(cap=9, policy=PolicySpec("beta", {"in_flight": 6}, False))
    for call in on.calls[1:6]:
        on.finish(call)
    assert program not in on.answers
    on.finish("p0#1")
    assert on.answers[program].reason == "certain"
    on.drain()


def test_policy_winner_is_the_answer(stage):
    """The lock's winner is the answer, and the branches saved are never run."""
    on = stage(slots=1)
    program = on.arrive(cap=5, policy=PolicySpec("even"))
    on.drain("so red")
    answered = on.answers[program]
    assert (answered.reason, answered.knob) == ("locked", 3)
    assert answered.answer.value == "red"
    assert len(on.submits) == 3


@pytest.mark.parametrize("cap", [1, 2, 3, 5])
def test_hopeless(stage, cap):
    """A program none of whose first branches finished fails as its calls did."""
    on = stage(slots=1)
    program = on.arrive(cap=cap)
    for number in range(min(cap, 3)):
        assert program not in on.answers, number
        on.fail(on.calls[0], "EngineRefused", is_retryable=False)
    assert on.answers[program].error_kind == "EngineRefused"
    assert on.answers[program].notes == {"branches lost": min(cap, 3)}
    on.drain()


def test_losses_between_votes(stage):
    """A branch lost here and there is only lost: it casts no vote, and is noted."""
    on = stage(slots=1)
    program = on.arrive(cap=6)
    for _ in range(2):
        on.finish(on.calls[0], "so red")
        for _ in range(2):
            on.fail(on.calls[0], "EngineRefused", is_retryable=False)
    answered = on.answers[program]
    assert (answered.status, answered.knob, answered.answer.value) == ("answered", 6, "red")
    assert answered.votes == {"red": 2.0}
    assert answered.notes == {"branches lost": 4}


def test_losses_in_a_row_after_a_vote(stage):
    """An engine that is lost midway is no reason to call a thin vote an answer."""
    on = stage(slots=1)
    program = on.arrive(cap=6)
    on.finish(on.calls[0], "so red")
    for _ in range(3):
        on.fail(on.calls[0], "EngineRefused", is_retryable=False)
    answered = on.answers[program]
    assert (answered.status, answered.error_kind) == ("failed", "EngineRefused")
    assert answered.answer is None


def test_null_is_a_vote_of_nobody(stage):
    """A completion without an answer counts for the entropy and wins nothing."""
    on = stage()
    program = on.arrive(cap=3)
    for call, text in zip(on.calls, ["none", "so red", "none"], strict=True):
        on.finish(call, text)
    answered = on.answers[program]
    assert answered.votes == {"red": 1.0}
    assert answered.answer.value == "red"
    assert answered.certaindex["entropy"] < 0.5
