"""What engines are told of programs: sessions, hints, ranks and ends, each in its own words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.upstream import answer, chunked, upstream

from dynasor.core.errors import EngineError
from dynasor.core.types import Generate, Hints, Message, Prompt
from dynasor.engines.dialects import DIALECTS, OPENAI, dialect_named
from dynasor.engines.hints import hint_fields, hint_headers, priority_of
from dynasor.engines.http import HttpEngine
from dynasor.engines.protocol import Meter, Releases
from dynasor.engines.releasing import MOST_OF_ONE, Conversations

HINTS = Hints("prog_1", "math", 12.0, 300.5, 7, slack_seconds=-1.5)
MESSAGES = (Message("system", "Be brief."), Message("user", "1+1?"))
EVENT = b'data: {"choices": [{"delta": {"content": "2"}, "finish_reason": "stop"}]}\n\n'
STREAM = [*chunked(EVENT, b"data: [DONE]\n\n"), b"0\r\n\r\n"]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)
def test_nothing_without_hints(dialect):
    """Without hints no engine is told anything."""
    assert hint_fields(dialect, None, has_priority=True) == {}
    assert hint_headers(dialect, None, has_priority=True) == {}


def test_flat_scalars():
    """vLLM gets flat scalars, which are all it takes; slack only where there is a deadline."""
    fields = hint_fields(dialect_named("vllm"), HINTS, has_priority=False)
    flat = {
        "dynasor_workload": "math",
        "dynasor_knob_left": 12.0,
        "dynasor_tokens_per_knob": 300.5,
    }
    assert fields == {"vllm_xargs": {**flat, "dynasor_slack_seconds": -1.5}}
    unbound = Hints("prog_1", "math", 12.0, 300.5, 7)
    assert hint_fields(dialect_named("vllm"), unbound, has_priority=False) == {"vllm_xargs": flat}


@pytest.mark.parametrize(
    ("name", "priority"), [("vllm", 7), ("sglang", -7), ("tensorrt-llm", 1 / 8)]
)
def test_priority(name, priority):
    """A rank has each engine's sign and range, and only where it schedules by priority."""
    dialect = dialect_named(name)
    assert hint_fields(dialect, HINTS, has_priority=True)["priority"] == priority
    assert "priority" not in hint_fields(dialect, HINTS, has_priority=False)


@pytest.mark.parametrize("dialect", [OPENAI, dialect_named("llama.cpp")], ids=lambda one: one.name)
def test_strangers(dialect):
    """An engine that knows no hints gets none."""
    assert hint_fields(dialect, HINTS, has_priority=True) == {}
    assert hint_headers(dialect, HINTS, has_priority=True, is_relayed=True) == {}


@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_order(one, other):
    """Ranks keep their order on every scale, and TensorRT-LLM's stay within its range."""
    assert (one < other) == (priority_of("lower first", one) < priority_of("lower first", other))
    for scale in ("higher first", "one to zero"):
        assert (one < other) == (priority_of(scale, one) > priority_of(scale, other))
    assert 0.0 < priority_of("one to zero", one) <= 1.0


async def sent(dialect, **options):
    """Generate once; return the head and the body that the server got."""
    async with upstream(STREAM) as server:
        engine = HttpEngine(server.url, dialect=dialect, **options)
        await engine.start()
        await engine.generate(Generate(Prompt(MESSAGES), hints=HINTS), Meter())
        await engine.close()
    return server.heads[0], json.loads(server.bodies[0])


async def test_generation_carries_hints():
    """A generation of ours carries its session as a header, hints and priority in its body."""
    head, body = await sent("vllm", has_priority=True)
    assert head["x-session-id"] == "prog_1"
    assert body["priority"] == 7
    assert body["vllm_xargs"]["dynasor_workload"] == "math"
    head, body = await sent("sglang")
    assert head["x-smg-routing-key"] == "prog_1"
    assert "priority" not in body
    head, body = await sent("tensorrt-llm", has_priority=True)
    assert body["priority"] == 1 / 8
    assert "vllm_xargs" not in body


async def test_end_of_a_program():
    """TensorRT-LLM is told to cut an ended program's conversation, all but its system message."""
    async with upstream(STREAM, [answer(200, b"")]) as server:
        engine = HttpEngine(server.url, dialect="tensorrt-llm")
        await engine.start()
        assert isinstance(engine, Releases)
        await engine.generate(Generate(Prompt(MESSAGES), hints=HINTS), Meter())
        assert engine.holds("prog_1")
        assert not engine.holds("prog_2")
        await engine.release("prog_1")
        assert not engine.holds("prog_1")
        await engine.release("prog_1")
        await engine.close()
    assert server.paths[1:] == ["/_control/kv_cache/truncate"]
    system, user = ({"role": m.role, "content": m.content} for m in MESSAGES)
    assert json.loads(server.bodies[1]) == {
        "model": "toy",
        "messages": [system, user],
        "messages_to_retain": [system],
        "add_generation_prompt": False,
    }


async def test_end_that_cannot_be_told():
    """A server without the control plane is an error, and is not told again."""
    async with upstream(STREAM, [answer(404, b"")]) as server:
        engine = HttpEngine(server.url, dialect="tensorrt-llm")
        await engine.start()
        await engine.generate(Generate(Prompt(MESSAGES), hints=HINTS), Meter())
        with pytest.raises(EngineError):
            await engine.release("prog_1")
        assert not engine.holds("prog_1")
        await engine.close()


@pytest.mark.parametrize("dialect", ["vllm", "sglang", "llama.cpp", "openai"])
async def test_nothing_to_release(dialect):
    """Engines that cannot be told of an end hold nothing."""
    async with upstream(STREAM) as server:
        engine = HttpEngine(server.url, dialect=dialect)
        await engine.start()
        await engine.generate(Generate(Prompt(MESSAGES), hints=HINTS), Meter())
        assert not engine.holds("prog_1")
        await engine.close()


def test_conversations_are_bounded():
    """Of one program so many conversations are kept, each once; without hints none."""
    shown = Conversations()
    shown.note(Generate(Prompt(MESSAGES)))
    assert "prog_1" not in shown
    for n in range(2 * MOST_OF_ONE):
        for _ in range(2):
            shown.note(Generate(Prompt((Message("user", str(n)),)), hints=HINTS))
    assert len(list(shown.take("prog_1", "m"))) == MOST_OF_ONE
    assert list(shown.take("prog_1", "m")) == []
