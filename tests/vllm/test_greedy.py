"""llama.cpp, vLLM and transformers write the same greedy text with the embedded model."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from dynasor.core.types import Generate, Generated, Message, Prompt, Sampling
from dynasor.datasets import heldout
from dynasor.engines.dialects import chat_body, dialect_named
from dynasor.engines.http import HttpEngine
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.engines.protocol import Engine, Meter

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(360)]

SCRIPT = Path(__file__).with_name("transformers_greedy.py")


def works() -> list[Generate]:
    """Eight problems solved, eight thought through, and eight probes within a solution."""
    found = []
    for problem in heldout(8):
        user = Message("user", problem.question)
        first_line = problem.solution.split("\n")[0] + "\n"
        for mode, prefix, longest in (
            ("<|solve|>", "", 100),
            ("<|think|>", "", 400),
            ("<|think|>", f"{first_line}</think>\nThe answer is \\boxed{{", 8),
        ):
            prompt = Prompt((Message("system", mode), user), prefix)
            found.append(Generate(prompt, Sampling(longest, temperature=0.0)))
    return found


async def texts(engine: Engine) -> list[str]:
    """Generate one at a time: in a batch, sums are rounded in another order."""
    await engine.start()
    try:
        done: list[Generated] = [await engine.generate(work, Meter()) for work in works()]
    finally:
        await engine.close()
    return [one.text for one in done]


@pytest.fixture(scope="module")
def reference(model, python) -> list[str]:
    """What transformers writes."""
    bodies = [chat_body(dialect_named("vllm"), "tiny", work) for work in works()]
    ran = subprocess.run(
        [python, SCRIPT, model],
        input=json.dumps(bodies),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found: list[str] = json.loads(ran.stdout)
    return found


def test_reference_says_something(reference):
    """The texts that are compared are whole answers: they could differ."""
    assert all("\\boxed{" in text for text in reference[0::3] + reference[1::3])
    assert len(set(reference[2::3])) > 1


def test_llama_cpp_is_transformers(reference):
    """llama.cpp, fed by its own tokenizer and template engine, writes what transformers writes."""
    assert asyncio.run(texts(LlamaCppEngine(slots=1, threads=1))) == reference


def test_vllm_is_transformers(reference, server):
    """So does vLLM."""
    assert asyncio.run(texts(HttpEngine(server.url))) == reference
