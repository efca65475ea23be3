"""The command line in this process, and a server that speaks OpenAI's protocol in a thread."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from aiohttp import web

from dynasor.api import dynasor as front_door
from dynasor.cli import main


@pytest.fixture
def command(no_settings, tmp_path, monkeypatch, capsys):
    """Call `dynasor` in an empty folder: the exit code, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*arguments, engine=None):
        if engine is not None:
            monkeypatch.setattr(front_door, "make_engines", lambda settings: [engine])
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        heard = capsys.readouterr()
        return ended.value.code, heard.out, heard.err

    return call


class Server:
    """Answers every question with `text`; `asked` are the bodies, `has_come` says there is one."""

    def __init__(self):
        self.text = "so the answer is \\boxed{42}"
        self.models = web.json_response
        self.asked = []
        self.hangs = False
        self.has_come = threading.Event()
        self.url = ""

    def app(self):
        """The server's routes."""
        app = web.Application(client_max_size=2**24)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    async def _models(self, request):
        return self.models({"object": "list", "data": [{"id": "toy", "owned_by": "vllm"}]})

    async def _chat(self, request):
        self.asked.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.has_come.set()
        if self.hangs:
            await asyncio.Event().wait()
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        for chunk in (
            {"choices": [{"index": 0, "delta": {"content": self.text}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        ):
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
def server():
    """A server on loopback, in a thread of its own."""
    one, loop = Server(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start():
        runner = web.AppRunner(one.app(), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner

    def wait(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    runner = wait(start())
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    wait(runner.cleanup())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
