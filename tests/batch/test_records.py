"""The output format."""

from __future__ import annotations

import json

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from toys.batches import line

from dynasor.batch.records import LineError, Record, encode_record


async def test_official_shape(folder):
    """A response body is a chat completion to the official client, with our object on top."""
    folder.write(line("q", "41+1?"))
    await folder.run()
    record = folder.record("q")
    assert list(record) == ["id", "custom_id", "response", "error"]
    assert record["error"] is None
    assert record["response"]["status_code"] == 200
    completion = ChatCompletion.model_validate(record["response"]["body"], strict=True)
    assert completion.model == "scripted"
    assert completion.choices[0].message.content == "so the answer is \\boxed{42}"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model_extra["dynasor"]["answer"] == "42"


async def test_story(folder):
    """The object `dynasor` says what was spent, what was decided and why."""
    folder.write(line("q", "41+1?", dynasor={"policy": "beta:confidence=0.9", "cap": 9}))
    await folder.run()
    story = folder.record("q")["response"]["body"]["dynasor"]
    assert story["votes"] == {"42": story["knob"]}
    assert story["certaindex"] == {"entropy": 1.0}
    assert (story["reason"], story["status"], story["cap"]) == ("certain", "answered", 9)
    assert story["policy"] == "beta:confidence=0.9"
    assert story["calls"] >= story["knob"]


async def test_usage(folder):
    """Usage counts every token, itemised by how its call ended."""
    folder.write(line("q", "1+1?"))
    await folder.run()
    usage = CompletionUsage.model_validate(folder.record("q")["response"]["body"]["usage"])
    items = usage.completion_tokens_details.model_extra
    assert usage.completion_tokens == 3 * 5 == items["finished_tokens"]
    assert items["aborted_tokens"] == items["failed_tokens"] == items["estimated_tokens"] == 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_failed_question(folder):
    """A question that failed has a status of at least 400, OpenAI's error and its bill."""
    folder.write(line("q", "never"))
    tally = await folder.run()
    record = folder.record("q")
    assert record["error"] is None
    assert record["response"]["status_code"] >= 400
    error = record["response"]["body"]["error"]
    assert "never" in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert record["response"]["body"]["usage"]["completion_tokens"] == 0
    assert (tally.answered, tally.failed) == (0, 1)


async def test_no_answer(folder):
    """A question whose branches contain no answer has null for its content."""
    folder.write(line("q", "1+1?", max_tokens=2))
    await folder.run()
    body = folder.record("q")["response"]["body"]
    assert body["choices"][0]["message"]["content"] is None
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["dynasor"]["answer"] is None


def test_broken_text():
    """Half a surrogate pair, which UTF-8 cannot hold, does not stop a record."""
    record = Record("batch_req_1", "q", None, LineError("code", "half \ud83d", None, 1))
    assert json.loads(encode_record(record))["error"]["message"] == "half ?"
