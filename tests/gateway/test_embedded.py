"""The whole path with a real model: gateway, scheduler, llama.cpp."""

from __future__ import annotations

import pytest
from toys.serving import serving

pytestmark = [pytest.mark.engine, pytest.mark.slow]

QUESTION = "A shop has 12 boxes. It gets 7 more. How many boxes are there now?"
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": QUESTION}]}
SETTINGS = {"policy": None, "lock": None, "cap": None, "slots": 8}


THINKING = {
    "algorithm": "chain-of-thought",
    "params": {"mode": "<|think|>", "chunked": True, "max_tokens": 400},
}


async def test_with_a_model():
    """The official client gets answers of a vote, of a search with the judge, and of thoughts."""
    async with serving("embedded", threads=1, **SETTINGS) as served, served.client() as client:
        create = client.chat.completions.create
        for name, cap in (("self-consistency", 8), ("rebase", 4)):
            extra = {"dynasor": {"algorithm": name, "cap": cap}}
            completion = await create(**ASKED, extra_body=extra)
            story = completion.model_extra["dynasor"]
            assert story["answer"] == "19"
            assert completion.usage.completion_tokens > 0
        shown = (await served.get(f"/v1/programs/{story['program_id']}")).json
        assert any(node["reward"] is not None for node in shown["tree"])
        assert {call["kind"] for call in shown["calls"]} == {"generate", "score"}

        stream = await create(**ASKED, stream=True, extra_body={"dynasor": THINKING})
        deltas, last = [], None
        async for chunk in stream:
            deltas.append(chunk.choices[0].delta)
            last = chunk
        assert len([one for one in deltas if getattr(one, "reasoning", None)]) > 1
        assert last.model_extra["dynasor"]["answer"] == "19"
        assert "19" in "".join(one.content or "" for one in deltas)

        plain = await create(**ASKED, max_tokens=64)
        assert plain.choices[0].message.content
