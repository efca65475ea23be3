"""The connection to one HTTP engine: a session, its time limits, and bytes to documents.

Connections are not rationed (the scheduler's window does that) and are kept for less time than
uvicorn keeps them (5 s), so that a request does not meet a connection that is just being closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from dynasor.core.errors import ConfigError, EngineUnreachable
from dynasor.engines.faults import FOREIGN, of_exception, of_status
from dynasor.engines.sse import DONE, EventLines
from dynasor.engines.wire import NotTheProtocol, beginning

__all__ = ["Link", "bearer"]

KEEPALIVE_SECONDS = 2.0
# After `[DONE]` the end of the body is at hand; a server that holds it back loses the connection.
DRAIN_SECONDS = 0.1

# A megabyte is a long answer; what is larger than these is none.
LARGEST_ANSWER = 64 * 2**20
LARGEST_ERROR = 64 * 2**10

# How servers say that there is nothing at a path.
MISSING = frozenset({404, 405})
BESIDE = "/../"


def bearer(api_key: str | None) -> dict[str, str]:
    """Return the header that carries a key, none without one; space around a key is no part of it.

    Raises `ConfigError` for a key that no header can carry.
    """
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            "the API key for the engine has characters that no header can carry (a line break, or "
            "letters beyond ASCII); give the key alone"
        )
    return {"Authorization": f"Bearer {key}"} if key else {}


@dataclass(slots=True)
class Link:
    """Requests to one server; every failure comes out as an `EngineError` that names `address`.

    `root` is the URL that ends in `/v1`; `seconds_limit` bounds silence, not the whole answer;
    `headers` go with every request.
    """

    address: str
    root: str
    seconds_limit: float
    connect_seconds: float
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    _session: aiohttp.ClientSession | None = field(default=None, repr=False)
    # One for each request under way: `close` lets them run out, or they would wait for an answer
    # on a connection that is gone.
    _scopes: set[asyncio.Timeout] = field(default_factory=set, repr=False)
    _as_it_comes: dict[str, Any] = field(default_factory=dict, repr=False)

    async def open(self) -> None:
        """Make a session, instead of the one there was; nothing is sent yet."""
        await self.close()
        timeout = aiohttp.ClientTimeout(
            total=None,
            connect=self.connect_seconds,
            sock_connect=self.connect_seconds,
            sock_read=self.seconds_limit,
        )
        patient = aiohttp.ClientTimeout(
            total=None, connect=self.connect_seconds, sock_connect=self.connect_seconds
        )
        self._as_it_comes = {"timeout": patient, "auto_decompress": False}
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def close(self) -> None:
        """Drop every connection and fail what runs on them; safe to call twice."""
        session, self._session = self._session, None
        scopes, self._scopes = self._scopes, set()
        for scope in scopes:
            scope.reschedule(0.0)
        if session is not None:
            await session.close()

    async def get(self, path: str) -> bytes | None:
        """Fetch a document; None where the server has none there.

        `path` begins with a slash; it lies below the root, or beside it where it begins with
        `/../`, here and in all other requests.
        """
        try:
            async with self._request("GET", path, None) as response:
                if response.status in MISSING:
                    return None
                return await self._read(response)
        except FOREIGN as exc:
            raise self._translated(exc) from exc

    async def offers(self, path: str) -> bool:
        """Say whether there is something at a path, whatever method it takes."""
        return await self.status(path) != HTTPStatus.NOT_FOUND

    async def status(self, path: str) -> int:
        """Return the HTTP status of what is at a path."""
        try:
            async with self._request("GET", path, None) as response:
                return response.status
        except FOREIGN as exc:
            raise self._translated(exc) from exc

    async def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Send a JSON body and return the whole answer."""
        try:
            async with self._request("POST", path, msgspec.json.encode(body)) as response:
                return await self._read(response)
        except FOREIGN as exc:
            raise self._translated(exc) from exc

    @contextlib.asynccontextmanager
    async def answer(
        self, path: str, data: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a JSON text and give the answer as it begins, whatever its status.

        Its bytes are those that the server sent. Silence is no failure here: a request that is
        not streamed is silent while its answer is generated.
        """
        try:
            # aiohttp would ask for gzip, which the client may not know and we could not count in.
            plain = {"Accept-Encoding": "identity", **headers}
            async with self._request("POST", path, data, plain, **self._as_it_comes) as response:
                yield response
        except FOREIGN as exc:
            raise self._translated(exc) from exc

    async def events(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Send a JSON body and yield the events of its answer, `[DONE]` included.

        To stop early, close the iterator or cancel the task: that closes the connection, which is
        how servers learn that nobody wants the rest.
        """
        try:
            data = msgspec.json.encode(body)
            async with self._request("POST", path, data, headers) as response:
                await self._check(response)
                async for payload in _payloads(self._pieces(response)):
                    yield payload
                    if payload == DONE:
                        await _drain(response)
                        return
        except FOREIGN as exc:
            raise self._translated(exc) from exc

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        data: bytes | None,
        more: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise EngineUnreachable(self.address, "it was not started, or was closed")
        headers = {**more, **self.headers} if more else dict(self.headers)
        if data is not None:
            headers["Content-Type"] = "application/json"
        async with asyncio.timeout(None) as scope:
            self._scopes.add(scope)
            try:
                response = await self._session.request(
                    method,
                    self._url(path),
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                    **options,
                )
                with contextlib.closing(response):
                    yield response
            finally:
                self._scopes.discard(scope)

    def _url(self, path: str) -> str:
        if path.startswith(BESIDE):
            return self.root.removesuffix("/v1") + path.removeprefix(BESIDE[:-1])
        return self.root + path

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        await self._check(response)
        body = bytearray()
        async for data in self._pieces(response):
            body += data
            if len(body) > LARGEST_ANSWER:
                raise NotTheProtocol(f"an answer of more than {LARGEST_ANSWER:,} bytes")
        return bytes(body)

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield an answer's bytes as they come.

        Each has `seconds_limit` here too: aiohttp's own limit does not end the wait for a body
        whose chunks cannot be read (3.14).
        """
        while True:
            async with asyncio.timeout(self.seconds_limit):
                data = await response.content.readany()
            if not data:
                return
            yield data

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            body = await response.content.read(LARGEST_ERROR)
            raise of_status(self.address, response.status, body, response.headers)
        if response.content_type == "text/html":
            raise NotTheProtocol("an HTML page; is this the engine's address?")

    def _translated(self, exc: BaseException) -> Exception:
        if self._session is None:
            return EngineUnreachable(self.address, "it was closed")
        return of_exception(self.address, exc, self.seconds_limit)


async def _payloads(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    lines = EventLines()
    first = b""
    has_events = False
    async for data in pieces:
        first = first or data
        for payload in lines.feed(data):
            has_events = True
            yield payload
    for payload in lines.last():
        has_events = True
        yield payload
    if first and not has_events:
        raise NotTheProtocol(f"expected a stream of events, got {beginning(first)}")


async def _drain(response: aiohttp.ClientResponse) -> None:
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await response.content.readany()
