"""Every error of the tree in OpenAI's shape."""

from __future__ import annotations

import json

import pytest

from dynasor.core import errors
from dynasor.core.errors import DynasorError, revive
from dynasor.gateway.errors import BadRequest, error_response
from dynasor.requests.body import Refused

KINDS = [
    name
    for name in errors.__all__
    if isinstance(getattr(errors, name), type) and issubclass(getattr(errors, name), DynasorError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_shape(kind):
    """Each has its status, its message, a type by the status, and a code."""
    error = revive(kind, "what happened")
    response = error_response(error, "field")
    told = json.loads(response.body)["error"]
    assert response.status_code == error.http_status
    assert (told["message"], told["param"]) == ("what happened", "field")
    assert (told["type"] == "server_error") == (error.http_status >= 500)
    assert told["code"]
    assert ("retry-after" in response.headers) == (error.http_status in {429, 503})


def test_own_field_goes_first():
    """A refusal knows its field better than who words it."""
    for error in (BadRequest("n", "no"), Refused("n", "no")):
        assert json.loads(error_response(error, "other").body)["error"]["param"] == "n"


def test_headers():
    """More headers may come along, instead of the usual ones too."""
    response = error_response(BadRequest(None, "later", 429), headers={"Retry-After": "60"})
    assert response.headers["retry-after"] == "60"
