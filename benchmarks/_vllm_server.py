"""A real vLLM server on the CPU for a benchmark, from the environment of scripts/test-vllm."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

__all__ = ["EMBEDDED", "PYTHON", "ROOT", "command", "environment", "make_model", "serve"]

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
EMBEDDED = ROOT / "src" / "dynasor" / "engines" / "models" / "tiny.gguf"
# With a worker process of its own, vLLM's engine waits for it by yielding the processor all the
# time. Where both cores of a machine did that, Linux 6.18 ran nothing else for seconds on end: a
# program that sleeps for 10 ms woke up to 4 s late.
ONE_PROCESS = ("--distributed-executor-backend", "uni")
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
START_SECONDS = 300
STOP_SECONDS = 60


def make_model(folder: Path) -> Path:
    """Write the embedded model into a folder as vLLM reads it; end the script without vLLM."""
    if not PYTHON.exists():
        sys.exit("there is no .venv-vllm; scripts/test-vllm makes it")
    model = folder / "tiny"
    convert = [PYTHON, ROOT / "training" / "gguf_to_hf.py", EMBEDDED, model]
    subprocess.run(convert, check=True, stdout=subprocess.DEVNULL)
    return model


def command(model: Path, port: int, *options: str) -> list[str]:
    """Return how a server of the embedded model is started."""
    # The command `vllm` looks for a distribution of that name; ours is called vllm-cpu.
    python = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
    served = ["--model", str(model), "--served-model-name", "tiny"]
    limits = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "768", *ONE_PROCESS]
    return [*python, *served, "--host", "127.0.0.1", "--port", str(port), *limits, *options]


def environment(**more: str) -> dict[str, str]:
    """Return the environment that it is started in."""
    return {**os.environ, **ENVIRONMENT, **more}


@contextlib.contextmanager
def serve(model: Path, *options: str, more: dict[str, str] | None = None) -> Iterator[str]:
    """Run a server with these options of vLLM's, and more environment; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = environment(PYTHONPATH=str(ROOT / "src"), **(more or {}))
    log = model.parent / "vllm.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(model, port, *options),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=model.parent,
            env=settings,
            start_new_session=True,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _stop(process)


def _wait(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(health, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    sys.exit(f"vLLM is not up; the end of its log:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
