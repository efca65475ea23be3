from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from toys.stage import EVEN, Stage
from toys.words import said

from dynasor.core.catalog import describe_program
from dynasor.core.chance import call_seed
from dynasor.core.types import Generated, PolicySpec, Sampling, Usage
from dynasor.programs.recording import Drawn, Recording

WORDS = {"question": "what?", "task": "words"}


def drawn(on, program):
    """The samples in a program's answer."""
    return msgspec.json.decode(on.answers[program].answer.text, type=list[Drawn])


def test_everything_is_kept(stage):
    """A sample keeps its text, answer, tokens, log-probability, seed and why it ended."""
    on = stage(Recording)
    params = {**WORDS, "cap": 2, "seed": 9}
    program = on.arrive(spec="recording", params=params, policy=EVEN)
    on.finish("p0#1", Generated("so red", Usage(3, 7), "stop", -0.5))
    on.finish("p0#2", Generated("and none", Usage(3, 5, is_counted=False), "length"))
    assert drawn(on, program) == [
        Drawn("so red", 7, True, "red", -0.5, call_seed(9, 1), "stop"),
        Drawn("and none", 5, False, None, None, call_seed(9, 2), "length"),
    ]
    answered = on.answers[program]
    assert (answered.status, answered.knob, answered.answer.value) == ("answered", 2, "2")


def test_what_is_sent(stage):
    """Each sample is asked for with the program's sampling and a seed of its own."""
    on = stage(Recording)
    sampling = {"max_tokens": 9, "temperature": 0.1, "top_p": 0.5, "has_logprobs": True}
    on.arrive(spec="recording", params={**WORDS, "cap": 3, "seed": 4, **sampling})
    sent = [submit.call.work.sampling for submit in on.submits]
    assert sent == [Sampling(**sampling, seed=call_seed(4, n)) for n in (1, 2, 3)]
    on.drain()


def test_nothing_is_compared(stage):
    """Answers that a worker would have to compare are kept as they are."""
    on = stage(Recording)
    program = on.arrive(spec="recording", params={**WORDS, "cap": 2})
    on.drain("so Red")
    assert on.compares == {}
    assert [one.answer for one in drawn(on, program)] == ["Red", "Red"]


def test_lost_sample(stage):
    """A sample that cannot be had fails the question, and the others are aborted."""
    on = stage(Recording)
    program = on.arrive(spec="recording", params={**WORDS, "cap": 5})
    on.finish("p0#1")
    on.fail("p0#2", "EngineRefused", is_retryable=False)
    answered = on.answers[program]
    assert (answered.status, answered.error_kind) == ("failed", "EngineRefused")
    assert on.aborted == ["p0#3", "p0#4", "p0#5"]
    on.drain()


def test_withdrawn_early(stage):
    """Before its first sample there is no answer."""
    on = stage(Recording)
    program = on.arrive(spec="recording", params={**WORDS, "cap": 2})
    on.withdraw(program)
    assert on.answers[program].answer is None
    on.drain()


def test_description():
    """Its parameters are JSON values, from which an equal program is built."""
    program = Recording("what?", task="words", cap=7, seed=2**31)
    assert msgspec.convert(describe_program(program).params, Recording) == program


@given(
    st.integers(1, 8),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
    st.none() | st.integers(1, 3),
    st.integers(0, 99),
)
def test_order_of_completion(cap, slots, seed, in_flight, shuffle):
    """Whatever ends first, sample n has the n-th seed and what was drawn with it."""
    on = Stage(Recording, slots=slots)
    policy = PolicySpec("even", {"in_flight": in_flight}, has_lock=False)
    params = {**WORDS, "cap": cap, "seed": seed}
    program = on.arrive(spec="recording", params=params, policy=policy)
    random = Random(shuffle)
    while on.live:
        call = random.choice(list(on.live))
        on.finish(call, said(f"so s{on.live[call].call.work.sampling.seed}"))
    on.check()
    seeds = [call_seed(seed, number) for number in range(1, cap + 1)]
    assert [one.seed for one in drawn(on, program)] == seeds
    assert [one.answer for one in drawn(on, program)] == [f"s{one}" for one in seeds]
