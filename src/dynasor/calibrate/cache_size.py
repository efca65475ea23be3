"""What an engine's KV cache holds, where the engine says so.

vLLM and SGLang say it among their metrics (`vllm:cache_config_info`, `sglang:max_total_num_tokens`;
the latter only with `--enable-metrics`); of an engine in this process it is known.
"""

from __future__ import annotations

import re
from contextlib import suppress

from msgspec import Struct

from dynasor.core.errors import EngineError
from dynasor.engines.faults import api_root
from dynasor.engines.http import HttpEngine
from dynasor.engines.link import Link, bearer
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.engines.protocol import Description, Engine

__all__ = ["CacheSize", "cache_size", "read_cache_size"]

LIMIT_SECONDS = 5.0
BLOCK_TOKENS = 16
VLLM = re.compile(r"^vllm:cache_config_info\{(?P<labels>[^}]*)\}", re.MULTILINE)
LABEL = r'(?<!\w){}="(\d+)"'
SGLANG = re.compile(r"^sglang:max_total_num_tokens(?:\{[^}]*\})?\s+(?P<tokens>\S+)", re.MULTILINE)


class CacheSize(Struct, frozen=True):
    """How many tokens a KV cache holds, in blocks of how many."""

    tokens: int
    block_tokens: int = BLOCK_TOKENS


async def cache_size(engine: Engine, description: Description) -> CacheSize | None:
    """Ask a started engine what its KV cache holds; None where it does not say."""
    if isinstance(engine, LlamaCppEngine) and description.context_tokens is not None:
        return CacheSize(engine.places * description.context_tokens)
    if not isinstance(engine, HttpEngine):
        return None
    headers = bearer(engine.api_key)
    link = Link(engine.address, api_root(engine.url), LIMIT_SECONDS, LIMIT_SECONDS, headers)
    await link.open()
    try:
        with suppress(EngineError):  # metrics are a courtesy
            found = await link.get("/../metrics")
            return None if found is None else read_cache_size(found.decode("utf-8", "replace"))
    finally:
        await link.close()
    return None


def read_cache_size(metrics: str) -> CacheSize | None:
    """Read it from a server's metrics (Prometheus' text format): of its first engine."""
    if (found := VLLM.search(metrics)) is not None:
        blocks = re.search(LABEL.format("num_gpu_blocks"), found["labels"])
        size = re.search(LABEL.format("block_size"), found["labels"])
        if blocks and size and int(blocks[1]) and int(size[1]):
            return CacheSize(int(blocks[1]) * int(size[1]), int(size[1]))
    if (found := SGLANG.search(metrics)) is not None:
        with suppress(ValueError, OverflowError):
            tokens = int(float(found["tokens"]))
            return CacheSize(tokens) if tokens >= BLOCK_TOKENS else None
    return None
