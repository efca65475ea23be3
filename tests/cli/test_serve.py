"""`dynasor serve` as a process: its clients, its signals, its mistakes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from dynasor.cli.serving_process import GRACE_SECONDS
from dynasor.config import load_settings
from dynasor.gateway.keys import new_key

DEPLOY = Path(__file__).parents[2] / "deploy"
live = pytest.mark.slow
ALGORITHM = {"dynasor": {"algorithm": "self-consistency", "cap": 4, "policy": "even"}}
QUESTION = [{"role": "user", "content": "What is 6 * 7?"}]


class Process:
    """One `dynasor serve`; `ready` reads what it says when it takes requests."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dynasor", "serve", "--port", "0", "--log", "none", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = ""

    def ready(self):
        """Wait until it is ready, and return its first line."""
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.url = line.split(" at ")[1].split(",")[0]
        self.process.stdout.readline()
        return line

    def client(self, **given):
        """The official client."""
        options = {"base_url": self.url, "api_key": "none", "max_retries": 0} | given
        return openai.OpenAI(**options)

    def is_closed(self):
        """Whether connections are refused."""
        host, port = self.url.removeprefix("http://").removesuffix("/v1").split(":")
        with socket.socket() as sock:
            return sock.connect_ex((host, int(port))) != 0

    def end(self, number=signal.SIGTERM):
        """Send a signal, and return the exit code, and what was said since `ready`."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def serve(no_settings):
    """Start `dynasor serve` with options; what still runs at the end is killed."""
    started = []

    def start(*options):
        started.append(Process(*options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture
def ask():
    """Ask a question in a thread: a future of the answer."""
    with ThreadPoolExecutor() as pool:

        def start(client, **given):
            return pool.submit(
                client.chat.completions.create, model="toy", messages=QUESTION, **given
            )

        yield start


def halt_after(server, count):
    """Let a server answer so many requests and hang at all others."""

    class Halting(type(server)):
        hangs = property(lambda self: len(self.asked) > count)

    del server.hangs
    server.__class__ = Halting


@live
def test_clients(serve, server):
    """The official client gets programs, and its own requests passed through, until SIGTERM."""
    one = serve("--engine", server.url, "--policy", "even")
    assert one.ready() == f"dynasor: ready at {one.url}, model toy on {server.url}\n"
    with one.client() as client:
        assert [model.id for model in client.models.list()] == ["toy"]
        given = {"model": "toy", "messages": QUESTION}
        answer = client.chat.completions.create(**given, extra_body=ALGORITHM)
        assert answer.choices[0].message.content == server.text
        assert (answer.dynasor["answer"], answer.usage.completion_tokens) == ("42", 15)
        asked = len(server.asked)
        with client.chat.completions.create(**given, stream=True) as stream:
            said = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
        assert said == [server.text, None]
        assert len(server.asked) == asked + 1
    assert one.end() == (0, "", "")


@live
def test_interrupt(serve, server):
    """Ctrl-C ends it like SIGTERM."""
    one = serve("--engine", server.url)
    one.ready()
    assert one.end(signal.SIGINT) == (0, "", "")


@live
def test_best_so_far(serve, server, ask):
    """What has not ended within the draining time is answered with the best so far."""
    halt_after(server, 2)
    one = serve("--engine", server.url, "--drain", "0.2", "--no-lock")
    one.ready()
    with one.client() as client:
        asked = ask(client, extra_body=ALGORITHM)
        assert server.has_come.wait(30)
        program = None
        while not program or program["knob"] < 2:  # until two of its branches are in
            listed = client.get("/programs", cast_to=object)["data"]
            program = next(iter(listed), None)
        assert one.end() == (0, "", "")
        answer = asked.result(30)
    assert (answer.dynasor["status"], answer.dynasor["answer"]) == ("deadline", "42")
    assert answer.dynasor["knob"] == 2


@live
def test_second_signal(serve, server, ask):
    """While it drains, nobody gets in any more; another signal ends it at once."""
    server.hangs = True
    one = serve("--engine", server.url, "--drain", "300")
    one.ready()
    with one.client() as client:
        asked = ask(client, extra_body=ALGORITHM)
        assert server.has_come.wait(30)
        one.process.send_signal(signal.SIGTERM)
        while not one.is_closed():
            assert one.process.poll() is None
        code, out, err = one.end(signal.SIGINT)
        with pytest.raises(openai.APIError):
            asked.result(30)
    assert (code, out) == (130, "")
    assert err == "dynasor: ended at once, with requests under way, by SIGINT\n"


@live
def test_signal_before_it_is_ready(serve):
    """A signal ends it while it waits for its engine, too."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        one = serve("--engine", f"http://127.0.0.1:{mute.getsockname()[1]}")
        with mute.accept()[0]:
            code, out, err = one.end()
    assert (code, out) == (143, "")
    assert err == "dynasor: ended before it was ready, by SIGTERM\n"


@live
def test_keys(serve, server, tmp_path):
    """With --keys only who has one gets in."""
    secret = new_key(tmp_path / "keys", "app")
    one = serve("--engine", server.url, "--keys", str(tmp_path / "keys"))
    one.ready()
    with one.client() as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with one.client(api_key=secret) as client:
        assert [model.id for model in client.models.list()] == ["toy"]


def test_port_in_use(command, server):
    """A port that is taken is one line, exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        code, out, err = command("serve", "--engine", server.url, "--port", str(port))
    assert (code, out) == (1, "")
    assert err == (
        f"dynasor: cannot listen on 127.0.0.1, port {port}: address already in use; choose "
        "another with --port (0 takes a free one)\n"
    )


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--engine", "http://127.0.0.1:9"), 1, "is it running?"),
        (("--reward-engine", "prm"), 2, "reward_engine 'prm' is neither a URL"),
        (("--host", "no.such.host.invalid"), 2, "host 'no.such.host.invalid' cannot be listened"),
        (("--host", "192.0.2.1"), 1, "cannot listen on 192.0.2.1, port 0: cannot assign"),
        (("--policy", "bta"), 2, "unknown policy 'bta'"),
        (("--algorithm", "mtcs"), 2, "'mtcs'"),
        (("--algorithm", "best-of-n", "--policy", "beta"), 2, "needs votes"),
        (("--algorithm", "pass-through"), 2, "unknown algorithm 'pass-through'"),
        (("--shadow", "bta"), 2, "'bta'"),
        (("--shadow", "beta", "--algorithm", "best-of-n"), 2, "needs votes"),
        (("--port", "70000"), 2, "setting 'serve.port' is 70000"),
        (("--keys", "none.jsonl"), 2, "keys file none.jsonl cannot be read"),
        (("--log", "loud"), 2, "setting 'serve.log' is 'loud'"),
        (("--prot", "1"), 2, "--prot"),
    ],
)
def test_mistakes(command, options, code, message):
    """What cannot be served is one line and an exit code, before anything listens."""
    given = ("--port", "0", "--log", "none", *options)
    found, out, err = command("serve", *given)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


@live
@pytest.mark.engine
def test_embedded_engine(serve):
    """Without an engine the embedded model serves, and what is printed to try works."""
    one = serve("--slots", "8")
    first = one.process.stdout.readline()
    one.url = first.split(" at ")[1].split(",")[0]
    assert first.endswith(", model tiny on embedded\n")
    tried = one.process.stdout.readline().removeprefix("try: ")
    assert tried.startswith(f"curl -s {one.url}/chat/completions ")
    question = "A shop has 12 boxes. It gets 7 more. How many boxes are there now?"
    with one.client() as client:
        answer = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": question}], extra_body=ALGORITHM
        )
    assert answer.dynasor["answer"] == "19"
    assert one.end() == (0, "", "")


def test_deployed_files(no_settings):
    """The settings that ship can be read, and the unit waits longer than they drain."""
    settings = load_settings(DEPLOY / "dynasor.toml")
    assert (settings.serve.log, len(settings.engine)) == ("json", 2)
    unit = (DEPLOY / "dynasor.service").read_text()
    waits = int(unit.split("TimeoutStopSec=")[1].split()[0])
    assert waits >= settings.serve.drain_seconds + GRACE_SECONDS
