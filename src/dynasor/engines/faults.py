"""Every way in which an HTTP engine fails, as one class of `dynasor.core.errors`.

The one place where foreign errors are translated; each message says what happened and, where it
can, what to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import aiohttp

from dynasor.core.errors import (
    ConfigError,
    EngineBusy,
    EngineDenied,
    EngineError,
    EngineGarbage,
    EngineRefused,
    EngineTimeout,
    EngineUnreachable,
)
from dynasor.engines.wire import NotTheProtocol

__all__ = ["DENIED", "FOREIGN", "api_root", "of_exception", "of_reported", "of_status"]

FOREIGN = (aiohttp.ClientError, OSError, TimeoutError, NotTheProtocol)
"""What a request may raise and `of_exception` translates."""

MESSAGE_CHARACTERS = 200
DENIED = frozenset({401, 403, 404, 407})
"""What is between Dynasor and its engine: no call has another key, address or model to try."""
_HINTS = {
    401: "; give it an API key",
    403: "; give it another API key",
    404: "; check the path of its address and the model's name",
}


def api_root(url: str) -> str:
    """Return the address under which `/models` lies, from a URL with or without `/v1`.

    Raises `ConfigError` for anything but `http://` or `https://` and a host.
    """
    parts = _split(url)
    path = parts.path.rstrip("/")
    path = path if path.endswith("/v1") else f"{path}/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _split(url: str) -> SplitResult:
    advice = f"engine address {url!r}: expected a URL such as http://localhost:8000/v1"
    try:
        parts = urlsplit(url.strip())
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError as exc:
        raise ConfigError(f"{advice} ({exc})") from exc
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"engine address of {parts.hostname}: a user name and password do not belong there; "
            "give the key as api_key"
        )
    has_more = parts.query or parts.fragment or any(c.isspace() for c in url.strip())
    if parts.scheme not in {"http", "https"} or not is_address or has_more:
        raise ConfigError(advice)
    return parts


def of_exception(address: str, exc: BaseException, seconds_limit: float) -> EngineError:
    """Translate what a request raised (one of `FOREIGN`)."""
    for kind, fault, story in _STORIES:
        if isinstance(exc, kind):
            why = exc if isinstance(exc, NotTheProtocol) else _reason(exc)
            return fault(address, story.format(why=why, seconds=f"{seconds_limit:g}"))
    return EngineUnreachable(address, f"the connection broke: {_reason(exc)}")


# The first that fits counts: aiohttp's classes inherit from one another.
_STORIES: tuple[tuple[type[BaseException], type[EngineError], str], ...] = (
    (NotTheProtocol, EngineGarbage, "its answer is not OpenAI's protocol: {why}"),
    (aiohttp.ConnectionTimeoutError, EngineUnreachable, "no connection in time; is it up?"),
    (TimeoutError, EngineTimeout, "sent nothing for {seconds} s"),
    (aiohttp.ClientConnectorDNSError, EngineUnreachable, "host name not found ({why})"),
    (aiohttp.ClientConnectorError, EngineUnreachable, "no connection ({why}); is it running?"),
    (aiohttp.ClientResponseError, EngineGarbage, "its answer is not HTTP: {why}"),
)


def of_status(address: str, status: int, body: bytes, headers: Mapping[str, str]) -> EngineError:
    """Translate an answer whose HTTP status is not 200."""
    if 300 <= status < 400:
        target = headers.get("Location", "elsewhere")
        return EngineGarbage(address, f"redirects to {_line(target)}; use that address")
    said = _message(body) or "(no message)"
    text = f"HTTP {status}: {said}{_HINTS.get(status, '')}"
    return _class_of(status)(address, text)


def of_reported(address: str, error: object) -> EngineError:
    """Translate an error object that came within a stream."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    said = _line(_words(error) or "(no message)")
    return _class_of(status)(address, f"failed within its answer: {said}")


def _class_of(status: int) -> type[EngineError]:
    if status in {429, 503}:
        return EngineBusy
    if status in {408, 504}:
        return EngineTimeout
    if status in DENIED:
        return EngineDenied
    if 400 <= status < 500 or status == 501:
        return EngineRefused
    return EngineError if status >= 500 else EngineGarbage


def _message(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        said = _words(json.loads(text))
    except (ValueError, RecursionError):
        said = "an HTML page" if text.lstrip()[:1] == "<" else text
    return _line(said)


def _words(said: object) -> str:
    """Find the sentence in an error of OpenAI's, FastAPI's or somebody's own shape."""
    if isinstance(said, dict):
        for key in ("error", "message", "detail", "msg"):
            if said.get(key):
                return _words(said[key])
    if isinstance(said, list) and said:
        return _words(said[0])
    return said if isinstance(said, str) else json.dumps(said, default=str)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return _line(str(exc)) or type(exc).__name__


def _line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= MESSAGE_CHARACTERS else flat[:MESSAGE_CHARACTERS] + "..."
