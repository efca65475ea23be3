"""`dynasor fit-engine`, as a user calls it."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
from toys.refusals import refused

from dynasor.calibrate.loads import Plan
from dynasor.engines.llamacpp import KEPT_PROMPTS
from dynasor.engines.scripted import ScriptedEngine
from dynasor.sim.engine_file import read_engine

# The module: the package's own name for it is the command.
MODULE = import_module("dynasor.cli.fit_engine")
SMALL = ("--prompt-tokens", "64", "--completion-tokens", "16")


@pytest.fixture
def scripted(monkeypatch):
    """Have the command measure a scripted engine, which answers at once."""
    engine = ScriptedEngine(lambda work: "x " * work.sampling.max_tokens, slots=4)
    monkeypatch.setattr(MODULE, "make_engines", lambda settings: [engine])
    return engine


def test_file(command, scripted):
    """The file that is written can be simulated, and says what it rests on."""
    code, out, _ = command("fit-engine", "--out", "e.json", "--kv-tokens", "4096", *SMALL)
    assert code == 0
    assert "per prefill token" in out
    assert "written to e.json" in out
    found = read_engine(Path("e.json"))
    assert (found.model, found.max_running, found.kv_tokens) == ("scripted", 4, 4096)
    assert found.engine_model().kv_blocks == 256
    assert found.fit.loads == len(Plan(4, 64, 16).loads())
    assert found.fit.most_calls == scripted.peak == 4


def test_json(command, scripted):
    """With --json standard output is the file's object, and warnings go elsewhere."""
    code, out, err = command("fit-engine", "--json", *SMALL)
    found = json.loads(out)
    assert (code, found["dynasor_engine"], found["kv_tokens"]) == (0, 1, None)
    assert "does not say what its KV cache holds; give --kv-tokens" in err
    for name in found["fit"]["unsure"]:
        assert name in err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--out", "nowhere/e.json"), ("nowhere/e.json", "no folder")),
        (("--out", "."), ("is a folder",)),
        (("--out", "notes.txt"), ("notes.txt is there already and is no engine",)),
        (("--concurrency", "5"), ("--concurrency is 5", "runs 4 calls")),
        (("--token-budget", "4"), ("--token-budget is 4",)),
        (("--repeats", "1", "--concurrency", "1", *SMALL), ("4 timed loads",)),
        (("gopher",), ("'gopher' is neither a URL",)),
    ],
)
def test_refused(command, request, arguments, parts):
    """What cannot be used is refused in one line, mostly before anything is measured."""
    if arguments != ("gopher",):
        request.getfixturevalue("scripted")
    Path("notes.txt").write_text("notes")
    refused(command("fit-engine", *arguments), *parts)


def test_too_long(command, monkeypatch):
    """Prompts and completions that the context cannot hold are refused before they are sent."""
    engine = ScriptedEngine(lambda work: "x", context_tokens=128)
    monkeypatch.setattr(MODULE, "make_engines", lambda settings: [engine])
    refused(command("fit-engine", "--prompt-tokens", "120"), "136 tokens", "takes 128")
    assert engine.asked == []


def test_several(command, monkeypatch):
    """Several engines are several files."""
    monkeypatch.setenv("DYNASOR_ENGINE", "http://a:1,http://b:1")
    refused(command("fit-engine"), "2 engines are named")


def test_unreachable(command):
    """An engine that is not there is one line and exit code 1, and no file."""
    code, out, err = command("fit-engine", "http://127.0.0.1:9", "--out", "e.json")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "http://127.0.0.1:9" in err
    assert not Path("e.json").exists()


def test_a_server(command, server):
    """A server is measured over HTTP, and asked for its metrics, which it need not have."""
    arguments = ("--concurrency", "2", "--json", "--kv-tokens", "999", *SMALL)
    code, out, _ = command("fit-engine", server.url, *arguments)
    found = json.loads(out)
    assert (code, found["model"], found["kv_tokens"]) == (0, "toy", 999)
    assert found["fit"]["calls"] == 4 * 2 * (1 + 2)
    assert {body["max_tokens"] for body in server.asked} == {1, 16}


def test_no_usage(command, server, monkeypatch):
    """A server that counts no tokens is one line that names it."""
    monkeypatch.setattr("dynasor.engines.transcript.read_usage", lambda *_: None)
    code, out, err = command("fit-engine", server.url, *SMALL)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"{server.url}: gives no usage" in err


@pytest.mark.engine
@pytest.mark.slow
def test_embedded(command):
    """The embedded engine is measured and fitted, cache and all."""
    arguments = ("--slots", "4", "--out", "e.json", *SMALL)
    code, out, _ = command("fit-engine", "embedded", *arguments)
    assert (code, "tiny: 4 sequences at once" in out) == (0, True)
    found = read_engine(Path("e.json"))
    assert found.kv_tokens == KEPT_PROMPTS * 4 * 768
    assert found.step.base > 0
    assert found.fit.calls == 4 * 2 * (1 + 2 + 4)
