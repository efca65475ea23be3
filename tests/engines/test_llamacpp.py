"""The embedded engine: files that are no models, two engines at once, slots that come free."""

import asyncio
import subprocess
import sys
from importlib.resources import files

import aiohttp
import pytest

from dynasor.core.errors import ConfigError, EngineRefused, EngineUnreachable
from dynasor.core.types import Embed
from dynasor.engines.llamacpp import LlamaCppEngine
from dynasor.engines.protocol import Meter

pytestmark = pytest.mark.timeout(60)

SHIPPED = files("dynasor.engines") / "models" / "tiny.gguf"


@pytest.fixture
async def tiny():
    """The shipped model, started, with two slots."""
    engine = LlamaCppEngine(slots=2, threads=1)
    await engine.start()
    yield engine
    await engine.close()


async def test_missing_file(tmp_path):
    """A file that is not there is a ConfigError that names it."""
    path = tmp_path / "nowhere.gguf"
    with pytest.raises(ConfigError, match=r"nowhere\.gguf"):
        await LlamaCppEngine(path).start()


@pytest.mark.parametrize("content", [b"", b"GGU", b"hello, I am no model"])
async def test_not_gguf(tmp_path, content):
    """A file of another kind never reaches C++: a ConfigError names it."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.gguf.*not a GGUF file"):
        await LlamaCppEngine(path).start()


async def test_directory(tmp_path):
    """A directory is a ConfigError that names it."""
    with pytest.raises(ConfigError, match=tmp_path.name):
        await LlamaCppEngine(tmp_path).start()


async def test_no_xllamacpp(monkeypatch):
    """Without xllamacpp the error says what to install."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigError, match=r"pip install 'dynasor-serve\[local\]'"):
        await LlamaCppEngine().start()


@pytest.mark.parametrize("options", [{"slots": 0}, {"threads": 0}, {"context_tokens": -1}])
def test_bad_numbers(options):
    """Numbers below one are refused by name."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        LlamaCppEngine(**options)


@pytest.mark.engine
async def test_broken_file(tmp_path):
    """A GGUF file that is cut short, or random, is one error that names it, not a crash."""
    for content in (SHIPPED.read_bytes()[:100_000], b"GGUF" + bytes(range(256)) * 40):
        path = tmp_path / "broken.gguf"
        path.write_bytes(content)
        with pytest.raises(EngineUnreachable, match=r"broken\.gguf"):
            await LlamaCppEngine(path).start()


@pytest.mark.engine
async def test_description(tiny):
    """The description names the model by its file, its slots and the context of each."""
    await tiny.close()
    description = await tiny.start()
    assert description.model == "tiny"
    assert description.slots == 2
    assert description.context_tokens == 768


@pytest.mark.engine
async def test_started_twice(tiny):
    """A started engine is not loaded a second time."""
    with pytest.raises(ConfigError, match="already"):
        await tiny.start()


@pytest.mark.engine
async def test_closed_at_once():
    """An engine that is closed as soon as it has started ends, however often that happens."""
    for _ in range(5):
        engine = LlamaCppEngine(slots=2, threads=1)
        await engine.start()
        await engine.close()


@pytest.mark.engine
async def test_two_at_once(tiny, ask):
    """Two engines in one process do not disturb each other."""
    other = LlamaCppEngine(slots=2, threads=1)
    await other.start()
    works = [ask(seed=5), ask(seed=5)]
    first, second = await asyncio.gather(
        tiny.generate(works[0], Meter()), other.generate(works[1], Meter())
    )
    assert first.text == second.text
    await other.close()
    assert (await tiny.generate(works[0], Meter())).text == first.text


@pytest.mark.engine
async def test_silence_and_two_processes(tiny, ask):
    """A second process serves at the same time, and llama.cpp's log shows in neither stream."""
    script = (
        "import asyncio\n"
        "from dynasor.engines.llamacpp import LlamaCppEngine\n"
        "async def main():\n"
        "    engine = LlamaCppEngine(slots=2, threads=1)\n"
        "    await engine.start()\n"
        "    await engine.close()\n"
        "asyncio.run(main())\n"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    generated = await tiny.generate(ask(), Meter())
    out, err = await other.communicate()
    assert (other.returncode, out, err) == (0, b"", b"")
    assert generated.text


@pytest.mark.engine
async def test_abort_frees_the_slot(tiny, ask):
    """A cancelled call's slot is free long before the call would have ended."""
    meter = Meter()
    work = ask(max_tokens=400, prefix="Tom", temperature=3.0)
    task = asyncio.create_task(tiny.generate(work, meter))
    while meter.completion_tokens < 3 and not task.done():
        await asyncio.sleep(0.001)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert 3 <= meter.completion_tokens < 300
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{tiny._http.url}/slots") as response:
                slots = await response.json()
            if not any(slot["is_processing"] for slot in slots):
                break
    decoded = max(slot.get("next_token", [{}])[0].get("n_decoded", 0) for slot in slots)
    assert decoded < 390


@pytest.mark.engine
async def test_close_ends_what_runs(tiny, ask):
    """Closing fails the calls that are under way."""
    meter = Meter()
    work = ask(max_tokens=400, prefix="Tom", temperature=3.0)
    task = asyncio.create_task(tiny.generate(work, meter))
    while not meter.completion_tokens:
        await asyncio.sleep(0.001)
    await tiny.close()
    with pytest.raises(EngineUnreachable, match="embedded"):
        await task


@pytest.mark.engine
async def test_too_long(tiny, ask):
    """A prompt beyond the context is refused with the engine's own words."""
    with pytest.raises(EngineRefused, match="context"):
        await tiny.generate(ask(prefix="apple " * 2000), Meter())


@pytest.mark.engine
async def test_no_embedding(tiny):
    """It embeds nothing, and says so."""
    with pytest.raises(EngineRefused, match="embedded"):
        await tiny.embed(Embed(("a",)), Meter())
