"""A chain of thought: probed beside its stream, cut when it is certain, closed well."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.stage import EVEN, catalog, in_order
from toys.words import compare, said

from dynasor import Dynasor
from dynasor.api.dynasor import Extensions
from dynasor.core.errors import ConfigError
from dynasor.core.events import Arrived, Cancelled, Failed, Finished
from dynasor.core.scheduler import Scheduler
from dynasor.core.types import Generated, PolicySpec, ProgramSpec, Usage
from dynasor.datasets import heldout
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.programs.chain_of_thought import ChainOfThought
from dynasor.sim import Outcome, SimpleEngine, VirtualHost

CLOSE = "</think>"
PROBE = CLOSE + " answer:"
USUAL = ChainOfThought.usual_policy
THOUGHT = "".join(f"t{n:02} " for n in range(25))  # a token a character
PARAMS = {
    "question": "q",
    "task": "words",
    "max_tokens": 100,
    "every": 10,
    "probe": PROBE,
    "probe_tokens": 3,
    "share": 9.0,
}


def model(says, text=THOUGHT, finish="length", says_in=3):
    """Write `text`, a character a token; a probe is answered by what `says` makes of it."""

    def answer(call, attempt):
        prefix, sampling = call.work.prompt.prefix, call.work.sampling
        if prefix.endswith(PROBE):
            said = says(prefix.removesuffix(PROBE))
            if said is None:
                return Outcome(None, 1, "EngineRefused", "too long", is_retryable=False)
            tokens = min(sampling.max_tokens, says_in)
            return Outcome(Generated(" " + said, Usage(len(prefix), tokens), "stop", -0.1), tokens)
        new = text[len(prefix) : len(prefix) + sampling.max_tokens]
        is_whole = len(prefix) + len(new) >= len(text) and finish == "stop"
        reason = "stop" if is_whole else "length"
        return Outcome(Generated(new, Usage(3, len(new)), reason), max(1, len(new)))

    return answer


def settling(at):
    """Say `right` from so many characters on, and something new each time before."""
    return lambda thought: "right" if len(thought) >= at else f"w{len(thought)}"


class Show:
    """One program played out in virtual time, ten tokens a second."""

    def __init__(self, outcomes, policy=USUAL, slots=4, deadline=None, **params):
        scheduler = Scheduler(in_order(), catalog(ChainOfThought))
        self.host = VirtualHost(scheduler, outcomes, compare, has_log=True)
        self.host.add_pool("generate", {"g": SimpleEngine(slots, 10.0)})
        spec = ProgramSpec("chain-of-thought", {**PARAMS, **params})
        self.host.send(Arrived("p", spec, policy, deadline_seconds=deadline))
        self.run = scheduler._runs["p"]
        self.program = self.run.program
        self.host.run()
        self.answered = self.host.answers["p"]
        self.bill = self.host.bills["p"].spending
        scheduler.validate()

    @property
    def text(self):
        return self.answered.answer.text


def is_well_formed(text):
    _, closed, final = text.partition(CLOSE)
    return bool(closed) and bool(final.split()) and CLOSE not in final


def test_stops_when_probes_agree():
    """The stream is aborted when three probes agree; the message is closed by their answer."""
    show = Show(model(settling(40)))
    answered = show.answered
    assert (answered.status, answered.reason, answered.answer.value) == (
        "answered",
        "certain",
        "right",
    )
    assert answered.certaindex["entropy"] == 1.0
    assert is_well_formed(show.text)
    assert show.text.endswith(PROBE + " right")
    assert THOUGHT.startswith(show.text.partition(CLOSE)[0])
    (trace,) = show.program.traces
    assert len(trace.probes) >= 3
    assert show.host.bills["p"].aborted_calls == 1
    assert show.bill.aborted_tokens < 80


def test_stream_is_never_prompted_again():
    """The trace is one call; whatever has a prefix is a probe."""
    show = Show(model(settling(1000)), EVEN)
    works = [command.call.work for command in submitted(show)]
    assert [work.prompt.prefix == "" for work in works].count(True) == 1
    assert all(work.prompt.prefix.endswith(PROBE) for work in works[1:])
    assert works[0].report_every == 10


def submitted(show):
    return [
        command
        for _, _, commands in show.host.log
        for command in commands
        if type(command).__name__ == "Submit"
    ]


def test_model_that_closes_its_thoughts():
    """A stream that closes its thoughts goes on to its own final answer, without more probes."""
    text = THOUGHT[:40] + CLOSE + " so blue"
    show = Show(model(settling(1000), text, "stop"), EVEN)
    assert (show.answered.answer.value, show.text) == ("blue", text)
    assert show.answered.reason == "done"
    assert max(probe.at for probe in show.program.traces[0].probes) <= 50
    assert show.program.traces[0].closing is None
    assert show.answered.notes == {}


def test_thinking_that_never_closes():
    """A model that ends without closing its thoughts answers with what it wrote: noted."""
    show = Show(model(settling(1000), THOUGHT[:30] + "so blue", "stop"), EVEN)
    assert show.answered.answer.value == "blue"
    assert show.answered.notes == {"thinking never closed": 1}


@pytest.mark.parametrize("share", [0.0, 9.0])
def test_cut_by_max_tokens(share):
    """At the token limit a last probe asks for the answer, and closes the message."""
    show = Show(model(settling(0) if not share else settling(1000)), EVEN, share=share)
    assert is_well_formed(show.text)
    assert show.text.startswith(THOUGHT)
    assert show.program.traces[0].closing is not None
    assert show.answered.notes["traces cut at max_tokens"] == 1
    if not share:
        assert len(submitted(show)) == 2


def test_cut_by_the_cap():
    """At the cap the stream is aborted, and the last unit is settled by a last probe."""
    show = Show(model(settling(0)), EVEN, cap=3)
    assert (show.answered.knob, show.answered.reason) == (3, "cap")
    assert show.answered.notes["traces cut at the cap"] == 1
    assert is_well_formed(show.text)
    assert show.program.traces[0].closing.at == 30


def test_final_answer_without_answer():
    """A trace whose own final part says nothing is asked once more."""
    text = THOUGHT[:20] + CLOSE + " none"
    show = Show(model(settling(0), text, "stop"), EVEN, share=0.0)
    assert show.answered.answer.value == "right"
    assert show.text == THOUGHT[:20] + PROBE + " right"


@pytest.mark.parametrize("word", ["wait, red", "Hmm red", "BUT red", "maybe red"])
def test_hesitation_is_no_answer(word):
    """A probe that takes its answer back agrees with nothing, in either case, and is counted."""
    show = Show(model(lambda thought: word, THOUGHT[:50] + CLOSE + " so blue", "stop"))
    assert show.answered.answer.value == "blue"
    assert show.answered.reason == "done"
    assert show.answered.notes["probes without answer"] >= 3


def test_hesitation_by_whole_word():
    """A word that only contains one of hesitation is none."""
    show = Show(model(lambda thought: "waiter butter"))
    assert (show.answered.reason, show.answered.answer.value) == ("certain", "butter")


def test_nulls_do_not_agree():
    """Probes that all say nothing never stop a chain."""
    show = Show(model(lambda thought: "none"))
    assert (show.answered.answer, show.answered.certaindex["entropy"]) == (None, 0.0)
    assert show.answered.reason == "done"
    assert show.answered.notes["probes without answer"] == len(show.program.traces[0].probes)


def test_probes_that_fail():
    """A chain whose probes are refused thinks to its end."""
    show = Show(model(lambda thought: None, THOUGHT[:50] + CLOSE + " so blue", "stop"))
    assert show.answered.answer.value == "blue"
    assert show.answered.notes["probes lost"] >= 1


def test_stream_that_fails():
    """A stream that fails for good fails the program as its call did."""

    def broken(call, attempt):
        if not call.work.prompt.prefix:
            return Outcome(None, 30, "EngineRefused", "gone", is_retryable=False)
        return model(settling(0))(call, attempt)

    show = Show(broken)
    assert (show.answered.status, show.answered.error_kind) == ("failed", "EngineRefused")


@pytest.mark.parametrize("chunked", [False, True])
def test_stream_that_is_refused_at_first(chunked):
    """Before its first token a stream is attempted again, as any call is; afterwards not."""

    def busy(call, attempt):
        if attempt == 1:
            return Outcome(None, 0, "EngineBusy", "later")
        return model(settling(40))(call, attempt)

    show = Show(busy, chunked=chunked)
    assert (show.answered.status, show.answered.answer.value) == ("answered", "right")


def test_piece_that_is_refused():
    """Where the context is full, what was thought and probed before still answers, with a note."""

    def full(call, attempt):
        prefix = call.work.prompt.prefix
        if not prefix.endswith(PROBE) and len(prefix) >= 60:
            return Outcome(None, 0, "EngineRefused", "no room", is_retryable=False)
        return model(settling(0))(call, attempt)

    show = Show(full, EVEN, chunked=True)
    assert (show.answered.status, show.answered.answer.value) == ("answered", "right")
    assert show.answered.notes == {"traces broken off": 1}
    assert is_well_formed(show.text)


def test_stream_that_breaks_off(stage):
    """A stream that is lost after its first probe is not begun anew: the probes answer."""
    on = stage()
    name = on.arrive(spec="chain-of-thought", policy=EVEN, params=PARAMS)
    (stream,) = on.calls
    on.report(stream, THOUGHT[:10], 10)
    (probe,) = [call for call in on.calls if call != stream]
    on.finish(probe, said(" right"))
    on.fail(stream, "EngineTimeout", is_retryable=True, tokens=10)
    answered = on.answers[name]
    assert (answered.status, answered.answer.value) == ("answered", "right")
    assert answered.notes == {"traces broken off": 1}
    assert answered.answer.text == THOUGHT[:10] + PROBE + " right"


def test_pieces_that_bring_nothing():
    """An engine that has no room for more ends the trace; it is not asked for ever."""
    show = Show(model(settling(1000)), EVEN, chunked=True, max_tokens=5000, cap=900)
    assert len(submitted(show)) < 30
    assert show.program.traces[0].text == THOUGHT


def test_certaindex_of_the_end():
    """A chain that ended by itself is as certain as its end, not as its latest probe."""
    text = THOUGHT[:40] + CLOSE + " so blue"
    show = Show(model(settling(1000), text, "stop"), EVEN)
    assert show.answered.reason == "done"
    assert show.answered.certaindex == {"entropy": 1.0, "confidence": 1.0}


def test_rounds_of_a_stream_that_was_cut_count():
    """What a round costs is learnt of streams that were cut too: that is how most end."""
    show = Show(model(settling(40)))
    (trace,) = show.program.traces
    run = show.run
    probes = sum(probe.tokens for probe in trace.probes)
    assert show.bill.finished_tokens < 30
    assert run.bill.worked == pytest.approx(trace.tokens + probes)
    assert run.demand.tokens_per_knob > 10


def test_share_bounds_what_probes_cost():
    """Probes cost at most their share of the tokens thought, and none comes before that."""
    show = Show(model(settling(1000)), EVEN, share=0.1)
    (trace,) = show.program.traces
    *beside, closing = trace.probes
    assert closing is trace.closing
    assert beside[0].at >= 3 / 0.1
    for number, probe in enumerate(beside, start=1):
        assert number * 3 <= 0.1 * probe.at


def test_gaps_grow_until_probes_agree():
    """Probes that differ come ever more seldom; after two that agree each round is probed."""
    show = Show(model(settling(60), says_in=0), EVEN, every=1)
    at = [probe.at for probe in show.program.traces[0].probes[:-1]]
    gaps = list(zip(at, [b - a for a, b in itertools.pairwise(at)], strict=False))
    assert all(10 * gap >= start for start, gap in gaps if start < 60)
    assert {gap for start, gap in gaps if start > 70} == {1}


def test_confidence():
    """The signal `confidence` is how probable the model finds its latest answer."""
    policy = PolicySpec("stepwise", {"every": 1, "at": {"confidence": 0.9}}, has_lock=False)
    show = Show(model(settling(1000)), policy)
    assert show.answered.reason == "certain"
    assert show.answered.certaindex["confidence"] == pytest.approx(0.9048, abs=1e-4)
    assert len(show.program.traces[0].probes) == 1


def test_chains_share_certainty():
    """Chains are of one mind only if the latest probes of all are, and vote with one voice each."""
    show = Show(model(settling(0)), chains=3, slots=8, share=1.0)
    assert show.answered.reason == "certain"
    assert len(show.program.traces) == 3
    assert len({trace.seed for trace in show.program.traces}) == 3
    assert all(len(trace.probes) >= 3 for trace in show.program.traces)


def test_chains_vote():
    """The answer is the majority's, and its message that of a chain that gave it."""

    def split(call, attempt):
        done = model(settling(0), THOUGHT[:30] + CLOSE + " so blue", "stop")(call, attempt)
        number = int(call.id.split("#")[1])
        if not call.work.prompt.prefix and number == 1:
            text = THOUGHT[:30] + CLOSE + " so pink"
            return Outcome(Generated(text, Usage(3, len(text)), "stop"), len(text))
        return done

    show = Show(split, EVEN, chains=3, slots=8, share=0.0)
    assert show.answered.answer.value == "blue"
    assert show.text.endswith("so blue")


def test_chain_lost():
    """A chain that fails is lost and noted; the others answer."""

    def one_broken(call, attempt):
        if call.id.endswith("#1"):
            return Outcome(None, 5, "EngineRefused", "gone", is_retryable=False)
        return model(settling(0), THOUGHT[:30] + CLOSE + " so blue", "stop")(call, attempt)

    show = Show(one_broken, EVEN, chains=2, share=0.0)
    assert (show.answered.answer.value, show.answered.notes) == ("blue", {"chains lost": 1})


def test_chunked():
    """In pieces, the text is continued after each probe, and nothing is aborted."""
    show = Show(model(settling(40)), EVEN, chunked=True)
    assert show.program.traces[0].text == THOUGHT
    assert show.host.bills["p"].aborted_calls == 0
    works = [command.call.work for command in submitted(show)]
    grown = [w.prompt.prefix for w in works if not w.prompt.prefix.endswith(PROBE)]
    assert all(THOUGHT.startswith(prefix) for prefix in grown)
    assert len(grown) > 1


@pytest.mark.parametrize("share", [0.1, 0.5, 9.0])
def test_chunks_count_the_same_rounds(share):
    """In pieces there are as many rounds as in one stream, and no text is asked about twice."""
    whole, pieces = (
        Show(model(settling(40)), EVEN, chunked=chunked, share=share) for chunked in (False, True)
    )
    assert pieces.answered.knob == whole.answered.knob
    places = [probe.at for probe in pieces.program.traces[0].probes]
    assert len(places) == len(set(places))


def test_chunks_end_where_a_probe_is_due():
    """Without probes to come the rest is one piece."""
    show = Show(model(settling(40)), EVEN, chunked=True, share=0.0)
    assert len(submitted(show)) == 2


def test_deadline():
    """When time runs out in mid-thought, the latest probes answer."""
    show = Show(model(settling(0)), EVEN, deadline=4.7)
    assert (show.answered.status, show.answered.answer.value) == ("deadline", "right")
    assert is_well_formed(show.text)


def test_deadline_before_any_probe():
    """Without any probe there is no answer, and an error says so."""
    show = Show(model(settling(0)), EVEN, deadline=0.5)
    assert (show.answered.status, show.answered.error_kind) == ("failed", "DeadlineExceeded")


def test_mode():
    """A mode stands in place of the task's system message, and the thoughts' beginning is sent."""
    show = Show(model(settling(0)), mode="<think hard>", think_start="<think>")
    first = submitted(show)[0].call.work.prompt
    assert [(m.role, m.content) for m in first.messages] == [
        ("system", "<think hard>"),
        ("user", "q"),
    ]
    assert first.prefix == "<think>"


@pytest.mark.parametrize(
    "bad",
    [{"every": 0}, {"window": 0}, {"chains": 0}, {"chains": 1001}, {"probe_tokens": 0},
     {"max_tokens": 0}, {"share": -0.1}, {"share": float("nan")}, {"think_end": ""},
     {"probe": "so: "}],
)  # fmt: skip
def test_bad_numbers(bad):
    """Parameters that make no sense are refused by name."""
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ChainOfThought("q", **bad)


words = st.sampled_from(["red", "blue", "none", "wait red", "so", ""])


@given(
    answers=st.lists(st.one_of(words, st.none()), min_size=1, max_size=8),
    tail=st.sampled_from(["", CLOSE, CLOSE + " so blue", CLOSE + " none", " red"]),
    finish=st.sampled_from(["stop", "length"]),
    cap=st.integers(1, 12),
    every=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.05, 0.3, 9.0]),
    chains=st.integers(1, 3),
    window=st.integers(1, 4),
    slots=st.integers(1, 4),
    chunked=st.booleans(),
    policy=st.sampled_from([USUAL, EVEN, PolicySpec("even", {"in_flight": 1}, has_lock=False)]),
    deadline=st.one_of(st.none(), st.floats(0.1, 20.0)),
)
def test_anything(answers, tail, finish, cap, every, share, chains, window, slots, chunked,
                  policy, deadline):  # fmt: skip
    """Whatever is said, it ends, within its units, with every token billed and thoughts closed."""
    show = Show(
        model(lambda thought: answers[len(thought) % len(answers)], THOUGHT[:60] + tail, finish),
        policy, slots, deadline,
        cap=cap, every=every, share=share, chains=chains, window=window, chunked=chunked,
    )  # fmt: skip
    answered = show.answered
    assert answered.status in {"answered", "deadline", "failed"}
    if answered.status == "failed":
        assert answered.error_kind == "DeadlineExceeded"
    assert 0 <= answered.knob <= cap
    assert all(0.0 <= value <= 1.0 for value in answered.certaindex.values())
    if answered.answer is not None and "thinking never closed" not in answered.notes:
        assert is_well_formed(answered.answer.text)
    spent = 0
    for _, event, _ in show.host.log:
        if isinstance(event, Finished):
            spent += event.output.usage.completion_tokens
        elif isinstance(event, Failed | Cancelled):
            spent += event.usage.completion_tokens
    assert show.bill.completion_tokens == spent


@pytest.mark.engine
@pytest.mark.timeout(120)
@pytest.mark.parametrize("chunked", [False, True])
async def test_embedded_model(chunked):
    """The embedded model's thoughts are cut early, and each message is whole and well-formed."""
    engine = LlamaCppEngine(slots=8, threads=1)
    extensions = Extensions(programs={"chain-of-thought": ChainOfThought})
    async with Dynasor(engine=engine, extensions=extensions) as dynasor:
        programs = [
            ChainOfThought(p.question, mode="<|think|>", max_tokens=600, chunked=chunked)
            for p in heldout(16)
        ]
        results = await asyncio.gather(*map(dynasor.run, programs))
    assert {result.status for result in results} == {"answered"}
    assert any(result.reason == "certain" for result in results)
    for result in results:
        assert is_well_formed(result.text)
        assert result.text.rstrip(".").endswith(f"\\boxed{{{result.answer}}}")
