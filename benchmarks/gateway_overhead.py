"""What the gateway adds to a request that passes through, and how many a second it can carry.

    scripts/bench gateway_overhead [--awake] [--litellm VENV] [--json FILE]

A stub engine in a process of its own answers after 200 ms. An open loop (Poisson arrivals) asks it
directly and through the gateway, in turns within one run: streamed requests are timed to their
first event too. Then a closed loop asks as fast as it can. `--litellm` names a virtual environment
with `litellm[proxy]`; without it, its proxy is not measured. Every turn begins when all servers are
idle: a proxy that could not keep up goes on working after its last answer.

A virtual machine's core sleeps between requests, and a request through a proxy wakes one several
times. `--awake` keeps all cores awake by loops that run only where nothing else wants to (Linux'
SCHED_IDLE): the work alone is measured then, as on a server that has some.

Latencies hold for a machine that does nothing else; processor milliseconds a request say most of
what there is to say on one that does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import aiohttp

from _script import arguments, finish
from dynasor.cli.serving_process import Broken, bind, run
from dynasor.config import Serving, load_settings
from dynasor.gateway.app import make_app

HERE = Path(__file__).parent
ANSWER_SECONDS = 0.2
MODEL = "stub"
KEY = "sk-none"
"""What a client sends; only LiteLLM's proxy looks at it."""
SLOTS = 4096
"""No queue: what is measured is the way through."""
START_SECONDS = 90.0
IDLE_SECONDS, IDLE_SHARE = 60.0, 0.05
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """One way to the stub: its URL, and the process whose work counts."""

    name: str
    url: str
    process: subprocess.Popen[str]

    def processor_seconds(self) -> float:
        """Return what its process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process until the block ends."""
    env = {**os.environ, **environment}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def port_of(process: subprocess.Popen[str]) -> int:
    """Return the port that a process prints first."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def wait_for(url: str) -> None:
    """Wait until a URL answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"{url} did not answer within {START_SECONDS:.0f} s")


@contextmanager
def awake() -> Iterator[None]:
    """Keep every core busy with what gives way to everything else."""
    loop = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            stack.enter_context(running(sys.executable, "-c", loop))
        yield


def serve(engine: str) -> None:
    """Be the gateway before an engine: prints its port once it listens."""
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    settings = load_settings(engine=[engine], slots=SLOTS, serve=Serving(log="none"))
    run(make_app(settings), listening, 1.0, lambda: print(port, flush=True))


@contextmanager
def litellm_before(engine: str, venv: Path, folder: Path) -> Iterator[Server]:
    """Run LiteLLM's proxy, one worker, before an engine."""
    served = {"model": f"openai/{MODEL}", "api_base": f"{engine}/v1", "api_key": "none"}
    config = folder / "litellm.json"  # JSON is YAML
    config.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": served}]}))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    options = ("--config", str(config), "--host", "127.0.0.1", "--port", port)
    # It refuses to start without a key, and fetches a list of prices unless it is told not to.
    given = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = str(venv / "bin" / "litellm")
    with running(command, *options, LITELLM_LOG="ERROR", **given) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health/liveliness")
        yield Server("litellm", url, process)


@dataclass(frozen=True)
class Timed:
    """Seconds of one request, from when it was due: to its first bytes, and to its end."""

    first: float
    end: float


class Client:
    """Asks one server."""

    def __init__(self, session: aiohttp.ClientSession, server: Server, *, is_stream: bool) -> None:
        asked = {"role": "user", "content": "How many apples does Tom have now? " * 10}
        body = {"model": MODEL, "messages": [asked], "stream": is_stream}
        self.data = json.dumps(body).encode()
        self.url = f"{server.url}/v1/chat/completions"
        self.session = session
        self.failures = 0

    async def ask(self, due: float) -> Timed | None:
        """Ask once; None is a failure."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        try:
            async with self.session.post(self.url, data=self.data, headers=headers) as response:
                first = 0.0
                async for _ in response.content.iter_any():
                    first = first or time.perf_counter()
                if response.status == 200:
                    return Timed(first - due, time.perf_counter() - due)
        except aiohttp.ClientError:
            pass
        self.failures += 1
        return None


async def open_loop(client: Client, due_at: list[float]) -> list[Timed]:
    """Ask at these seconds from now, whatever has been answered."""
    start = time.perf_counter()
    tasks = []
    for offset in due_at:
        await asyncio.sleep(max(0.0, start + offset - time.perf_counter()))
        tasks.append(asyncio.create_task(client.ask(start + offset)))
    return [timed for timed in await asyncio.gather(*tasks) if timed is not None]


async def closed_loop(client: Client, workers: int, seconds: float) -> float:
    """Ask without a pause with so many workers; return the answers a second."""
    done, start = 0, time.perf_counter()

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < start + seconds:
            timed = await client.ask(time.perf_counter())
            done += timed is not None

    await asyncio.gather(*(work() for _ in range(workers)))
    return done / (time.perf_counter() - start)


async def idle(servers: list[Server]) -> None:
    """Wait until no server uses more than a twentieth of a core, at most for a minute."""
    until = time.perf_counter() + IDLE_SECONDS
    while time.perf_counter() < until:
        before = sum(server.processor_seconds() for server in servers)
        await asyncio.sleep(1.0)
        if sum(server.processor_seconds() for server in servers) - before <= IDLE_SHARE:
            return


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile in milliseconds."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"median": 1e3 * statistics.median(ordered), "p99": 1e3 * high}


async def overhead(
    session: aiohttp.ClientSession, servers: list[Server], options: Any, *, is_stream: bool
) -> dict[str, Any]:
    """Ask all servers in turns, forwards and backwards, each at the same offsets."""
    drawn = random.Random(options.seed)
    clients = {one.name: Client(session, one, is_stream=is_stream) for one in servers}
    found: dict[str, list[Timed]] = {one.name: [] for one in servers}
    used = dict.fromkeys(found, 0.0)
    for turn in range(options.turns):
        offsets, at = [], 0.0
        while at < options.seconds:
            offsets.append(at)
            at += drawn.expovariate(options.rate)
        for server in servers if turn % 2 == 0 else servers[::-1]:
            await idle(servers)
            before = server.processor_seconds()
            timed = await open_loop(clients[server.name], offsets)
            used[server.name] += server.processor_seconds() - before
            found[server.name] += timed
    return {name: _told(found[name], used[name], clients[name].failures) for name in found}


def _told(timed: list[Timed], used: float, failures: int) -> dict[str, Any]:
    return {
        "requests": len(timed),
        "failures": failures,
        "first_ms": spread([one.first for one in timed]),
        "end_ms": spread([one.end for one in timed]),
        "processor_ms": 1e3 * used / max(1, len(timed)),
    }


def added(told: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what a server adds to the direct way."""
    return {
        kind: {
            place: told[name][kind][place] - told["direct"][kind][place]
            for place in ("median", "p99")
        }
        for kind in ("first_ms", "end_ms")
    }


async def saturation(
    session: aiohttp.ClientSession, servers: list[Server], options: Any
) -> dict[str, Any]:
    """Ask each server as fast as it answers, several times in turn; the best counts."""
    found: dict[str, Any] = {}
    for _ in range(options.repeats):
        for server in servers:
            await idle(servers)
            client, before = Client(session, server, is_stream=False), server.processor_seconds()
            rate = await closed_loop(client, options.workers, options.seconds)
            used = (server.processor_seconds() - before) / options.seconds
            told = {"requests_a_second": rate, "cores": used, "failures": client.failures}
            if rate > found.get(server.name, {"requests_a_second": 0.0})["requests_a_second"]:
                found[server.name] = told
    return found


async def measure(servers: list[Server], options: Any) -> dict[str, Any]:
    """Measure all."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        for server in servers:  # connections, caches, first imports
            await closed_loop(Client(session, server, is_stream=False), 8, 0.5)
        found: dict[str, Any] = {}
        for kind, is_stream in (("whole", False), ("stream", True)):
            told = await overhead(session, servers, options, is_stream=is_stream)
            others = [server.name for server in servers if server.name != "direct"]
            found[kind] = {**told, "added": {name: added(told, name) for name in others}}
        found["saturation"] = await saturation(session, servers, options)
    return found


def show(found: dict[str, Any]) -> None:
    """Print what was added, and what could be carried."""
    for kind in ("whole", "stream"):
        for name, more in found[kind]["added"].items():
            told = found[kind][name]
            print(
                f"{kind:<7}{name:<9} adds {more['end_ms']['median']:6.2f} ms at the median, "
                f"{more['end_ms']['p99']:7.2f} ms at the 99th percentile "
                f"(first bytes {more['first_ms']['median']:6.2f} ms); "
                f"{told['processor_ms']:.2f} ms of processor a request, {told['failures']} failures"
            )
    for name, told in found["saturation"].items():
        print(f"{name:<16} carries {told['requests_a_second']:7.0f} requests a second")
    print(found["litellm"])


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = arguments((__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--litellm", type=Path, help="virtual environment with litellm[proxy]")
    parser.add_argument("--awake", action="store_true", help="keep the machine's cores awake")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one turn")
    parser.add_argument("--turns", type=int, default=6, help="turns of each open loop")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each closed loop")
    parser.add_argument("--workers", type=int, default=512, help="of the closed loop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    options = parse()
    if options.serve:
        with contextlib.suppress(Broken):
            serve(options.serve)
        return
    python = sys.executable
    with ExitStack() as stack:
        if options.awake:
            stack.enter_context(awake())
        folder = Path(stack.enter_context(TemporaryDirectory()))
        stub = running(python, str(HERE / "_stub_engine.py"), "--seconds", str(ANSWER_SECONDS))
        engine = stack.enter_context(stub)
        direct = f"http://127.0.0.1:{port_of(engine)}"
        gateway = stack.enter_context(running(python, __file__, "--serve", direct))
        ours = f"http://127.0.0.1:{port_of(gateway)}"
        wait_for(f"{direct}/health")
        wait_for(f"{ours}/ready")
        servers = [Server("direct", direct, engine), Server("dynasor", ours, gateway)]
        litellm = "LiteLLM's proxy was not measured: name an environment with --litellm"
        if options.litellm:
            servers.append(stack.enter_context(litellm_before(direct, options.litellm, folder)))
            litellm = "LiteLLM's proxy was measured with one worker, as the gateway was"
        found = asyncio.run(measure(servers, options))
    shown = ("awake", "rate", "seconds", "turns", "repeats", "workers", "seed")
    chosen = {name: getattr(options, name) for name in shown}
    finish(options, {**found, "litellm": litellm, "options": chosen}, show)


if __name__ == "__main__":
    main()
