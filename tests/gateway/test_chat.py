"""Requests with an algorithm: what each field means, and what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from openai import BadRequestError
from openai.types.chat import ChatCompletion
from toys.serving import Gated, boxed, serving, sums

from dynasor import SelfConsistency
from dynasor.api import Extensions
from dynasor.core.errors import EngineRefused, EngineUnreachable
from dynasor.core.program import Ask, Sample
from dynasor.core.types import Answer, Generate, Sampling
from dynasor.engines.scripted import Fail, ScriptedEngine

ALGORITHM = {"algorithm": "self-consistency"}
EXTRA = {"dynasor": ALGORITHM}
ASKED = {"model": "scripted", "messages": [{"role": "user", "content": "1+1?"}]}


async def test_official_client():
    """An answer is a chat completion to the official client, with the bill and our story."""
    async with serving() as served, served.client() as client:
        got = await client.chat.completions.with_raw_response.create(**ASKED, extra_body=EXTRA)
        completion = got.parse()
        ChatCompletion.model_validate(completion.model_dump(), strict=True)
        assert completion.choices[0].message.content == boxed(2)
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage.completion_tokens == 3 * 5
        story = completion.model_extra["dynasor"]
        assert story["program_id"] == got.headers["x-dynasor-program"]
        assert (story["answer"], story["votes"], story["status"]) == ("2", {"2": 3}, "answered")
        assert (story["knob"], story["cap"], story["reason"]) == (3, 3, "cap")
        assert story["certaindex"] == {"entropy": 1.0}


async def test_official_client_without_async():
    """The official client serves the same from a thread."""
    async with serving() as served:

        def ask():
            with served.sync_client() as client:
                return client.chat.completions.create(**ASKED, extra_body=EXTRA)

        completion = await asyncio.to_thread(ask)
        assert completion.choices[0].message.content == boxed(2)


async def test_older_endpoint():
    """A completion of the older kind asks its prompt as a question."""
    async with serving() as served, served.client() as client:
        for prompt in ("1+1?", ["1+1?"]):
            completion = await client.completions.create(
                model="scripted", prompt=prompt, extra_body=EXTRA
            )
            assert completion.choices[0].text == boxed(2)
            assert completion.object == "text_completion"
            assert completion.model_extra["dynasor"]["answer"] == "2"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "1+1?", "messages": []}, "messages"),
        ({"prompt": "1+1?", "logprobs": 3}, "logprobs"),
        ({"prompt": "1+1?", "best_of": 2}, "best_of"),
        ({"prompt": "1+1?", "suffix": "x"}, "suffix"),
        ({"prompt": "1+1?", "n": 2}, "n"),
    ],
)
async def test_older_endpoint_refuses(body, param):
    """What the older endpoint cannot do as a program is refused by name."""
    async with serving() as served:
        answer = await served.ask("POST", "/v1/completions", {**body, "dynasor": ALGORITHM})
        assert (answer.status, answer.error["param"]) == (400, param)


REFUSED = {
    "n": ({"n": 2}, "n", "one question has one answer"),
    "logprobs": ({"logprobs": True}, "logprobs", "not supported"),
    "tools": ({"tools": [{"type": "function"}]}, "tools", "not supported"),
    "tool choice": ({"tool_choice": "required"}, "tool_choice", "not supported"),
    "format": ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
    "stop": ({"stop": "\n"}, "stop", "'self-consistency' ends its branches itself"),
    "audio": ({"modalities": ["audio"]}, "modalities", "not supported"),
    "engine's own": ({"top_k": 5}, "top_k", "unknown key in the body"),
    "typo": ({"temprature": 1}, "temprature", "did you mean 'temperature'?"),
    "temperature": ({"temperature": 3}, "temperature", "<= 2"),
    "tokens": ({"max_tokens": "many"}, "max_tokens", "int"),
    "stream": ({"stream": "yes"}, "stream", "bool"),
    "effort": ({"reasoning_effort": "much"}, "reasoning_effort", "much"),
    "image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content",
        "expected 'text'",
    ),
    "role": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "tool"),
    "nobody asks": ({"messages": [{"role": "system", "content": "x"}]}, "messages", "'user'"),
    "no message": ({"messages": []}, "messages", "length"),
    "algorithm": (
        {"dynasor": {"algorithm": "magic"}},
        "dynasor.algorithm",
        "unknown algorithm 'magic' (known: beam, best-of-n, chain-of-thought, mcts, rebase, self-",
    ),
    "pass-through": (
        {"dynasor": {"algorithm": "pass-through"}},
        "dynasor.algorithm",
        "unknown algorithm",
    ),
    "policy": ({"dynasor": {"policy": "betta"}}, "dynasor.policy", "did you mean 'beta'?"),
    "policy for votes": (
        {"dynasor": {"algorithm": "best-of-n", "policy": "beta", "params": {"rewards": "model"}}},
        "dynasor.policy",
        "needs votes",
    ),
    "task": ({"dynasor": {"task": "maths"}}, "dynasor.task", "did you mean 'math'?"),
    "profile": ({"dynasor": {"profile": "mine"}}, "dynasor.profile", "unknown profile 'mine'"),
    "cap": ({"dynasor": {"cap": 0}}, "dynasor.cap", ">= 1"),
    "deadline": (
        {"dynasor": {**ALGORITHM, "deadline_seconds": -1}},
        "dynasor.deadline_seconds",
        "> 0",
    ),
    "key": ({"dynasor": {**ALGORITHM, "capp": 1}}, "dynasor.capp", "did you mean 'cap'?"),
    "parameter": (
        {"dynasor": {**ALGORITHM, "params": {"width": 3}}},
        "dynasor.params",
        "unknown parameter of program 'self-consistency': 'width'",
    ),
    "parameter elsewhere": (
        {"dynasor": {**ALGORITHM, "params": {"cap": 3}}},
        "dynasor.params.cap",
        "that is what dynasor says",
    ),
    "parameter's kind": (
        {"dynasor": {**ALGORITHM, "params": {"max_tokens": "x"}}},
        "dynasor.params",
        "max_tokens",
    ),
    "parameter's range": (
        {"dynasor": {**ALGORITHM, "params": {"max_tokens": -1}}},
        "dynasor.params",
        "Expected `int` >= 1 - at `$.max_tokens`",
    ),
    "policy's range": (
        {"dynasor": {**ALGORITHM, "policy": "priced:load=1e308"}},
        "dynasor.policy",
        "load",
    ),
    "no rewards here": ({"dynasor": {"algorithm": "rebase"}}, "dynasor", "no engine here can"),
    "id": ({"dynasor": {**ALGORITHM, "program_id": "ä"}}, "dynasor.program_id", "regex"),
}


async def test_refused():
    """What cannot be honoured is a 400 that names the field and says what is known."""
    async with serving(ScriptedEngine({})) as served:
        for name, (body, param, message) in REFUSED.items():
            answer = await served.chat(**{"dynasor": ALGORITHM, **body})
            assert answer.status == 400, name
            assert answer.error["param"] == param, name
            assert message in answer.error["message"], name
            assert answer.error["code"] == "invalid_request", name


async def test_unknown_model():
    """A model that no engine has is a 404 that says which there are."""
    async with serving() as served:
        answer = await served.chat(model="gpt-9", dynasor=ALGORITHM)
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert answer.error["message"] == "no engine here has the model 'gpt-9'; there is scripted"
        assert answer.error["param"] == "model"


async def test_harmless_fields():
    """Fields that change nothing, and others whose value asks for nothing, are no obstacle."""
    async with serving() as served:
        answer = await served.chat(
            user="me",
            metadata={"a": "b"},
            n=1,
            tools=[],
            tool_choice="auto",
            response_format={"type": "text"},
            logprobs=False,
            stop=None,
            parallel_tool_calls=False,
            prompt_cache_key="mine",
            dynasor=ALGORITHM,
        )
        assert answer.status == 200


async def test_sampling():
    """Temperature, top_p and max_tokens are those of each branch, the cap is the effort's."""
    engine = sums()
    async with serving(engine, cap=8) as served:
        answer = await served.chat(
            temperature=0.2,
            top_p=0.9,
            max_tokens=7,
            max_completion_tokens=9,
            reasoning_effort="low",
            dynasor=ALGORITHM,
        )
        assert answer.json["dynasor"]["cap"] == 2
        sampling = engine.asked[0].sampling
        assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.2, 0.9, 9)


@dataclass
class Stopped(SelfConsistency):
    """Asks once, and ends its branch where the client says."""

    name = "stopped"

    stop: tuple[str, ...] = ()

    def execute(self, context):
        yield Ask()
        sample = yield Sample(Generate(self.prompt(context.task), Sampling(stop=self.stop)))
        self.knob = 1
        self.found = Answer("", sample.text)

    def answer(self):
        return getattr(self, "found", None)


async def test_stop():
    """An algorithm that has stop texts gets the request's."""
    engine, own = sums(), Extensions(programs={"stopped": Stopped})
    async with serving(engine, extensions=own) as served:
        answer = await served.chat(stop=[" is"], dynasor={"algorithm": "stopped"})
        assert answer.json["choices"][0]["message"]["content"] == "so the answer"
        assert engine.asked[0].sampling.stop == (" is",)


async def test_seed():
    """The same request with the same seed samples alike, with another one it does not."""
    engine = sums()
    async with serving(engine) as served:
        drawn = []
        for seed in (1, 1, 2):
            await served.chat(seed=seed, dynasor=ALGORITHM)
            drawn.append([work.sampling.seed for work in engine.asked])
            engine.asked.clear()
        assert drawn[0] == drawn[1] != drawn[2]


async def test_twins_with_one_seed():
    """Two requests that are alike may run at once, seed or not."""
    engine = Gated()
    async with serving(engine) as served:
        twins = [asyncio.create_task(served.chat(seed=1, dynasor=ALGORITHM)) for _ in range(2)]
        while len(served.service.registry) < 2:
            await asyncio.sleep(0)
        engine.open.set()
        answers = await asyncio.gather(*twins)
        assert [answer.status for answer in answers] == [200, 200]


async def test_program_id():
    """A program keeps the id that its client gave it, which is free again once it has ended."""
    engine = Gated()
    mine = {**ALGORITHM, "program_id": "mine:1"}
    async with serving(engine) as served:
        first = asyncio.create_task(served.chat(dynasor=mine))
        await engine.begun.wait()
        taken = await served.chat(dynasor=mine)
        assert (taken.status, taken.error["code"]) == (400, "program_id_in_use")
        engine.open.set()
        assert (await first).headers["x-dynasor-program"] == "mine:1"
        assert (await served.chat(dynasor=mine)).status == 200


async def test_conversation():
    """A conversation is asked whole, a developer's message as a system message."""
    engine = sums()
    async with serving(engine) as served:
        said = [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "2+1?"},
            {"role": "assistant", "content": "3"},
            {"role": "user", "content": [{"type": "text", "text": "3+1?"}]},
        ]
        answer = await served.chat(messages=said, dynasor=ALGORITHM)
        assert answer.json["dynasor"]["answer"] == "4"
        roles = [message.role for message in engine.asked[0].prompt.messages]
        assert roles == ["system", "user", "assistant", "user"]


async def test_no_answer():
    """Where no branch gives an answer the content is null and the finish reason `length`."""
    async with serving() as served:
        answer = await served.chat(max_tokens=2, dynasor=ALGORITHM)
        (choice,) = answer.json["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == (None, "length")


async def test_deadline_with_an_answer():
    """When time runs out the best answer so far comes back, marked as such."""
    async with serving(Gated(free=1)) as served:
        answer = await served.chat(dynasor={**ALGORITHM, "deadline_seconds": 0.02})
        assert answer.status == 200
        story = answer.json["dynasor"]
        assert (story["status"], story["reason"], story["answer"]) == ("deadline", "deadline", "1")
        assert answer.json["usage"]["completion_tokens_details"]["aborted_tokens"] == 4


async def test_deadline_without_an_answer():
    """When time runs out before the first answer that is a 504, with what it cost."""
    async with serving(Gated()) as served:
        answer = await served.chat(dynasor={**ALGORITHM, "deadline_seconds": 0.02})
        assert (answer.status, answer.error["code"]) == (504, "DeadlineExceeded")
        assert answer.error["type"] == "server_error"
        assert answer.json["usage"]["completion_tokens"] == 6
        assert "x-dynasor-program" in answer.headers


async def test_longest_request():
    """No request takes longer than the server lets it."""
    async with serving(Gated(free=1), serve={"request_seconds": 0.02}) as served:
        answer = await served.chat(dynasor={**ALGORITHM, "deadline_seconds": 100})
        assert answer.json["dynasor"]["status"] == "deadline"


@pytest.mark.parametrize(
    ("error", "status"),
    [(EngineRefused("e", "never"), 400), (EngineUnreachable("e", "gone"), 503)],
)
async def test_engine_fails(error, status):
    """A program that its engine fails has that error's status and class."""
    engine = sums(faults={n: Fail(error) for n in range(30)})
    async with serving(engine, cap=1) as served:
        scheduler = served.service.dynasor.machine.driver.scheduler
        scheduler._dispatcher.config = _impatient(scheduler.config)
        answer = await served.chat(dynasor=ALGORITHM)
        assert (answer.status, answer.error["code"]) == (status, type(error).__name__)


def _impatient(config):
    from msgspec.structs import replace

    return replace(config, max_attempts=1)


async def test_client_leaves():
    """A client that leaves takes its program with it: every branch is broken off at once."""
    engine = Gated(free=1)
    async with serving(engine) as served:
        body = b'{"messages":[{"role":"user","content":"1+1?"}],"dynasor":{"cap":3}}'
        _, writer = await served.connect("POST", "/v1/chat/completions", body)
        await engine.begun.wait()
        writer.close()
        await engine.aborted.wait()
        (record,) = served.service.registry.newest("")
        while not record.is_closed:
            await asyncio.sleep(0)
        assert (record.status, engine.running) == ("withdrawn", 0)


async def test_bad_request_for_the_official_client():
    """The official client raises its own error, with the field."""
    async with serving() as served, served.client() as client:
        with pytest.raises(BadRequestError) as caught:
            await client.chat.completions.create(**ASKED, n=2, extra_body=EXTRA)
        assert caught.value.param == "n"


async def test_session():
    """Programs of one session prefer one replica, by header or by prompt_cache_key."""
    async with serving() as served:
        driver = served.service.dynasor.machine.driver
        arrived = []

        class Listener:
            def record(self, now, event, commands):
                if hasattr(event, "affinity"):
                    arrived.append(event.affinity)

        driver.record_in(Listener())
        await served.chat(prompt_cache_key="cache", dynasor=ALGORITHM)
        body = {"messages": ASKED["messages"], "dynasor": ALGORITHM}
        await served.ask("POST", "/v1/chat/completions", body, X_Session_ID="mine")
        assert arrived == ["cache", "mine"]
