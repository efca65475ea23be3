from __future__ import annotations

from pathlib import Path

import pytest

from dynasor.calibrate.cache_size import CacheSize, cache_size, read_cache_size
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.engines.protocol import Description
from dynasor.engines.scripted import ScriptedEngine

VLLM = (
    "# TYPE vllm:cache_config_info gauge\n"
    'vllm:cache_config_info{block_size="32",mamba_block_size="8",engine="0",num_gpu_blocks="573"} 1'
)
SGLANG = (
    "# TYPE sglang:max_total_num_tokens gauge\n"
    'sglang:max_total_num_tokens{model_name="m",tp_rank="0"} 471258.0\n'
)
SAYS = Description("m", 4, 100, frozenset({"generate"}))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (VLLM, CacheSize(573 * 32, 32)),
        (SGLANG, CacheSize(471258)),
        ("sglang:max_total_num_tokens 4096", CacheSize(4096)),
        (VLLM.replace('"573"', '"None"'), None),
        (VLLM.replace('"573"', '"0"'), None),
        ("sglang:max_total_num_tokens{} NaN", None),
        ("sglang:max_total_num_tokens{} +Inf", None),
        ("sglang:max_total_num_tokens{} 0", None),
        ("", None),
    ],
)
def test_metrics(text, size):
    """The cache's size is read where vLLM and SGLang say it, and nothing is made of the rest."""
    assert read_cache_size(f"before 1\n{text}\nafter 2\n") == size


async def test_in_this_process():
    """An embedded engine's cache is the contexts of all its places."""
    assert await cache_size(LlamaCppEngine(Path("a.gguf"), slots=4), SAYS) == CacheSize(400)
    assert await cache_size(LlamaCppEngine(slots=4), SAYS) == CacheSize(800)


async def test_of_a_stranger():
    """An engine that has no metrics does not say."""
    assert await cache_size(ScriptedEngine({}), SAYS) is None
