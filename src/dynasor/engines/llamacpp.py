"""The embedded engine: llama.cpp within this process, by the `xllamacpp` wheels.

It loads a GGUF file, serves it on a free port of the loopback interface, and is spoken to as any
other server. Three choices were measured with 32 calls in flight on 2 cores, a model of 5 million
parameters: one KV buffer a slot (`kv_unified` off) costs a third less processor time a token than
one that all share. As many threads as cores are half as fast again on an idle machine, and at
times a quarter as fast beside other work, since llama.cpp's threads wait for each other by
spinning. Streaming costs a quarter more processor time a token, in llama.cpp itself and wherever
the pieces are read; but only a streamed request stops when its connection closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import KW_ONLY, dataclass, field
from http.client import HTTPConnection, HTTPException
from importlib.resources import as_file, files
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from dynasor.core.errors import ConfigError, EngineUnreachable
from dynasor.core.types import (
    Embed,
    Embedded,
    Generate,
    Generated,
    Relay,
    Relayed,
    Score,
    Scored,
)
from dynasor.engines.http import HttpEngine
from dynasor.engines.judge import PLAIN_JUDGE, Judge
from dynasor.engines.protocol import Description, Load, Meter, OnReport, Sink

__all__ = ["SHIPPED_JUDGE", "LlamaCppEngine"]

MAGIC = b"GGUF"
SHIPPED = "tiny.gguf"
# Its chat template takes the tag for the mode; it was trained to judge whole lines.
SHIPPED_JUDGE = Judge(instruction="<|judge|>", mark="\n")
SILENT = -1
# Beside its places llama.cpp keeps the caches of prompts that had to leave one, 8 GiB of them by
# default: a night's batch would fill that on a laptop, and gain nothing that could be measured.
CACHE_RAM_MIB = 512
# llama.cpp keeps a prompt's cache in the place where it ran, and a call that finds all places but
# one busy overwrites what is there. With twice as many places as calls in flight a search reads
# far fewer prompt tokens anew; many more cost more than they save. The shipped model has the
# memory for it, others may not.
KEPT_PROMPTS = 2
# Beyond one thread a slot: requests that wait for a slot, and questions about the server itself.
SPARE_HTTP_THREADS = 8


@dataclass(eq=False)
class LlamaCppEngine:
    """A GGUF file in this process; `path` None is the model that ships with Dynasor.

    `slots` calls run at once, each with `context_tokens` for its prompt and completion; `threads`
    None leaves one core to the rest of the process; `judge` None is what the shipped model needs
    to judge, and nothing for any other; `chat_template` None is the one in the file. Raises
    `ConfigError` for numbers below 1.
    """

    path: Path | None = None
    _: KW_ONLY
    slots: int = 32
    threads: int | None = None
    context_tokens: int = 768
    seconds_limit: float = 120.0
    judge: Judge | None = None
    chat_template: Path | None = None
    _server: Any = field(default=None, init=False, repr=False)
    _http: HttpEngine | None = field(default=None, init=False, repr=False)
    _held: contextlib.ExitStack = field(
        default_factory=contextlib.ExitStack, init=False, repr=False
    )

    def __post_init__(self) -> None:
        """Check the arguments; nothing is loaded before `start`."""
        numbers = {"slots": self.slots, "context_tokens": self.context_tokens}
        if self.threads is not None:
            numbers["threads"] = self.threads
        for name, value in numbers.items():
            if value < 1:
                raise ConfigError(f"{name} is {value}; expected a number above 0")

    @property
    def address(self) -> str:
        """The file, as it was given; `embedded` for the shipped model."""
        return "embedded" if self.path is None else str(self.path)

    @property
    def places(self) -> int:
        """Prompts whose caches are kept, those of calls in flight among them."""
        return self.slots * (KEPT_PROMPTS if self.path is None else 1)

    async def start(self) -> Description:
        """Load the model, off the event loop.

        Raises `ConfigError` where xllamacpp is not installed or the file is no GGUF file, and
        `EngineUnreachable` where llama.cpp cannot load it.
        """
        if self._http is not None:
            raise ConfigError(f"engine {self.address} was started already; close it first")
        self._server = await asyncio.to_thread(self._load)
        self._http = HttpEngine(
            self._server.listening_address,
            dialect="llama.cpp",
            slots=self.slots,
            seconds_limit=self.seconds_limit,
            judge=self.judge or (SHIPPED_JUDGE if self.path is None else PLAIN_JUDGE),
            known_as=self.address,
            chat_template=self.chat_template,
        )
        try:
            return await self._http.start()
        except BaseException:
            await self.close()
            raise

    async def generate(
        self, work: Generate, meter: Meter, on_report: OnReport | None = None
    ) -> Generated:
        """Generate one completion with the model's own chat template."""
        return await self._started().generate(work, meter, on_report)

    async def score(self, work: Score, meter: Meter) -> Scored:
        """Have the model judge each item by its next token, `+` or `-`."""
        return await self._started().score(work, meter)

    async def embed(self, work: Embed, meter: Meter) -> Embedded:
        """Raise `EngineRefused`: llama.cpp embeds only when it was started to do that alone."""
        return await self._started().embed(work, meter)

    async def relay(self, work: Relay, meter: Meter, sink: Sink) -> Relayed:
        """Pass a client's request on."""
        return await self._started().relay(work, meter, sink)

    async def healthy(self) -> bool:
        """Say whether it would serve a request now."""
        return self._http is not None and await self._http.healthy()

    async def observe(self) -> Load | None:
        """Return how many requests run and wait for a place."""
        return None if self._http is None else await self._http.observe()

    async def close(self) -> None:
        """Stop the server and free the model, off the event loop; safe to call twice."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()
        # The last reference ends in the thread: llama.cpp's destructor joins its own threads.
        box, self._server = [self._server], None
        await asyncio.to_thread(box.clear)
        self._held.close()

    def _started(self) -> HttpEngine:
        if self._http is None:
            raise EngineUnreachable(self.address, "it was not started, or was closed")
        return self._http

    def _load(self) -> Any:
        path = self._file()
        _check_magic(path)
        xllamacpp = _xllamacpp()
        params = self._params(xllamacpp, path)
        try:
            server = xllamacpp.Server(params)
        except RuntimeError as exc:
            raise EngineUnreachable(
                self.address,
                f"llama.cpp cannot load {path}: a broken file, an architecture it does not know, "
                f"or too little memory ({exc})",
            ) from exc
        self._wake(server.listening_address)
        return server

    def _wake(self, url: str) -> None:
        """Wait until the server's own loop has served something.

        A server that is destroyed before its loop has begun never ends: the loop misses the word.
        """
        parts = urlsplit(url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=self.seconds_limit)
        body = msgspec.json.encode({"prompt": "1", "n_predict": 1})
        try:
            connection.request("POST", "/completion", body, {"Content-Type": "application/json"})
            connection.getresponse().read()
        except (OSError, HTTPException) as exc:
            raise EngineUnreachable(
                self.address, f"llama.cpp has loaded the model and does not answer ({exc})"
            ) from exc
        finally:
            connection.close()

    def _file(self) -> Path:
        if self.path is not None:
            return self.path
        shipped = files("dynasor.engines").joinpath("models", SHIPPED)
        return self._held.enter_context(as_file(shipped))

    def _params(self, xllamacpp: ModuleType, path: Path) -> Any:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.model_alias = {path.stem}
        params.n_parallel = self.places
        params.n_ctx = self.places * self.context_tokens
        params.kv_unified = False
        params.cache_ram_mib = CACHE_RAM_MIB
        params.warmup = False
        params.endpoint_metrics = True
        params.verbosity = SILENT
        params.port = 0
        params.n_threads_http = self.slots + SPARE_HTTP_THREADS
        threads = self.threads or max(1, (os.cpu_count() or 1) - 1)
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        return params


def _xllamacpp() -> ModuleType:
    try:
        import xllamacpp  # noqa: PLC0415 - an optional dependency of 100 MB
    except ImportError as exc:
        raise ConfigError(
            "the embedded engine needs xllamacpp: pip install 'dynasor-serve[local]'"
        ) from exc
    return xllamacpp  # type: ignore[no-any-return]


def _check_magic(path: Path) -> None:
    """Refuse what is no GGUF file before C++ sees it."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as exc:
        raise ConfigError(f"model file {path}: {exc.strerror or exc}") from exc
    if magic != MAGIC:
        raise ConfigError(
            f"model file {path}: not a GGUF file (it begins with {magic!r}, expected {MAGIC!r})"
        )
