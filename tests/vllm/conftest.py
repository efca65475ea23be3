"""A real vLLM server on the CPU, serving the embedded model, for the tests of this folder."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time  # noqa: TID251 - another process takes real time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # they start the same server

from _vllm_server import EMBEDDED, PYTHON, ROOT, command, environment

# Seen: 36 s on two busy cores, three times that where no bytecode is cached.
START_SECONDS = 300
# Seen: 3 s.
STOP_SECONDS = 60
# Longer than every test takes together: the server ends even if pytest is killed.
LIFE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Server:
    """One running vLLM server and the log that it writes."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> str | None:
        """Return the body of a page, None where nobody answers yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.read().decode() if response.status == http.HTTPStatus.OK else None
        except OSError:
            return None
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        samples = [
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics") or "")
            for sample in family.samples
            if sample.name == name
        ]
        assert samples, f"vLLM has no metric {name}"
        return sum(samples)

    def tail(self) -> str:
        """Return the end of the log, for a report."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-80:])

    def wait_until_up(self) -> None:
        for _ in range(START_SECONDS):
            if self.get("/health") is not None:
                return
            try:
                status = self.process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail(f"vLLM ended with status {status}; its log:\n{self.tail()}")
        pytest.fail(f"vLLM is not up after {START_SECONDS} s; its log:\n{self.tail()}")

    def stop(self) -> None:
        """End the server with everything that it started; fail if something had to be killed."""
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            pytest.fail(f"vLLM did not stop within {STOP_SECONDS} s; its log:\n{self.tail()}")
        # Its helpers end a moment after it; on a busy machine that is seconds.
        until = time.monotonic() + STOP_SECONDS
        while (left := processes_of(self.process.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        if left:
            os.killpg(self.process.pid, signal.SIGKILL)
            pytest.fail(f"vLLM left processes behind: {left}; its log:\n{self.tail()}")


def processes_of(session: int) -> list[str]:
    """Return the names of the processes that live in a session (proc(5): fields 2, 3 and 6)."""
    names = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, _, its_session = rest.split()[:4]
        if int(its_session) == session and state != "Z":
            names.append(name.partition("(")[2])
    return names


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(model: Path, folder: Path, *options: str) -> Server:
    """Start the server in a session of its own, so that it can be ended as a whole."""
    port, log = free_port(), folder / "vllm.log"
    # In the foreground, timeout passes a signal to the server alone, which ends its workers.
    limited = ["timeout", "--foreground", str(LIFE_SECONDS)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*limited, *command(model, port, *options)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(),
            start_new_session=True,
        )
    return Server(port, log, process)


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter that has vLLM, transformers and torch."""
    if not PYTHON.exists():
        pytest.skip("there is no .venv-vllm; scripts/test-vllm makes it")
    return PYTHON


@pytest.fixture(scope="session")
def model(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as a folder for transformers and vLLM."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    convert = [python, ROOT / "training" / "gguf_to_hf.py", EMBEDDED, folder]
    subprocess.run(convert, check=True, timeout=120)
    return folder


@pytest.fixture(scope="session")
def serving(
    model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., AbstractContextManager[Server]]:
    """Run a server of the embedded model, with these options of vLLM's."""

    @contextmanager
    def serve(*options: str) -> Iterator[Server]:
        server = launch(model, tmp_path_factory.mktemp("vllm"), *options)
        try:
            server.wait_until_up()
            yield server
        finally:
            server.stop()

    return serve


@pytest.fixture(scope="session")
def server(serving: Callable[..., AbstractContextManager[Server]]) -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the server's log beside a test that failed."""
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and server is not None:
        report.sections.append(("vLLM's log", server.tail()))
    return report
