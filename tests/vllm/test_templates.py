"""vLLM shows how it renders messages, so that a half-finished thought can be continued."""

import pytest

from dynasor.core.types import Generate, Message, Prompt, Sampling
from dynasor.datasets import heldout
from dynasor.engines.http import HttpEngine
from dynasor.engines.protocol import Meter

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(360)]


async def test_goes_on_exactly(server):
    """A thought cut in half goes on as it would have, behind vLLM's own rendering."""
    question = heldout(2)[1].question
    messages = (Message("system", "<|think|>"), Message("user", question))
    engine = HttpEngine(server.url)
    await engine.start()
    try:
        cold = Sampling(400, temperature=0.0)
        whole = await engine.generate(Generate(Prompt(messages), cold), Meter())
        lines = whole.text.splitlines(keepends=True)
        half = "".join(lines[: len(lines) // 2])
        asked = Generate(Prompt(messages, half), cold)
        rendered = await engine._rendered(asked)
        rest = await engine.generate(asked, Meter())
    finally:
        await engine.close()
    assert rendered == f"<|think|>{question}\n{half}"
    assert half + rest.text == whole.text
