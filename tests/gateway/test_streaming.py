"""Answers as streams."""

from __future__ import annotations

import asyncio
import json

import pytest
from openai import APIError
from openai.types.chat import ChatCompletionChunk
from toys.serving import Gated, boxed, events_of, serving, sums

from dynasor.core.errors import EngineRefused
from dynasor.engines.scripted import Fail, ScriptedEngine
from dynasor.gateway import streaming

ALGORITHM = {"algorithm": "self-consistency"}
EXTRA = {"dynasor": ALGORITHM}
ASKED = {"model": "scripted", "messages": [{"role": "user", "content": "1+1?"}]}
THOUGHTS = "one and one is what you get when you count to two and then you stop to look again "
CHAIN = {"algorithm": "chain-of-thought", "cap": 99, "params": {"every": 4, "share": 0}}


def thinker(**options):
    """An engine that thinks, and answers 2 whenever it is asked."""

    def write(work):
        if work.sampling.max_tokens == 12:  # a probe
            return "2}"
        whole = f"{THOUGHTS}</think>\n\nThe answer is \\boxed{{2}}."
        return whole.removeprefix(work.prompt.prefix)

    return ScriptedEngine(write, **options)


def comments(events):
    """Our own comments, read."""
    ours = [event for event in events if isinstance(event, str) and event.startswith(": dynasor ")]
    return [json.loads(event.removeprefix(": dynasor ")) for event in ours]


def chunks(events):
    """The chunks of a stream."""
    return [event for event in events if isinstance(event, dict)]


async def test_official_client():
    """To the official client a stream is a role, the text, a reason, and nothing else."""
    async with serving() as served, served.client() as client:
        stream = await client.chat.completions.create(**ASKED, stream=True, extra_body=EXTRA)
        got = [chunk async for chunk in stream]
        for chunk in got:
            ChatCompletionChunk.model_validate(chunk.model_dump(), strict=True)
        assert got[0].choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in got) == boxed(2)
        assert [chunk.choices[0].finish_reason for chunk in got][-1] == "stop"
        assert got[-1].model_extra["dynasor"]["answer"] == "2"
        assert len({chunk.id for chunk in got}) == 1


async def test_official_client_without_async():
    """The official client reads the same stream from a thread."""
    async with serving() as served:

        def ask():
            with served.sync_client() as client:
                stream = client.chat.completions.create(**ASKED, stream=True, extra_body=EXTRA)
                return [chunk.choices[0].delta.content or "" for chunk in stream]

        assert "".join(await asyncio.to_thread(ask)) == boxed(2)


async def test_order_of_events():
    """Progress comes first, as comments; then role, text, reason, usage and the end."""
    async with serving() as served:
        answer = await served.chat(
            stream=True, stream_options={"include_usage": True}, dynasor=ALGORITHM
        )
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = events_of(answer.body)
        told = comments(events)
        assert told[0] == {"program_id": answer.headers["x-dynasor-program"]}
        assert [one["knob"] for one in told[1:]] == [1, 2, 3]
        assert told[-1]["votes"] == {"2": 3.0}
        *text, reason, usage = chunks(events)
        assert text[0]["choices"][0]["delta"]["role"] == "assistant"
        assert all(chunk["usage"] is None for chunk in [*text, reason])
        assert reason["choices"][0] == {
            "index": 0,
            "delta": {},
            "logprobs": None,
            "finish_reason": "stop",
        }
        assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 15)
        assert events[-1] == "[DONE]"


async def test_no_usage_unless_asked_for():
    """Without `include_usage` no chunk speaks of usage."""
    async with serving() as served:
        answer = await served.chat(stream=True, dynasor=ALGORITHM)
        assert not any("usage" in chunk for chunk in chunks(events_of(answer.body)))


async def test_older_endpoint():
    """The older endpoint streams its text."""
    async with serving() as served, served.client() as client:
        stream = await client.completions.create(
            model="scripted",
            prompt="1+1?",
            stream=True,
            stream_options={"include_usage": True},
            extra_body=EXTRA,
        )
        got = [chunk async for chunk in stream]
        assert "".join(c.choices[0].text for c in got if c.choices) == boxed(2)
        assert (got[-1].choices, got[-1].usage.completion_tokens) == ([], 15)


async def test_long_text():
    """A long text comes in pieces, in any script, and whole."""
    text = "für 🤔 " * 100 + boxed(2)
    async with serving(ScriptedEngine(lambda work: text)) as served:
        answer = await served.chat(stream=True, dynasor=ALGORITHM)
        pieces = [
            c["choices"][0]["delta"].get("content", "") for c in chunks(events_of(answer.body))
        ]
        assert "".join(pieces) == text
        assert len(pieces) > 10


async def test_chain_of_thought():
    """A chain of thought streams its thoughts as they come, and then what follows them."""
    async with serving(thinker()) as served:
        answer = await served.chat(stream=True, dynasor=CHAIN)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks(events_of(answer.body))]
        thoughts = [delta["reasoning"] for delta in deltas if "reasoning" in delta]
        assert len(thoughts) > 3
        assert "".join(thoughts) == THOUGHTS
        assert all(d["reasoning"] == d["reasoning_content"] for d in deltas if "reasoning" in d)
        assert "".join(d.get("content", "") for d in deltas) == "The answer is \\boxed{2}."
        assert deltas[0] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    ("chunked", "how"), [(False, {"cap": 3}), (True, {"policy": "stepwise:every=1,at=1.0"})]
)
async def test_chain_of_thought_that_is_cut(chunked, how):
    """Thoughts that are cut short are those that were streamed, and the answer is the probe's."""
    params = {"every": 4, "share": 10.0, "chunked": chunked}
    async with serving(thinker()) as served:
        answer = await served.chat(stream=True, dynasor={**CHAIN, **how, "params": params})
        events = chunks(events_of(answer.body))
        deltas = [chunk["choices"][0]["delta"] for chunk in events]
        streamed = "".join(delta.get("reasoning", "") for delta in deltas)
        assert streamed
        assert THOUGHTS.startswith(streamed)
        assert "".join(d.get("content", "") for d in deltas) == "The answer is \\boxed{2}"


async def test_chain_of_thought_as_a_whole():
    """Without streaming the thoughts stand beside the content."""
    async with serving(thinker()) as served:
        message = (await served.chat(dynasor=CHAIN)).json["choices"][0]["message"]
        assert message["content"] == "The answer is \\boxed{2}."
        assert message["reasoning"] == message["reasoning_content"] == THOUGHTS


async def test_several_chains():
    """Several chains have no text before their vote: the winner's thoughts come at the end."""
    params = {**CHAIN["params"], "chains": 2}
    async with serving(thinker()) as served:
        answer = await served.chat(stream=True, dynasor={**CHAIN, "params": params})
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks(events_of(answer.body))]
        assert [d["reasoning"] for d in deltas if "reasoning" in d] == [THOUGHTS]


async def test_early_failure():
    """A failure before the stream has begun has a status of its own."""
    engine = sums(faults={n: Fail(EngineRefused("e", "never")) for n in range(9)})
    async with serving(engine) as served:
        answer = await served.chat(stream=True, dynasor=ALGORITHM)
        assert (answer.status, answer.error["code"]) == (400, "EngineRefused")


async def test_late_failure(monkeypatch):
    """A failure after the beginning is an event that the official client raises."""
    monkeypatch.setattr(streaming, "GRACE_SECONDS", 0.0)
    async with serving(Gated()) as served, served.client() as client:
        extra = {"dynasor": {**ALGORITHM, "deadline_seconds": 0.02}}
        stream = await client.chat.completions.create(**ASKED, stream=True, extra_body=extra)
        with pytest.raises(APIError, match="deadline passed before its first answer"):
            await anext(aiter(stream))


async def test_deadline():
    """When time runs out the best so far is streamed, and the story says so."""
    async with serving(Gated(free=1)) as served:
        answer = await served.chat(stream=True, dynasor={**ALGORITHM, "deadline_seconds": 0.02})
        last = chunks(events_of(answer.body))[-1]
        assert last["dynasor"]["status"] == "deadline"


async def test_signs_of_life(monkeypatch):
    """While nothing happens an empty comment keeps the connection alive."""
    monkeypatch.setattr(streaming, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(streaming, "ALIVE_SECONDS", 0.0)
    engine = Gated()
    async with serving(engine) as served:
        body = json.dumps({**ASKED, "stream": True, **EXTRA}).encode()
        reader, writer = await served.connect("POST", "/v1/chat/completions", body)
        await reader.readuntil(b": dynasor ")
        await reader.readuntil(b": \n\n")
        engine.open.set()
        assert b"[DONE]" in await reader.read()
        writer.close()


async def _is_taken_back(engine, free_units, served, reader_waits):
    """Stream, leave, and check that the program went with the client."""
    body = json.dumps({**ASKED, "stream": True, **EXTRA}).encode()
    reader, writer = await served.connect("POST", "/v1/chat/completions", body)
    await engine.begun.wait()
    if reader_waits:
        await reader.readuntil(b'"knob":1')
    writer.close()
    await engine.aborted.wait()
    (record,) = served.service.registry.newest("")
    while not record.is_closed:
        await asyncio.sleep(0)
    assert (record.status, record.knob, engine.running) == ("withdrawn", free_units, 0)
    assert not served.service.streams._followers


async def test_client_leaves_before_the_first_byte():
    """A client that leaves before the stream has begun takes its program with it."""
    engine = Gated()
    async with serving(engine) as served:
        await _is_taken_back(engine, 0, served, False)


async def test_client_leaves_mid_stream():
    """A client that leaves in the middle of a stream takes its program with it."""
    engine = Gated(free=1)
    async with serving(engine) as served:
        await _is_taken_back(engine, 1, served, True)


async def test_official_client_closes_the_stream():
    """Closing the stream of the official client breaks its program off."""
    engine = Gated(free=1)
    async with serving(engine) as served, served.client() as client:
        stream = await client.chat.completions.create(**ASKED, stream=True, extra_body=EXTRA)
        await engine.begun.wait()
        await stream.close()
        await engine.aborted.wait()
