"""Lines that cannot be run."""

from __future__ import annotations

import json

import pytest
from toys.batches import line, sums_engine

from dynasor.batch.lines import MAX_LINE_BYTES, read_lines

GOOD = [line("first", "1+1?"), line("last", "2+1?")]


def without(name):
    """A good line without one of its fields."""
    return {key: value for key, value in line("x").items() if key != name}


def spoilt(**fields):
    """A good line with some fields replaced."""
    return {**line("x"), **fields}


MALFORMED = {
    "not JSON": (b"{oops", "invalid_json_line", None),
    "cut off": (json.dumps(line("x")).encode()[:-5], "invalid_json_line", None),
    "no object": ([1, 2], "invalid_json_line", None),
    "too deep": (b'{"custom_id":' + b"[" * 100_000, "invalid_json_line", None),
    "not UTF-8": (b'{"custom_id":"\xff\xfe"}', "invalid_encoding", None),
    "half a surrogate": (b'{"custom_id":"\\ud800"}', "invalid_json_line", None),
    "no custom_id": (without("custom_id"), "missing_required_parameter", None),
    "empty custom_id": (spoilt(custom_id=" "), "invalid_custom_id", None),
    "number as custom_id": (spoilt(custom_id=7), "invalid_custom_id", None),
    "duplicate": (line("first"), "duplicate_custom_id", "first"),
    "wrong url": (spoilt(url="/v1/embeddings"), "invalid_url", "x"),
    "wrong method": (spoilt(method="GET"), "invalid_method", "x"),
    "no body": (without("body"), "missing_required_parameter", "x"),
    "body no object": (spoilt(body=[]), "invalid_request", "x"),
    "no messages": (spoilt(body={}), "invalid_request", "x"),
    "empty messages": (spoilt(body={"messages": []}), "invalid_request", "x"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_line(folder, name):
    """A line that cannot be read is an error record with its number, and the rest goes on."""
    bad, code, custom_id = MALFORMED[name]
    folder.write(GOOD[0], bad, GOOD[1])
    tally = await folder.run()
    assert folder.errors() == {2: code}
    (record,) = [one for one in folder.records() if one["error"] is not None]
    assert record["response"] is None
    assert record["custom_id"] == custom_id
    assert (tally.answered, tally.unusable, tally.left) == (2, 1, 0)


REFUSED = {
    "n": ({"n": 2}, "body.n is not supported: one question has one answer"),
    "stream": ({"stream": True}, "body.stream is not supported"),
    "tools": ({"tools": [{"type": "function"}]}, "body.tools is not supported"),
    "stop": ({"stop": ["\n"]}, "body.stop is not supported"),
    "typo": ({"temprature": 0.1}, "did you mean 'temperature'?"),
    "temperature": ({"temperature": 3}, "body.temperature"),
    "max_tokens": ({"max_tokens": 0}, "body.max_tokens"),
    "effort": ({"reasoning_effort": "much"}, "body.reasoning_effort"),
    "role": ({"messages": [{"role": "tool", "content": "x"}]}, "body.messages[0].role"),
    "nobody asks": ({"messages": [{"role": "system", "content": "x"}]}, "role 'user'"),
    "empty question": ({"messages": [{"role": "user", "content": " "}]}, "expected a question"),
    "image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "part of type 'image_url'",
    ),
    "unknown key": ({"dynasor": {"capp": 3}}, "did you mean 'cap'?"),
    "cap": ({"dynasor": {"cap": 0}}, "body.dynasor.cap"),
    "deadline": ({"dynasor": {"deadline_seconds": 0}}, "body.dynasor.deadline_seconds"),
    "policy": ({"dynasor": {"policy": "betta"}}, "did you mean 'beta'?"),
    "policy parameter": ({"dynasor": {"policy": "beta:x=1"}}, "its parameters: confidence"),
    "task": ({"dynasor": {"task": "maths"}}, "did you mean 'math'?"),
    "algorithm": ({"dynasor": {"algorithm": "magic"}}, "unknown algorithm 'magic'"),
    "parameter": ({"dynasor": {"params": {"max_token": 3}}}, "did you mean 'max_tokens'?"),
    "parameters": ({"dynasor": {"params": [3]}}, "body.dynasor.params"),
    "parameter's kind": ({"dynasor": {"params": {"max_tokens": "x"}}}, "at `$.max_tokens`"),
    "policy without votes": (
        {"dynasor": {"algorithm": "best-of-n", "policy": "beta"}},
        "program 'best-of-n': the policy 'beta' needs votes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_body(folder, name):
    """A body that cannot be honoured is refused with the field, what is known and what to do."""
    body, message = REFUSED[name]
    folder.write(GOOD[0], line("bad", **body), GOOD[1])
    await folder.run()
    error = folder.record("bad")["error"]
    assert error["code"] == "invalid_request"
    assert error["line"] == 2
    assert error["param"].startswith("body")
    assert message in error["message"]
    assert folder.record("last")["response"]["status_code"] == 200


async def test_harmless_fields(folder):
    """Fields that change nothing, and unsupported ones that ask for nothing, are no obstacle."""
    folder.write(
        line("q", user="me", metadata={"a": "b"}, n=1, stream=False, tools=None, stop=None, seed=3)
    )
    tally = await folder.run()
    assert tally.answered == 1


async def test_blank_lines_and_mark(folder):
    """Blank lines are skipped but counted, and a byte order mark and CRLF do no harm."""
    good = json.dumps(line("q")).encode()
    folder.in_path.write_bytes(b"\xef\xbb\xbf" + good + b"\r\n\r\n  \n{\r\n")
    tally = await folder.run()
    assert tally.total == 2
    assert folder.errors() == {4: "invalid_json_line"}


async def test_no_end_of_line(folder):
    """A last line without a line end is a line."""
    folder.in_path.write_bytes(json.dumps(line("q")).encode())
    assert (await folder.run()).answered == 1


async def test_endless_line(folder):
    """A line of 10 MB is refused, its neighbours are not."""
    folder.write(GOOD[0], line("huge", "x" * 10_000_000), GOOD[1])
    tally = await folder.run()
    assert folder.errors() == {2: "line_too_long"}
    assert tally.answered == 2


def test_longest_line(tmp_path):
    """A line of just the limit is read, one byte more is not, whatever follows."""
    path = tmp_path / "in"
    path.write_bytes(b"a" * (MAX_LINE_BYTES - 1) + b"\n" + b"b" * (MAX_LINE_BYTES + 1) + b"\nc")
    found = [(one.number, None if one.data is None else len(one.data)) for one in read_lines(path)]
    assert found == [(1, MAX_LINE_BYTES), (2, None), (3, 1)]


async def test_any_script(folder):
    """Questions in any script and size, control characters included, are asked as they stand."""
    texts = [
        "Как?",
        "为什么",
        "لماذا",
        "🤔" * 1000,
        "a\u0000b\u2028c",
        "[bold]x[/bold]",
        "x" * 10**6,
    ]
    asked = []
    folder.write(*(line(text[:9], text) for text in texts))
    await folder.run(sums_engine(asked.append), cap=1)
    assert sorted(asked) == sorted(texts)
    assert {one["custom_id"] for one in folder.records()} == {text[:9] for text in texts}
