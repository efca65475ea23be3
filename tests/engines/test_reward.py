"""Reward models behind HTTP: what they are asked, what is believed of their answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.reward_server import MARK, RewardServer, logistic, logit, text_of, tokens, written

from dynasor.core.errors import (
    ConfigError,
    EngineBusy,
    EngineError,
    EngineGarbage,
    EngineRefused,
    EngineTimeout,
    EngineUnreachable,
)
from dynasor.core.types import Embed, Generate, Message, Prompt, Score, Usage
from dynasor.engines.protocol import Description, Meter
from dynasor.engines.reward import RewardEngine

pytestmark = pytest.mark.timeout(30)

MESSAGES = (Message("system", "Reason."), Message("user", "What is 1 + 1?"))
SKYWORK = "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B"
WHOLE = "Skywork/Skywork-Reward-V2-Qwen3-8B"

Start = Callable[..., Awaitable[tuple[RewardServer, RewardEngine]]]


def score(*texts: str) -> Score:
    return Score(tuple(Prompt(MESSAGES, text) for text in texts))


def conversation(said: str) -> str:
    """What a model with a chat template sees of the question and the beginning of an answer."""
    messages = [{"role": m.role, "content": m.content} for m in MESSAGES]
    return written([*messages, {"role": "assistant", "content": said}])


def write_out(messages) -> str:
    return written([{"role": m.role, "content": m.content} for m in messages])


@asynccontextmanager
async def running(server: RewardServer) -> AsyncIterator[RewardServer]:
    runner = web.AppRunner(server.app(), shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def started(server: RewardServer, **options) -> AsyncIterator[RewardEngine]:
    async with running(server):
        engine = RewardEngine(server.url, seconds_limit=2.0, **options)
        try:
            await engine.start()
            server.asked.clear()
            server.is_bad = True
            yield engine
        finally:
            await engine.close()


async def rewards(server: RewardServer, *texts: str, **options) -> list[float]:
    async with started(server, **options) as engine:
        return list((await engine.score(score(*texts), Meter())).rewards)


# vLLM, a reward at each step mark.


async def test_steps_are_marked():
    """Each line becomes a step with the model's mark; the reward is that at the last mark."""
    server = RewardServer()
    shown = f"1 + 1 = 2.{MARK}So 2.{MARK}"
    (reward,) = await rewards(server, "1 + 1 = 2.\n\nSo 2.\n")
    (body,) = server.asked
    assert body["messages"][:2] == [{"role": m.role, "content": m.content} for m in MESSAGES]
    assert body["messages"][2] == {"role": "assistant", "content": shown}
    assert body["model"] == "prm"
    assert body["use_activation"] is False
    assert reward == pytest.approx(logistic(logit(conversation(shown).removesuffix("[/]"))))


async def test_prefixes_ride_along():
    """Steps of one path are rewarded by one request, as each would be alone."""
    texts = ["a\n", "a\nb\n", "a\nb\nc\n", "a\nd\n", "a\nb\n"]
    server = RewardServer()
    together = await rewards(server, *texts)
    assert [body["messages"][2]["content"] for body in server.asked] == [
        f"a{MARK}b{MARK}c{MARK}",
        f"a{MARK}d{MARK}",
    ]
    alone = [(await rewards(RewardServer(), text))[0] for text in texts]
    assert together == pytest.approx(alone)
    assert len(set(together)) == 4


async def test_marks_in_the_question():
    """A mark that the question happens to contain is no step of the answer."""
    server = RewardServer()
    item = Prompt((Message("user", f"What is {MARK}?"),), "It is a mark.\n")
    async with started(server) as engine:
        (reward,) = (await engine.score(Score((item,)), Meter())).rewards
    shown = written(server.asked[0]["messages"]).removesuffix("[/]")
    assert reward == pytest.approx(logistic(logit(shown)))


@pytest.mark.parametrize("columns", [1, 2])
async def test_usage(columns):
    """The bill is the server's count of every prompt; nothing is generated."""
    server = RewardServer(columns=columns)
    meter = Meter()
    async with started(server) as engine:
        scored = await engine.score(score("a\n", "b\n"), meter)
    count = sum(len(tokens(written(body["messages"]))) for body in server.asked)
    assert scored.usage == meter.usage() == Usage(count, 0, is_counted=True)


async def test_no_items():
    """Nothing to score is nothing asked."""
    server = RewardServer()
    assert await rewards(server) == []
    assert server.asked == []


async def test_an_empty_text():
    """An empty text is one empty step."""
    server = RewardServer()
    (reward,) = await rewards(server, "")
    assert 0 < reward < 1
    assert server.asked[0]["messages"][2]["content"] == MARK


# vLLM, a reward at each token.


async def test_skywork():
    """Question and steps are tokenized each for itself and sent together; step ends count."""
    server = RewardServer("tokens", columns=1, model=SKYWORK)
    texts = ["a.\n", "a.\nbc.\n", "d.\n"]
    got = await rewards(server, *texts)
    (body,) = server.asked
    question = "What is 1 + 1?\n"
    assert [text_of(ids) for ids in body["input"]] == [question + texts[1], question + texts[2]]
    assert got == pytest.approx([logistic(logit(question + text)) for text in texts])
    asked = [body["prompt"] for body in server.tokenized]
    assert asked.count(question) == 1
    assert asked.count("a.") == 1


async def test_step_ends_are_found_in_a_conversation():
    """Where the server rewards each token, the tokens of the marks are those that count."""
    server = RewardServer("tokens", columns=1)
    got = await rewards(server, "a\n", "a\nb\n")
    (body,) = server.asked
    assert [text_of(ids) for ids in body["input"]] == [conversation(f"a{MARK}b{MARK}")]
    shown = [conversation(said).removesuffix("[/]") for said in (f"a{MARK}", f"a{MARK}b{MARK}")]
    assert got == pytest.approx([logistic(logit(text)) for text in shown])


async def test_last_token():
    """Without a mark the last token's reward is the text's."""
    server = RewardServer("tokens", columns=1, model="Qwen2.5-Math-RM-72B")
    (reward,) = await rewards(server, "a\n\nb\n")
    assert reward == pytest.approx(logistic(logit(conversation("a\n\nb"))))


# One reward a text.


async def test_whole():
    """A model of whole texts is shown each text once, as it is."""
    server = RewardServer("whole", columns=1, model=WHOLE)
    got = await rewards(server, "a\n\nb\n", "a\n", "a")
    assert [body["messages"][2]["content"] for body in server.asked] == ["a\n\nb", "a"]
    assert got == pytest.approx([logistic(logit(conversation(s))) for s in ("a\n\nb", "a", "a")])


async def test_classify():
    """SGLang gets all texts in one request, written out, and its numbers are logits."""
    server = RewardServer(columns=1, model=WHOLE, is_sglang=True)
    meter = Meter()
    async with started(server, write_out=write_out) as engine:
        scored = await engine.score(score("a\n", "b\n", "a\n"), meter)
    (body,) = server.asked
    assert body["text"] == [conversation("a"), conversation("b")]
    expected = [logistic(logit(conversation(said))) for said in "aba"]
    assert scored.rewards == pytest.approx(expected)
    assert meter.usage() == Usage(sum(map(len, body["text"])), 0, is_counted=True)


async def test_classify_needs_a_template():
    """SGLang without a chat template is refused at the start, with the setting to set."""
    with pytest.raises(ConfigError, match="set reward_template"):
        await rewards(RewardServer(is_sglang=True), "a")


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([("steps", 2), ("tokens", 1), ("whole", 1)]),
    st.lists(st.text(alphabet="ab\n", max_size=6), min_size=1, max_size=6),
)
def test_any_texts(form, texts):
    """Whatever the server pools and the texts are, each gets the reward it gets alone."""

    async def both() -> None:
        async with started(RewardServer(*form)) as engine:
            together = (await engine.score(score(*texts), Meter())).rewards
            for text, reward in zip(texts, together, strict=True):
                (alone,) = (await engine.score(score(text), Meter())).rewards
                assert reward == pytest.approx(alone)

    asyncio.run(both())


# What a server is.


@pytest.mark.parametrize(
    ("server", "options"),
    [
        (RewardServer(), {}),
        (RewardServer("whole", 1, WHOLE, is_sglang=True), {"write_out": write_out}),
        (RewardServer(has_chat=True), {"kind": "pooling"}),
    ],
)
async def test_description(server, options):
    """A reward model scores and does nothing else; slots are assumed unless they are given."""
    async with started(server, **options) as engine:
        assert await engine.start() == Description("prm", 64, 4096, frozenset({"score"}))
        with pytest.raises(EngineRefused, match="generates no text"):
            await engine.generate(Generate(Prompt(MESSAGES)), Meter())
        with pytest.raises(EngineRefused, match="embeds no text"):
            await engine.embed(Embed(("a",)), Meter())


@pytest.mark.parametrize("is_sglang", [False, True])
async def test_a_generating_server_judges(is_sglang):
    """A server that generates is asked for the next token, + or -."""
    server = RewardServer(has_chat=True, is_sglang=is_sglang)
    async with started(server, slots=7) as engine:
        description = await engine.start()
        assert description == Description("prm", 7, 4096, frozenset({"score"}))
        scored = await engine.score(score("a\n"), Meter())
    assert scored.rewards == pytest.approx((logistic(1.6),))
    assert server.asked[0]["max_tokens"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"step": MARK}, "reward_step is set"), ({"write_out": write_out}, "reward_template is set")],
)
async def test_what_means_nothing_to_a_judge(options, message):
    """What says how a reward model reads is refused where a model judges, and not ignored."""
    with pytest.raises(ConfigError, match=f"{message}, .* judges"):
        await rewards(RewardServer(has_chat=True), "a", **options)


async def test_step_that_is_given():
    """A mark that is given goes before the one that the name suggests."""
    server = RewardServer("tokens", columns=1)
    (reward,) = await rewards(server, "a.\n", step="\n")
    assert reward == pytest.approx(logistic(logit("What is 1 + 1?\na.\n")))


async def test_key_and_model():
    """The key goes with every request, and the model that was named is asked for."""
    server = RewardServer()
    await rewards(server, "a", api_key="secret", model="other", step=MARK)
    assert set(server.keys) == {"Bearer secret"}
    assert server.asked[0]["model"] == "other"


def test_bad_arguments():
    """A bad URL and a number out of range are refused before anything is sent."""
    with pytest.raises(ConfigError, match="expected a URL"):
        RewardEngine("localhost:8000")
    with pytest.raises(ConfigError, match="slots is 0"):
        RewardEngine("http://localhost:8000", slots=0)


# Bad output.


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (RewardServer("whole", columns=768), "is no reward model: 768 numbers a text"),
        (RewardServer(model="unknown", columns=2), "gives no reward .* set reward_step"),
        (RewardServer(answer=404, is_bad=True), "HTTP 404: no"),
    ],
)
async def test_no_reward_model(server, message):
    """A server that gives no reward is refused at the start."""
    with pytest.raises(EngineRefused, match=message):
        await rewards(server, "a")


async def test_unknown_mark_apart():
    """A mark that the tokenizer does not keep apart cannot be found among tokens: refused."""

    class Merging(RewardServer):
        async def _tokenize(self, request):
            response = await super()._tokenize(request)
            if "messages" in self.tokenized[-1]:
                return web.json_response({"tokens": [1, 2, 3]})
            return response

    with pytest.raises(EngineRefused, match="does not keep the step mark '<m>' apart"):
        await rewards(Merging("tokens", columns=1), "a", step="<m>")


def pooled(*data):
    return {"data": [{"index": at, "data": one} for at, one in enumerate(data)]}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (pooled([[None, None]]), "cannot be read: expected a number, got None"),
        ('{"data": [{"data": [[NaN, 0.5]]}]}', "expected a number, got nan"),
        (pooled([]), "0 rewards for 1 steps"),
        (pooled([[0.1, 0.2, 0.3]]), "3 numbers a text"),
        (pooled("AAAA"), "expected numbers, got 'AAAA'"),
        (pooled(), "0 answers for 1 texts"),
        (pooled([[0.1, 0.2]], [[0.1, 0.2]]), "2 answers for 1 texts"),
        ({"data": "much"}, "not OpenAI's protocol"),
        ("nothing", "not OpenAI's protocol: expected JSON"),
        ("<!doctype html>", "not OpenAI's protocol"),
    ],
)
async def test_garbage(answer, message):
    """NaN, a wrong count, nothing or no JSON is garbage that names the engine, never a reward."""
    server = RewardServer(answer=answer)
    with pytest.raises(EngineGarbage, match=message) as caught:
        await rewards(server, "a")
    assert caught.value.address == server.url


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "0 answers for 1 texts"),
        ([{"embedding": []}], "expected a number, got none"),
        ([{"embedding": [None]}], "got None"),
        ({"embedding": [0.1]}, "not OpenAI's protocol"),
    ],
)
async def test_classify_garbage(answer, message):
    """SGLang's answers are read with the same distrust."""
    with pytest.raises(EngineGarbage, match=message):
        await rewards(RewardServer(is_sglang=True, answer=answer), "a", write_out=write_out)


async def test_classify_no_reward_model():
    """An embedding model behind SGLang is refused at the start."""
    with pytest.raises(EngineRefused, match="is no reward model: 384 numbers"):
        await rewards(RewardServer(columns=384, is_sglang=True), "a", write_out=write_out)


@pytest.mark.parametrize("tokens_given", [5, 50])
async def test_tokens_without_rewards(tokens_given):
    """Another number of rewards than of tokens is garbage."""
    answer = pooled([[0.5]] * tokens_given)
    with pytest.raises(EngineGarbage, match=f"{tokens_given} rewards for 18 tokens"):
        await rewards(RewardServer("tokens", 1, SKYWORK, answer=answer), "a.\n")


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, EngineRefused), (429, EngineBusy), (500, EngineError), (504, EngineTimeout)],
)
async def test_statuses(status, error):
    """An HTTP status is the error that it is for every engine."""
    with pytest.raises(error, match=f"HTTP {status}: no") as caught:
        await rewards(RewardServer(answer=status), "a")
    assert type(caught.value) is error


async def test_usage_that_is_missing():
    """Without the server's count the bill is an estimate, and says so."""
    meter = Meter()
    async with started(RewardServer(answer=pooled([[0.1, 0.9]]))) as engine:
        scored = await engine.score(score("a"), meter)
    assert scored.rewards == (0.9,)
    assert meter.prompt_tokens > 0
    assert not meter.is_counted


async def test_abort():
    """A cancelled call leaves nothing behind, and the next one is served."""
    async with started(RewardServer()) as engine:
        task = asyncio.create_task(engine.score(score("a", "b"), Meter()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len((await engine.score(score("a"), Meter())).rewards) == 1


async def test_close():
    """Closing twice is safe; a call after it names the engine, and it can be started again."""
    async with started(RewardServer()) as engine:
        await engine.close()
        await engine.close()
        with pytest.raises(EngineUnreachable) as caught:
            await engine.score(score("a"), Meter())
        assert caught.value.address == engine.address
        await engine.start()
        assert len((await engine.score(score("a"), Meter())).rewards) == 1


async def test_nobody_there():
    """A server that is not running is unreachable at the start."""
    async with running(RewardServer()) as server:
        url = server.url
    with pytest.raises(EngineUnreachable):
        await RewardEngine(url).start()
