from __future__ import annotations

import pytest

from dynasor.core.errors import ConfigError, UnknownName
from dynasor.sim.presets import LIBRARIES_GIB, preset, presets

A100, H100 = preset("a100-llama3.1-8b"), preset("h100-llama3.1-8b")

# TensorRT-LLM 0.15.0, performance overview: not quantised, saturated, output tokens a second.
LENGTHS = (
    (128, 128),
    (128, 2048),
    (128, 4096),
    (500, 2000),
    (1000, 1000),
    (2048, 128),
    (2048, 2048),
    (5000, 500),
    (20000, 2000),
)
A100_TOKENS = (6552.62, 5220.03, 3326.45, 4191.62, 3753.46, 789.56, 2366.86, 816.09, 330.47)
H100_TOKENS = (16116.63, 9894.49, 5758.98, 7953.1, 7721.07, 1972.07, 4370.61, 1802.2, 621.58)


def saturated(one, prompt, completion):
    """Output tokens a second where every sequence finishes and another begins, memory full."""
    gpu, transformer = one.gpu, one.transformer
    taken = transformer.weight_bytes / 2**30 + LIBRARIES_GIB
    tokens = 0.95 * (gpu.memory_gib - taken) * 2**30 / transformer.kv_token_bytes
    sequences = min(2048, int(tokens / (prompt + completion)))
    prefill = round(sequences * prompt / completion)
    kv_tokens = round(sequences * (prompt + completion / 2))
    return sequences / one.step.of(prefill, sequences, kv_tokens)


@pytest.mark.parametrize(("one", "measured"), [(A100, A100_TOKENS), (H100, H100_TOKENS)])
def test_saturated_throughput(one, measured):
    """Each preset is within a seventh of every published throughput, and 5 % off in the mean."""
    ratios = [
        saturated(one, *lengths) / tokens for lengths, tokens in zip(LENGTHS, measured, strict=True)
    ]
    assert all(6 / 7 < ratio < 7 / 6 for ratio in ratios), ratios
    assert sum(abs(ratio - 1) for ratio in ratios) / len(ratios) < 0.05


def test_one_stream():
    """One stream on an H100 takes what vLLM was measured to take: 6.48 ms a token."""
    assert H100.step.of(0, 1, 500) == pytest.approx(6.48e-3, rel=0.05)


@pytest.mark.parametrize("one", presets().values(), ids=presets())
def test_memory_at_ninety_percent(one):
    """At vLLM's default share the KV cache is the 53.29 GiB that vLLM reported."""
    assert one.blocks() * 16 * 131072 / 2**30 == pytest.approx(53.29, abs=0.01)


def test_memory_at_twenty_percent():
    """A fifth of the memory, SGLang's way, leaves about one GiB: a few prompts."""
    tokens = A100.blocks(0.2, "sglang") * 16
    assert tokens * 131072 / 2**30 == pytest.approx(0.88, abs=0.01)


def test_memory_rises():
    """Every share from 20 to 90 percent can be had, and more leaves more."""
    blocks = [A100.blocks(tenths / 10, "sglang") for tenths in range(2, 10)]
    assert blocks == sorted(set(blocks))


def test_no_memory():
    """A share that leaves nothing is refused with the least that would do, which does."""
    with pytest.raises(ConfigError, match=r"20% of 79.22 GiB leaves no KV cache .* 22.8% or more"):
        A100.blocks(0.2)
    assert A100.blocks(0.228) >= 1


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_no_share(share):
    """What is no share of the memory is refused."""
    with pytest.raises(ConfigError, match="utilisation"):
        A100.blocks(share)


def test_model():
    """The engine has the preset's step time and limits, and the memory of its blocks."""
    model = A100.model(0.5, "sglang", block_tokens=32)
    assert model.step == A100.step
    assert (model.max_running, model.token_budget) == (256, 2048)
    assert (model.kv_blocks, model.block_tokens) == (A100.blocks(0.5, "sglang", 32), 32)


def test_unknown():
    """A preset that is not there is refused with those that are."""
    with pytest.raises(UnknownName, match=r"a100-llama3\.1-8b"):
        preset("a100")
