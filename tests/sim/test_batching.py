"""Cases of the modelled engine that can be worked out on paper, to the token and to the second."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.visits import STEP, drive, make_attempt, visit

from dynasor.core.errors import ConfigError
from dynasor.core.events import Cancelled, Failed, Finished, Progressed
from dynasor.core.types import Usage
from dynasor.sim import BatchEngine, EngineModel, Segment

ROOMY = EngineModel(STEP, kv_blocks=10_000)


def model(**changes):
    """An engine with plenty of memory, but for what is told."""
    return msgspec.structs.replace(ROOMY, **changes)


def run(engine, *visits):
    """When each call ended, by its name."""
    log = drive(engine, visits)
    return {end.call: now for now, end, _ in log if not isinstance(end, Progressed)}


def decoding(sequences, kv_tokens, steps):
    """Seconds of steps that decode, one by one: their context grows by a token a sequence."""
    return sum(STEP.of(0, sequences, kv_tokens + step * sequences) for step in range(steps))


# Time.


@given(st.integers(1, 500), st.integers(1, 300))
def test_one_program_alone(prompt, tokens):
    """A prompt's step gives the first token, each other token takes a step of its own."""
    engine = BatchEngine(ROOMY)
    ended = run(engine, visit(1.0, "a", tokens, prompt))
    assert ended["a"] == 1.0 + STEP.of(prompt, 0, 0) + decoding(1, prompt + 1, tokens - 1)
    assert engine.totals.steps == tokens
    assert (engine.totals.generated, engine.totals.prefilled) == (tokens, prompt)


def test_prompt_in_chunks():
    """A prompt of 250 tokens at 100 a step takes three steps."""
    engine = BatchEngine(model(token_budget=100, max_running=8))
    ended = run(engine, visit(0.0, "a", 1, 250))
    assert ended["a"] == STEP.of(100, 0, 0) * 2 + STEP.of(50, 0, 0)


def test_what_a_call_costs_beside_its_tokens():
    """Each call lengthens the step that takes it in, once, whoever decodes meanwhile."""
    engine = BatchEngine(model(call_seconds=2.0))
    ended = run(engine, visit(0.0, "a", 3, 4), visit(0.5, "b", 1, 4), visit(0.5, "c", 1, 4))
    first = 2.0 + STEP.of(4, 0, 0)
    assert ended["b"] == ended["c"] == first + 2 * 2.0 + STEP.of(8, 1, 5)
    assert ended["a"] == ended["c"] + STEP.of(0, 1, 6)


def test_a_preempted_call_costs_once():
    """Who comes back after a preemption costs its tokens again, and no more."""
    visits = visit(0.0, "a", 30, 4), visit(0.0, "b", 30, 4)
    small = model(kv_blocks=6, block_tokens=8)
    plain, dear = BatchEngine(small), BatchEngine(msgspec.structs.replace(small, call_seconds=2.0))
    before, after = run(plain, *visits), run(dear, *visits)
    assert plain.totals.preemptions == dear.totals.preemptions > 0
    assert after == {call: end + 2 * 2.0 for call, end in before.items()}


def test_chunks_beside_decoding():
    """What decodes goes on while a prompt is computed in what it leaves of the budget."""
    engine = BatchEngine(model(token_budget=10, max_running=8))
    ended = run(engine, visit(0.0, "a", 6, 10), visit(0.0, "b", 1, 25))
    steps = [STEP.of(10, 0, 0), STEP.of(9, 1, 11), STEP.of(9, 1, 12), STEP.of(7, 1, 13)]
    assert ended["b"] == sum(steps)
    assert ended["a"] == sum(steps) + decoding(1, 14, 2)


@pytest.mark.parametrize(("tokens", "steps"), [(0, 1), (1, 1), (2, 2)])
def test_least_completions(tokens, steps):
    """No tokens and one token both end with the prompt's step."""
    engine = BatchEngine(ROOMY)
    run(engine, visit(0.0, "a", tokens, 5))
    assert (engine.totals.steps, engine.totals.generated) == (steps, tokens)


def test_saturated_batch():
    """Equal calls go in step: throughput is what the formula says of their batch."""
    calls, prompt, tokens = 16, 32, 200
    engine = BatchEngine(ROOMY)
    ended = run(engine, *(visit(0.0, f"c{n}", tokens, prompt) for n in range(calls)))
    seconds = STEP.of(calls * prompt, 0, 0) + decoding(calls, calls * (prompt + 1), tokens - 1)
    assert set(ended.values()) == {seconds}
    assert engine.totals.generated / engine.totals.busy_seconds == calls * tokens / seconds


def test_slots():
    """Calls beyond the slots wait for one."""
    engine = BatchEngine(model(max_running=2))
    ended = run(engine, *(visit(0.0, name, 3, 4) for name in "abc"))
    first = STEP.of(8, 0, 0) + decoding(2, 10, 2)
    assert ended == {"a": first, "b": first, "c": first + STEP.of(4, 0, 0) + decoding(1, 5, 2)}


def test_coming_while_a_step_runs():
    """Who comes while a step runs is admitted at its end, however long the stretch was to be."""
    engine = BatchEngine(ROOMY)
    first, second = STEP.of(8, 0, 0), STEP.of(0, 1, 9)
    ended = run(engine, visit(0.0, "a", 1000, 8), visit(first + second / 2, "b", 1, 8))
    assert ended["b"] == first + second + STEP.of(8, 1, 10)


def test_coming_between_two_steps():
    """Who comes at the instant at which a step ends finds the next one begun."""
    engine = BatchEngine(ROOMY)
    first, second = STEP.of(8, 0, 0), STEP.of(0, 1, 9)
    ended = run(engine, visit(0.0, "a", 1000, 8), visit(first, "b", 1, 8))
    assert ended["b"] == first + second + STEP.of(8, 1, 10)


def test_idle_between():
    """An engine that has rested begins with whoever comes, and its rest is not work."""
    engine = BatchEngine(ROOMY)
    ended = run(engine, visit(0.0, "a", 1, 8), visit(100.0, "b", 1, 8))
    assert ended["b"] == 100 + STEP.of(8, 0, 0)
    assert engine.totals.busy_seconds == 2 * STEP.of(8, 0, 0)


# Memory.


def test_bound_by_memory():
    """As many calls run as fit into memory; the others come when these have ended."""
    engine = BatchEngine(model(kv_blocks=3, block_tokens=64))
    ended = run(engine, *(visit(0.0, f"c{n}", 20, 40) for n in range(7)))
    three = STEP.of(120, 0, 0) + decoding(3, 123, 19)
    one = STEP.of(40, 0, 0) + decoding(1, 41, 19)
    assert list(ended.values()) == [three] * 3 + [2 * three] * 3 + [2 * three + one]
    assert (engine.totals.kv_most, engine.totals.preemptions) == (3, 0)
    assert engine.totals.kv_block_seconds == 3 * 2 * three + one


def test_preemption():
    """Whoever came last gives way when memory runs out, and is computed again later.

    Blocks of 4, memory of 4: a and b fill a block each with their prompts and one each with
    four steps. The fifth needs two more: b goes. a takes one of its blocks and ends three steps
    later. Then b has 4 + 5 tokens to compute, of which its prompt is still cached, and 3 to go.
    """
    engine = BatchEngine(model(kv_blocks=4, block_tokens=4))
    ended = run(engine, visit(0.0, "a", 9, 4), visit(0.0, "b", 9, 4))
    first = STEP.of(8, 0, 0) + decoding(2, 10, 4) + decoding(1, 9, 4)
    assert ended == {"a": first, "b": first + STEP.of(5, 0, 0) + decoding(1, 10, 3)}
    totals = engine.totals
    assert (totals.preemptions, totals.prefilled, totals.cached) == (1, 13, 4)
    assert (totals.generated, totals.steps, totals.kv_most) == (18, 1 + 8 + 1 + 3, 4)


def test_abort_of_the_preempted():
    """A preempted call that is aborted while it waits costs what it had generated."""
    engine = BatchEngine(model(kv_blocks=4, block_tokens=4))
    seconds = STEP.of(8, 0, 0) + decoding(2, 10, 4) + 0.01
    log = drive(engine, [visit(0.0, "a", 9, 4), visit(0.0, "b", 9, 4, abort=seconds)])
    assert log[0][:2] == (seconds, Cancelled("b", 1, Usage(4, 5)))


def test_never_fits():
    """A call that memory can never hold is refused at once, in one line that says why."""
    engine = BatchEngine(model(kv_blocks=4, block_tokens=4))
    (now, end, _), *rest = drive(engine, [visit(2.0, "a", 2, 16), visit(2.0, "b", 1, 16)])
    assert isinstance(end, Failed)
    assert (now, end.kind, end.is_retryable) == (2.0, "EngineRefused", False)
    assert (
        "16 prompt tokens and 2 more need 17 tokens of KV cache; the engine has 16" in end.message
    )
    assert "\n" not in end.message
    assert isinstance(rest[0][1], Finished), "the whole memory can be had"
    assert engine.totals.refused == 1


def test_waiting_behind_who_is_aborted():
    """When the call that waits for memory is aborted, the next is tried after the step."""
    engine = BatchEngine(model(kv_blocks=4, block_tokens=4))
    first, second = STEP.of(4, 0, 0), STEP.of(0, 1, 5)
    ended = run(
        engine,
        visit(0.0, "a", 8, 4),
        visit(0.0, "b", 1, 16, abort=first + second / 2),
        visit(0.0, "c", 1, 4),
    )
    assert ended["c"] == first + second + STEP.of(4, 1, 6)


def test_coming_after_who_was_aborted():
    """A call that comes when the one that waited for memory has gone is tried after the step."""
    engine = BatchEngine(model(kv_blocks=4, block_tokens=4))
    first, second, third = STEP.of(4, 0, 0), STEP.of(0, 1, 5), STEP.of(0, 1, 6)
    ended = run(
        engine,
        visit(0.0, "a", 8, 4),
        visit(0.0, "b", 1, 16, abort=first + second / 2),
        visit(first + second + third / 2, "c", 1, 4),
    )
    assert ended["c"] == first + second + third + STEP.of(4, 1, 7)


# Sharing.


def branches(count, tokens, *path, time=0.0):
    """Calls of one program with the same prompt."""
    return [visit(time, f"c{n}", tokens, path=path) for n in range(count)]


def test_branches_share_their_prompt():
    """Branches of one prompt compute its whole blocks once and keep them once."""
    engine = BatchEngine(ROOMY)
    run(engine, *branches(8, 60, Segment("q", 70)))
    totals = engine.totals
    assert totals.prefilled == 70 + 7 * 6, "the last, begun block is each call's own"
    assert totals.cached == 7 * 64
    own = engine.cache.blocks_of(70 + 59) - 4
    assert totals.kv_most == 4 + 8 * own


def test_whole_prompt_cached():
    """A prompt that is cached to its end computes its last block again, to get a token from it."""
    engine = BatchEngine(ROOMY)
    run(engine, *branches(2, 1, Segment("q", 64)))
    assert (engine.totals.prefilled, engine.totals.cached) == (64 + 16, 48)


def test_tree():
    """Three levels of two branches: every node of the tree is computed once and kept once."""
    paths = [
        (Segment("root", 32), Segment(f"{x}", 32), Segment(f"{x}{y}", 32))
        for x in "ab"
        for y in "cd"
    ]
    engine = BatchEngine(ROOMY)
    run(engine, *(visit(0.0, f"c{n}", 1, path=path) for n, path in enumerate(paths)))
    assert engine.totals.prefilled == 32 * (1 + 2 + 4)
    assert engine.totals.kv_most == 2 * (1 + 2 + 4)


def test_going_on_from_what_was_generated():
    """What is generated under a key is found by prompts that go on from it, but the last token."""
    engine = BatchEngine(model(block_tokens=4))
    first = visit(0.0, "a", 8, path=(Segment("q", 8),), key="step")
    both = (Segment("q", 8), Segment("step", 8))
    run(engine, first, visit(0.0, "b", 1, path=(*both, Segment("b", 4)), after="a"))
    assert engine.totals.cached == 12, "of 8 and 8 tokens the last was generated but never read"
    assert engine.totals.prefilled == 8 + (20 - 12)


def test_never_computed_is_never_found():
    """A prompt that is aborted halfway leaves what was computed of it, and no more."""
    engine = BatchEngine(model(token_budget=40, max_running=8))
    path = (Segment("q", 160),)
    during = STEP.of(40, 0, 0) * 1.5
    run(engine, visit(0.0, "a", 5, path=path, abort=during), visit(60.0, "b", 1, path=path))
    assert engine.totals.cached == 80
    assert engine.totals.prefilled == 80 + 80


@pytest.mark.parametrize(("eviction", "found"), [("lru", 0), ("idle-first", 4)])
def test_eviction(eviction, found):
    """Memory is taken from who used it longest ago, or first from programs that are over.

    Memory of 4 blocks: p leaves one at 0, q one at 10 and is over; r needs three at 20. Then p
    looks for its prompt.
    """
    engine = BatchEngine(model(kv_blocks=4, block_tokens=4, eviction=eviction))
    long = Segment("p", 4)
    run(
        engine,
        visit(0.0, "p1", 1, program="p", path=(long,)),
        visit(10.0, "q1", 1, 4, program="q"),
        visit(20.0, "r1", 1, 12, program="r"),
        visit(30.0, "p2", 1, program="p", path=(long, Segment("p2", 1))),
    )
    assert engine.totals.cached == found


def test_shared_instructions_are_not_idle():
    """What the programs after it asked for too does not go first when a program is over."""
    engine = BatchEngine(model(kv_blocks=5, block_tokens=4, eviction="idle-first"))
    shared = Segment("all", 4)
    run(
        engine,
        visit(0.0, "p1", 1, program="p", path=(shared, Segment("p", 1))),
        visit(0.0, "q1", 1, program="q", path=(shared, Segment("q", 4))),  # p is over before q
        visit(10.0, "r1", 1, 16, program="r"),
        visit(20.0, "q2", 1, program="q", path=(shared, Segment("q2", 1))),
    )
    assert engine.totals.cached == 4 + 4


def test_the_end_of_a_path_goes_first():
    """Of a program that is over the ends of its paths are evicted before their beginnings."""
    engine = BatchEngine(model(kv_blocks=4, block_tokens=4, eviction="idle-first"))
    path = (Segment("all", 4), Segment("q", 4), Segment("step", 4))
    run(
        engine,
        visit(0.0, "p1", 1, program="p", path=path),
        visit(10.0, "r1", 1, 8, program="r"),  # takes the free block and one of p's
        visit(20.0, "s1", 1, program="s", path=(*path[:2], Segment("s", 1))),
    )
    assert engine.totals.cached == 8


# Order.


@pytest.mark.parametrize(
    ("order", "ended"), [("fcfs", "apqr"), ("lpm", "aqrp"), ("lpm-128", "aqrp")]
)
def test_orders(order, ended):
    """Submission order, or whoever finds most of the prompt in memory, the first among equals."""
    engine = BatchEngine(model(max_running=1, order=order))
    path = (Segment("q", 32),)
    visits = [
        visit(0.0, "a", 1, program="q", path=path),
        visit(0.01, "p", 1, 32, program="p"),
        visit(0.02, "q", 1, program="q", path=(*path, Segment("q1", 1))),
        visit(0.03, "r", 1, program="q", path=(*path, Segment("q2", 1))),
    ]
    assert "".join(run(engine, *visits)) == ended


def test_lpm_falls_back():
    """Above 128 waiting calls `lpm-128` takes them as they came."""
    engine = BatchEngine(model(max_running=1, order="lpm-128"))
    path = (Segment("q", 32),)
    visits = [visit(0.0, "a", 1, program="q", path=path)]
    visits += [visit(0.01, f"p{n}", 1, 16, program=f"p{n}") for n in range(129)]
    visits += [visit(0.02, "q", 1, program="q", path=(*path, Segment("q1", 1)))]
    assert list(run(engine, *visits))[:5] == ["a", "p0", "p1", "q", "p2"]


def test_lpm_after_a_preemption():
    """After a preemption whoever finds more than the preempted one is tried at the next step.

    Blocks of 4, memory of 11: a and b take 5 and 4, and one more each. c shares a's first 5 and
    needs 3, which are there when b's 5 are given up and a has taken one.
    """
    engine = BatchEngine(model(kv_blocks=11, block_tokens=4, order="lpm"))
    path = (Segment("p", 20),)
    ended = run(
        engine,
        visit(0.0, "a", 12, program="p", path=path),
        visit(0.0, "b", 12, 16, program="q"),
        visit(0.01, "c", 1, program="p", path=(*path, Segment("c", 9))),
    )
    assert engine.totals.preemptions == 1
    until = STEP.of(36, 0, 0) + decoding(2, 38, 4) + decoding(1, 25, 1)
    assert ended["c"] == until + STEP.of(9, 1, 26)


def test_ends_of_one_step():
    """Calls that end with one step end in the order in which they were admitted."""
    engine = BatchEngine(ROOMY)
    names = ["c", "a", "b"]
    visits = [
        visit(0.0, name, 8, 4, report_every=every)
        for name, every in zip(names, (4, 0, 3), strict=True)
    ]
    log = drive(engine, visits)
    assert [end.call for _, end, _ in log if isinstance(end, Finished)] == names


# Reports and aborts.


def test_reports():
    """A report comes with the step that generates its last token."""
    engine = BatchEngine(ROOMY)
    log = drive(engine, [visit(0.0, "a", 10, 7, report_every=4)])
    steps = [STEP.of(7, 0, 0), *(STEP.of(0, 1, 8 + n) for n in range(9))]
    at = [sum(steps[:count]) for count in (4, 8, 10)]
    assert [now for now, _, _ in log] == at
    assert [end for _, end, _ in log[:2]] == [
        Progressed("a", 1, "0123", 4),
        Progressed("a", 1, "4567", 4),
    ]


def test_reports_across_a_preemption():
    """A preempted call does not report again what it had reported."""
    engine = BatchEngine(model(kv_blocks=4, block_tokens=4))
    log = drive(engine, [visit(0.0, "a", 9, 4), visit(0.0, "b", 9, 4, report_every=2)])
    told = [end.tokens for _, end, _ in log if isinstance(end, Progressed)]
    assert (told, engine.totals.preemptions) == ([2, 2, 2, 2], 1)


def test_abort_of_what_runs():
    """A running call stops with the present step, at the cost of every token until then."""
    engine = BatchEngine(ROOMY)
    first = STEP.of(8, 0, 0)
    log = drive(engine, [visit(0.0, "a", 100, 8, abort=first + 0.01)])
    assert log == [(first + STEP.of(0, 1, 9), Cancelled("a", 1, Usage(8, 2)), 0)]


def test_abort_in_the_last_step():
    """A call that ends with the step in which it is aborted has finished."""
    engine = BatchEngine(ROOMY)
    log = drive(engine, [visit(0.0, "a", 1, 8, abort=0.01)])
    assert [type(end) for _, end, _ in log] == [Finished]


def test_abort_of_what_waits():
    """A waiting call ends at once, for nothing."""
    engine = BatchEngine(model(max_running=1))
    log = drive(engine, [visit(0.0, "a", 9, 8), visit(0.0, "b", 9, 8, abort=0.25)])
    assert log[0][:2] == (0.25, Cancelled("b", 1, Usage()))


def test_abort_of_nobody():
    """There is nothing to abort in a call that the engine does not know."""
    assert BatchEngine(ROOMY).abort("a", 1.0) is None


# The engine itself.


def test_skipping():
    """What is looked at are comings and goings, not steps."""
    engine, wakes = BatchEngine(ROOMY), set()
    visits = [visit(n / 2, f"c{n}", 1000, 50) for n in range(40)]
    drive(engine, visits, seen=lambda engine: wakes.add(engine.wake))
    assert engine.totals.steps > 1000
    assert len(wakes) < 4 * len(visits)


def test_listener():
    """Who listens hears of every entrance, and of every leave: ends, aborts, preemptions."""
    heard = []

    class Ear:
        def entered(self, attempt, now):
            heard.append(("in", attempt.id, now))

        def left(self, attempt, now):
            heard.append(("out", attempt.id, now))

    engine = BatchEngine(model(kv_blocks=4, block_tokens=4), listener=Ear())
    ended = run(engine, visit(0.0, "a", 9, 4), visit(0.0, "b", 9, 4))
    shortage = STEP.of(8, 0, 0) + decoding(2, 10, 4)
    assert heard == [
        ("in", "a", 0.0),
        ("in", "b", 0.0),
        ("out", "b", shortage),
        ("out", "a", ended["a"]),
        ("in", "b", ended["a"]),
        ("out", "b", ended["b"]),
    ]


def test_slots_announced():
    """An engine announces the calls that it can run at once, or what it is told to announce."""
    assert BatchEngine(ROOMY).slots == 256
    assert BatchEngine(ROOMY, slots=7).slots == 7


def test_repr():
    """An engine says what it holds."""
    engine = BatchEngine(model(kv_blocks=4, max_running=1))
    for name in "ab":
        engine.add(make_attempt(name, 5, 20), 0.0)
    engine.go_on(0.0)
    cache = "<PagedCache 2 of 4 blocks used, 0 kept>"
    assert repr(engine) == f"<BatchEngine 1 running, 1 wait, {cache}>"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"token_budget": 256}, "token_budget is 256 and max_running 256"),
        ({"kv_blocks": 0}, "kv_blocks is 0; it must be at least 1"),
        ({"block_tokens": 0}, "block_tokens is 0"),
        ({"max_running": -1}, "max_running is -1"),
        ({"call_seconds": -0.1}, "call_seconds is -0.1"),
        ({"call_seconds": float("nan")}, "call_seconds is nan"),
    ],
)
def test_impossible_models(changes, says):
    """An engine that could never run anything, or never begin a prompt, is refused."""
    with pytest.raises(ConfigError, match=says):
        EngineModel(STEP, **{"kv_blocks": 4, **changes})


def test_model_file():
    """A model survives being written."""
    assert msgspec.json.decode(msgspec.json.encode(ROOMY), type=EngineModel) == ROOMY
