"""Many programs at once."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc

import pytest
from toys.serving import serving, sums

PROGRAMS, BRANCHES, CONNECTIONS_AT_ONCE = 1_000, 20, 100
KEPT = 100
PER_PROGRAM_BYTES = 64 * 1024
"""What an ended program that is still shown may hold: its twenty calls and twenty votes."""


@pytest.mark.slow
async def test_a_thousand_programs():
    """A thousand programs of twenty branches at once all get their own answers."""
    async with serving(sums(slots=256), cap=BRANCHES, serve={"kept_programs": KEPT}) as served:
        opening = asyncio.Semaphore(CONNECTIONS_AT_ONCE)

        async def ask(number):
            body = {
                "messages": [{"role": "user", "content": f"{number}+1?"}],
                "dynasor": {"algorithm": "self-consistency", "program_id": f"n{number}"},
            }
            async with opening:  # a listening socket's backlog is bounded
                reader, writer = await served.connect(
                    "POST", "/v1/chat/completions", json.dumps(body).encode()
                )
            answer = await reader.read()
            writer.close()
            return json.loads(answer.partition(b"\r\n\r\n")[2])["dynasor"]

        stories = await asyncio.gather(*map(ask, range(PROGRAMS)))
        assert [story["answer"] for story in stories] == [str(n + 1) for n in range(PROGRAMS)]
        assert all(story["knob"] == BRANCHES for story in stories)
        assert len(served.service.registry) == KEPT
        scheduler = served.service.dynasor.machine.driver.scheduler
        assert not scheduler._runs
        assert not served.service._handles


@pytest.mark.slow
async def test_memory_is_bounded():
    """What is served leaves nothing behind but the programs that are kept."""
    async with serving(cap=BRANCHES, serve={"kept_programs": KEPT}) as served:

        async def rounds(count):
            for _ in range(count):
                answer = await served.chat(dynasor={"algorithm": "self-consistency"})
                assert answer.status == 200
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        await rounds(20)
        tracemalloc.start()
        try:
            filled = await rounds(KEPT)
            later = await rounds(KEPT)
        finally:
            tracemalloc.stop()
        assert filled < KEPT * PER_PROGRAM_BYTES
        assert later < filled * 1.5
