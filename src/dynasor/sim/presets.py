"""Engines to start from: GPUs that serve Llama-3.1-8B in bf16, from public figures alone.

A step's time follows from what the hardware must do at least, divided by how much of it engines
reach: all weights are read once a step, each token of context once a sequence, and a token costs
two floating-point operations a parameter, whether of a prompt or decoded. The shares reached come
from published measurements; docs/engine-model.md names them all, and says how far the presets
are from others.
"""

from __future__ import annotations

from math import ceil
from typing import Literal

from msgspec import Struct

from dynasor.core.errors import ConfigError, UnknownName
from dynasor.sim.batching import EngineModel
from dynasor.sim.step_time import StepTime

__all__ = ["Gpu", "MemoryRule", "Preset", "Transformer", "preset", "presets"]

GIB = 2**30

# Read and computed per peak. Weights: 75 tokens a second of one vLLM stream on an A100 with
# 1555 GB/s. Context and arithmetic: least squares on TensorRT-LLM's table of saturated fp16
# throughput, nine mixes of lengths for each GPU; the share of context came out the same on both.
WEIGHTS_SHARE = 0.77
CONTEXT_SHARE = 0.90

# What vLLM takes for itself of the memory it may use (its pull request 10511, Llama 3 8B on a
# card of 80 GB): the peak of activations, and what the driver and libraries hold.
ACTIVATIONS_GIB = 1.26
LIBRARIES_GIB = 1.79

MemoryRule = Literal["vllm", "sglang"]
"""What a share of memory is a share for: see `Preset.blocks`."""


class Transformer(Struct, frozen=True):
    """A decoder-only model with grouped-query attention, `value_bytes` a weight and a KV value."""

    name: str
    parameters: float
    layers: int
    kv_heads: int
    head_size: int
    value_bytes: int = 2

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights."""
        return self.parameters * self.value_bytes

    @property
    def kv_token_bytes(self) -> int:
        """Bytes that one token takes in the KV cache: a key and a value a layer and head."""
        return 2 * self.layers * self.kv_heads * self.head_size * self.value_bytes


class Gpu(Struct, frozen=True):
    """A GPU: its memory, bytes a second of it, and dense bf16 operations a second.

    `memory_gib` is what the driver reports, a little under the 80 GiB of the name;
    `compute_share` the part of `operations` that engines reach in large batches.
    """

    name: str
    memory_gib: float
    bytes_per_second: float
    operations: float
    compute_share: float


class Preset(Struct, frozen=True):
    """A GPU that serves a model; `max_running` and `token_budget` are its server's defaults."""

    gpu: Gpu
    transformer: Transformer
    max_running: int
    token_budget: int

    @property
    def step(self) -> StepTime:
        """The seconds of a step."""
        gpu, transformer = self.gpu, self.transformer
        token = 2 * transformer.parameters / (gpu.operations * gpu.compute_share)
        return StepTime(
            base=transformer.weight_bytes / (gpu.bytes_per_second * WEIGHTS_SHARE),
            per_prefill_token=token,
            per_sequence=token,
            per_kv_token=transformer.kv_token_bytes / (gpu.bytes_per_second * CONTEXT_SHARE),
        )

    def blocks(
        self, utilisation: float = 0.9, rule: MemoryRule = "vllm", block_tokens: int = 16
    ) -> int:
        """Return the blocks of KV cache that a share of the memory leaves, 0 < share <= 1.

        `vllm`: the share is for everything (its `gpu_memory_utilization`), so that activations and
        libraries go off; `sglang`: for weights and KV alone (its `mem_fraction_static`), the rest
        of the memory is theirs. Raises `ConfigError` where not one block is left.
        """
        if not 0 < utilisation <= 1:
            raise ConfigError(f"utilisation is {utilisation}; it must lie above 0, up to 1")
        given = self.gpu.memory_gib * utilisation
        taken = self.transformer.weight_bytes / GIB
        taken += ACTIVATIONS_GIB + LIBRARIES_GIB if rule == "vllm" else 0.0
        block_bytes = self.transformer.kv_token_bytes * block_tokens
        blocks = int((given - taken) * GIB // block_bytes)
        if blocks < 1:
            least = ceil(1000 * (taken + block_bytes / GIB) / self.gpu.memory_gib) / 1000
            raise ConfigError(
                f"{utilisation:.0%} of {self.gpu.memory_gib:g} GiB leaves no KV cache beside "
                f"{taken:.1f} GiB of weights and what else the {rule} rule counts; "
                f"give {least:.1%} or more"
            )
        return blocks

    def model(
        self, utilisation: float = 0.9, rule: MemoryRule = "vllm", block_tokens: int = 16
    ) -> EngineModel:
        """Return the engine to model, with the memory of `blocks`; raises as that does."""
        return EngineModel(
            step=self.step,
            kv_blocks=self.blocks(utilisation, rule, block_tokens),
            block_tokens=block_tokens,
            max_running=self.max_running,
            token_budget=self.token_budget,
        )


def presets() -> dict[str, Preset]:
    """Return every preset by name.

    The limits are those of `vllm serve` for the GPU (0.9 and later): 256 sequences and 2048 tokens
    a step on an A100, 1024 and 8192 on an H100.
    """
    llama = Transformer("Llama-3.1-8B", parameters=8.03e9, layers=32, kv_heads=8, head_size=128)
    a100 = Gpu("A100-SXM-80G", 79.22, 2039e9, 312e12, compute_share=0.80)
    h100 = Gpu("H100-SXM-80G", 79.22, 3350e9, 989e12, compute_share=0.69)
    return {
        "a100-llama3.1-8b": Preset(a100, llama, max_running=256, token_budget=2048),
        "h100-llama3.1-8b": Preset(h100, llama, max_running=1024, token_budget=8192),
    }


def preset(name: str) -> Preset:
    """Return the preset of that name; raises `UnknownName`."""
    known = presets()
    if name not in known:
        raise UnknownName("engine preset", name, known)
    return known[name]
