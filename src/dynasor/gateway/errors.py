"""Errors in OpenAI's shape, whatever went wrong and wherever.

    {"error": {"message": ..., "type": ..., "param": the field or null, "code": ...}}

Nothing that a client can send makes an error page or a status of 500: what it did wrong is a 4xx
that names the field. A 5xx says that an engine, a program or this server failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dynasor.core.errors import DynasorError, UnknownName, UserError
from dynasor.requests.body import Refused
from dynasor.requests.completion import encode_json, error_body

__all__ = [
    "BadRequest",
    "Closing",
    "JsonResponse",
    "error_response",
    "handlers",
    "shaped",
]

RETRY_SECONDS = 5
"""What clients are told to wait where the server restarts or an engine is overloaded."""


class BadRequest(UserError):
    """A request that cannot be served: the field (None: the whole), a status, OpenAI's code."""

    def __init__(
        self, param: str | None, message: str, status: int = 400, code: str = "invalid_request"
    ) -> None:
        self.param, self.http_status, self.code = param, status, code
        super().__init__(message)


class Closing(DynasorError):
    """The server is being stopped and takes no more requests."""

    http_status = 503


class JsonResponse(Response):
    """A JSON response of any values that msgspec can write."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write it."""
        return encode_json(content)


def shaped(error: DynasorError, param: str | None = None) -> dict[str, Any]:
    """Return OpenAI's error; `param` where the error itself names no field."""
    own = error.param if isinstance(error, BadRequest | Refused) else None
    code = error.code if isinstance(error, BadRequest) else _code(error)
    return error_body(error, param=own or param, code=code)


def error_response(
    error: DynasorError, param: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response of an error; those that pass say when to come again."""
    status = error.http_status
    again = {"Retry-After": str(RETRY_SECONDS)} if status in {429, 503} else {}
    return JsonResponse(shaped(error, param), status, {**again, **(headers or {})})


def _code(error: DynasorError) -> str | None:
    """Return the code of a request that was refused; None leaves the class of what failed."""
    return "invalid_request" if isinstance(error, Refused | UnknownName) else None


async def _http_error(request: Request, error: Exception) -> Response:
    """Word what Starlette refuses: unknown paths and methods."""
    if not isinstance(error, HTTPException):  # cannot happen: it is registered for these
        raise error
    path = request.url.path
    if error.status_code == 404:
        told = BadRequest(
            None, f"nothing is at {path}; /openapi.json says what there is", 404, "unknown_url"
        )
    elif error.status_code == 405:
        told = BadRequest(
            None, f"{request.method} is not served at {path}", 405, "method_not_supported"
        )
    else:
        told = BadRequest(None, error.detail, error.status_code)
    return error_response(told, headers=error.headers)


async def _own_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, DynasorError):  # cannot happen: it is registered for these
        raise error
    return error_response(error)


async def _fault(_: Request, error: Exception) -> Response:
    """Word a fault of ours; the server logs its story."""
    told = DynasorError(f"a fault of the server's own: {type(error).__name__}")
    return error_response(told)


handlers: Mapping[Any, Any] = {
    HTTPException: _http_error,
    DynasorError: _own_error,
    Exception: _fault,
}
"""What the application does with what its endpoints raise."""
