"""What goes over the wire to each kind of server, and what comes back when all is well."""

import json

import pytest
from aiohttp import web

from dynasor.core.errors import ConfigError, EngineRefused
from dynasor.core.types import Embed, Generate, Message, Prompt, Sampling, Score
from dynasor.engines.http import HttpEngine
from dynasor.engines.judge import Judge
from dynasor.engines.protocol import Meter

pytestmark = pytest.mark.timeout(20)


def streaming(*parts):
    """A chat handler that streams these events and ends."""

    async def chat(request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            data = part if isinstance(part, bytes) else f"data: {json.dumps(part)}\n\n".encode()
            await response.write(data)
        return response

    return chat


def say(text=None, finish_reason=None, **delta):
    choice = {"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish_reason}
    return {"choices": [choice]}


async def asked(server, work, **options):
    """Start an engine, generate once, and return the body that the server got."""
    engine = HttpEngine(server.url, **options)
    await engine.start()
    await engine.generate(work, Meter())
    await engine.close()
    return server.asked[-1]


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_url_forms(server, ask, ending):
    """A URL works with and without /v1 and a slash, and messages show it as it was given."""
    engine = HttpEngine(server.url + ending)
    await engine.start()
    assert engine.address == server.url + ending
    assert (await engine.generate(ask(), Meter())).text
    await engine.close()


async def test_description(server):
    """The model and its context are asked of the server; slots may be overridden."""
    engine = HttpEngine(server.url, slots=7)
    description = await engine.start()
    assert description.model == "toy"
    assert description.context_tokens == 4096
    assert description.slots == 7
    await engine.close()


async def test_one_request_carries_everything(server, ask):
    """A body holds the sampling in OpenAI's names, asks for a stream and for usage in it."""
    work = ask(seed=3, stop=("x",), temperature=0.25, top_p=0.5, max_tokens=9)
    body = await asked(server, work)
    expected = {
        "model": "toy",
        "seed": 3,
        "stop": ["x"],
        "temperature": 0.25,
        "top_p": 0.5,
        "max_tokens": 9,
        "stream": True,
    }
    assert body.items() >= expected.items()
    assert body["stream_options"]["include_usage"] is True


async def test_nothing_that_was_not_asked(server, ask):
    """A plain server gets OpenAI's fields only, and no seed or stop where there is none."""
    server.owned_by = "somebody"
    body = await asked(server, ask(seed=None))
    assert set(body) == {
        "model", "messages", "max_tokens", "temperature", "top_p", "stream", "stream_options",
    }  # fmt: skip
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("owner", "most", "is_sent"),
    [("vllm", 4096, False), ("vllm", 4095, True), ("sglang", 9999, True)],
)
async def test_bound_beyond_the_context(server, ask, owner, most, is_sent):
    """A bound that the model's context cannot hold is left out where the server refuses it."""
    server.owned_by = owner
    assert ("max_tokens" in await asked(server, ask(max_tokens=most))) is is_sent


async def test_seed_fits(server, ask):
    """A seed of any size is sent as 31 bits, the same each time."""
    assert (await asked(server, ask(seed=2**64 + 5)))["seed"] == 5


@pytest.mark.parametrize(
    ("owner", "fields"),
    [
        ("vllm", {"add_generation_prompt": False, "continue_final_message": True}),
        ("sglang", {"continue_final_message": True}),
        ("llamacpp", {}),
    ],
)
async def test_prefix(server, ask, owner, fields):
    """A prefix is a last assistant message, with the fields that make the server continue it."""
    server.owned_by = owner
    body = await asked(server, ask(prefix="It is"))
    assert body["messages"][-1] == {"role": "assistant", "content": "It is"}
    assert body.items() >= fields.items()


@pytest.mark.parametrize("owner", ["somebody", "tensorrt_llm"])
async def test_prefix_refused(server, ask, owner):
    """A server that cannot continue a text is not asked to: EngineRefused says who can."""
    server.owned_by = owner
    engine = HttpEngine(server.url)
    description = await engine.start()
    assert "prefix" not in description.supports
    with pytest.raises(EngineRefused, match="vllm, sglang"):
        await engine.generate(ask(prefix="It is"), Meter())
    with pytest.raises(EngineRefused):
        await engine.score(Score((Prompt((), "It is"),)), Meter())
    assert server.asked == []
    await engine.close()


async def test_dialect_by_name(server, ask):
    """A dialect that the user names goes before what the server says."""
    server.owned_by = "my-gateway"
    body = await asked(server, ask(prefix="It is"), dialect="vllm")
    assert body["continue_final_message"] is True


async def test_llamacpp_draws_as_asked(server, ask):
    """llama.cpp's own sampling defaults are switched off, and its connections are not reused."""
    server.owned_by = "llamacpp"
    body = await asked(server, ask(has_logprobs=True))
    assert (body["top_k"], body["min_p"], body["top_logprobs"]) == (0, 0.0, 1)
    assert server.headers[-1]["Connection"] == "close"


async def test_api_key(server, ask):
    """An API key travels as a bearer token and shows in no representation."""
    engine = HttpEngine(server.url, api_key="s3cret")
    await engine.start()
    await engine.generate(ask(), Meter())
    assert server.headers[-1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(engine) + repr(engine._link)
    await engine.close()


async def test_api_key_of_a_file(server, ask):
    """A line break behind a key is none of it; one within is refused in one line."""
    engine = HttpEngine(server.url, api_key="s3cret\n")
    await engine.start()
    await engine.generate(ask(), Meter())
    assert server.headers[-1]["Authorization"] == "Bearer s3cret"
    await engine.close()
    for bad in ("a\nb", "schlüssel"):
        with pytest.raises(ConfigError, match="no header can carry"):
            await HttpEngine(server.url, api_key=bad).start()


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_reasoning(server, toy, ask, name):
    """Thoughts that the server split off are part of the text, a paragraph before the answer."""
    server.chat = streaming(
        say(**{name: "Let me "}), say(**{name: "see."}), say("It is 4."), say(finish_reason="stop")
    )
    generated = await toy.generate(ask(), Meter())
    assert generated.text == "Let me see.\n\nIt is 4."
    assert generated.usage.completion_tokens == 3


async def test_reports(server, toy, ask):
    """Reports carry the text since the last one, every so many tokens."""
    server.chat = streaming(*[say(f"{n} ") for n in range(7)], say(finish_reason="stop"))
    reports = []
    await toy.generate(ask(report_every=3), Meter(), lambda d, n: reports.append((d, n)))
    assert reports == [("0 1 2 ", 3), ("3 4 5 ", 3)]


async def test_counted_while_it_runs(server, toy, ask):
    """Usage in each chunk makes the meter exact, several tokens a chunk included."""
    counts = []

    async def chat(request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for n in (4, 9):
            usage = {"prompt_tokens": 5, "completion_tokens": n}
            data = json.dumps({**say("some words "), "usage": usage})
            await response.write(f"data: {data}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    server.chat = chat
    meter = Meter()
    generated = await toy.generate(ask(report_every=1), meter, lambda _, n: counts.append(n))
    assert counts == [4, 5]
    assert generated.usage.completion_tokens == 9
    assert generated.usage.is_counted


async def test_loose_events(server, toy, ask):
    """Comments, other fields, CRLF and empty data are skipped; characters may be cut in two."""
    text = json.dumps(say("é ok"), ensure_ascii=False).encode()
    cut = text.index("é".encode()) + 1
    server.chat = streaming(
        b": keep-alive\r\n\r\nevent: message\r\nid: 1\r\ndata:\r\n\r\n",
        b"data:" + text[:cut],
        text[cut:] + b"\r\n\r\n",
        b"data: [DONE]",
    )
    assert (await toy.generate(ask(), Meter())).text == "é ok"


async def test_server_that_does_not_stream(server, toy, ask):
    """A server that ignores `stream` and answers in one piece is understood."""

    async def chat(request, body):
        choice = {"message": {"content": "all at once"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 3}
        return web.json_response({"choices": [choice], "usage": usage})

    server.chat = chat
    generated = await toy.generate(ask(), Meter())
    assert generated.text == "all at once"
    assert generated.usage.completion_tokens == 3


async def test_score(server, toy):
    """A reward is the probability of + against -, whatever white space their tokens carry."""
    items = (Prompt((Message("user", "1+1?"),), "It is 2."),) * 3
    meter = Meter()
    scored = await toy.score(Score(items), meter)
    assert scored.rewards == pytest.approx((0.832,) * 3, abs=1e-3)
    assert scored.usage.completion_tokens == meter.completion_tokens == 3
    assert server.asked[0]["max_tokens"] == 1
    assert server.asked[0]["top_logprobs"] == 5


async def test_judge_is_told(server):
    """A judge's instruction takes the place of system messages; its mark follows the text."""
    engine = HttpEngine(server.url, judge=Judge("Judge.", mark="\n?"))
    await engine.start()
    asked = (Message("system", "Solve."), Message("user", "1+1?"))
    await engine.score(Score((Prompt(asked, "It is 2.\n"),)), Meter())
    assert server.asked[0]["messages"] == [
        {"role": "system", "content": "Judge."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "It is 2.\n?"},
    ]
    await engine.close()


def judging(*tops):
    """A chat handler whose answers list these candidates, one answer after the other."""
    left = list(tops)

    async def chat(request, body):
        top = [{"token": token, "logprob": logprob} for token, logprob in left.pop(0).items()]
        logprobs = {"content": [{"token": "x", "logprob": -1.0, "top_logprobs": top}]}
        return web.json_response({"choices": [{"message": {}, "logprobs": logprobs}]})

    return chat


async def test_no_opinion(server, toy):
    """An item on which the judge has no opinion has no reward; other labels are certain."""
    server.chat = judging({"+": -0.1}, {"yes": -0.1}, {"-": -0.1})
    scored = await toy.score(Score((Prompt((), "x"),) * 3), Meter())
    assert set(scored.rewards) == {0.0, None, 1.0}
    assert not scored.usage.is_counted


async def test_no_judge(server, toy):
    """A model without an opinion on anything is no judge: EngineRefused."""
    server.chat = judging({"yes": -0.1}, {"no": -0.1})
    with pytest.raises(EngineRefused, match="no judge"):
        await toy.score(Score((Prompt((), "x"),) * 2), Meter())


async def test_nothing_to_score(server, toy):
    """No items, no rewards, no request."""
    assert (await toy.score(Score(()), Meter())).rewards == ()
    assert server.asked == []


async def test_embed(server, toy):
    """Vectors come in the texts' order, whatever order the server sends them in."""
    meter = Meter()
    embedded = await toy.embed(Embed(("a", "b", "c")), meter)
    assert embedded.vectors == ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0))
    assert meter.prompt_tokens == 4


async def test_messages_in_order(server):
    """Every message travels with its role."""
    messages = (Message("system", "s"), Message("user", "u"))
    body = await asked(server, Generate(Prompt(messages), Sampling()))
    assert body["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
    ]
