"""How the end of a program reads."""

from __future__ import annotations

import json

from dynasor.core.errors import DeadlineExceeded, EngineRefused
from dynasor.requests.completion import Said, encode_json, error_body, said


def test_parted():
    """An answer is parted from the thoughts before it, where there are any."""
    assert said("so</think>\n\n4", "</think>") == Said("4", "so")
    assert said("no end, 4", "</think>") == Said("no end, 4")
    assert said("so</think>4") == Said("so</think>4")
    assert said(None, "</think>") == Said(None)


def test_broken_text():
    """Half a surrogate pair, which UTF-8 cannot hold, does not stop an answer."""
    assert json.loads(encode_json({"text": "half \ud83d"})) == {"text": "half ?"}


def test_errors():
    """Errors of the request and of the server are told apart by their type."""
    assert error_body(EngineRefused("e", "never"))["error"]["type"] == "invalid_request_error"
    told = error_body(DeadlineExceeded("too late"))["error"]
    assert told == {
        "message": "too late",
        "type": "server_error",
        "param": None,
        "code": "DeadlineExceeded",
    }
