"""Logs: lines for machines and for people, and nothing in them that must not be there."""

from __future__ import annotations

import io
import json
import logging
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.asgi import Echo, ask

from dynasor import Dynasor, SelfConsistency
from dynasor.config import Settings
from dynasor.engines.scripted import ScriptedEngine
from dynasor.gateway.access import Access
from dynasor.gateway.logs import log_program, log_request, logs_to
from dynasor.gateway.metrics import Metrics


@pytest.fixture
def written():
    """Log what a block does, and return the lines."""

    def log(kind, work):
        stream = io.StringIO()
        with logs_to(kind, stream):
            work()
        return stream.getvalue().splitlines()

    return log


def request(**more):
    log_request("POST", "/v1/chat/completions", 200, 0.0123456789, **more)


def test_json(written):
    """A request is one JSON object, with the time in UTC and what was given of it."""
    (line,) = written("json", lambda: request(program="prog_1", tenant="", more=None))
    told = json.loads(line)
    assert datetime.fromisoformat(told.pop("ts")).utcoffset().total_seconds() == 0
    assert told == {
        "level": "info",
        "event": "request",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "seconds": 0.012346,
        "program": "prog_1",
    }


def test_text(written):
    """For people it is one line, its time first."""
    (line,) = written("text", lambda: request(program="a b"))
    time, event, rest = line.split(" ", 2)
    assert (len(time), event) == (12, "request")
    assert rest == (
        'method=POST path=/v1/chat/completions status=200 seconds=0.012346 program="a b"'
    )


def test_none(written):
    """Nothing is written where nobody wants it."""
    assert written("none", request) == []


@pytest.mark.parametrize("kind", ["text", "json"])
def test_warnings(written, kind, capsys):
    """What the package warns of is a line too, and stands nowhere else."""
    (line,) = written(kind, lambda: logging.getLogger("dynasor").warning("mind %s", "the gap"))
    assert "mind the gap" in line
    assert capsys.readouterr().err == ""
    if kind == "json":
        assert json.loads(line)["level"] == "warning"


def test_an_exception(written):
    """A fault's story stands in its line."""

    def fault():
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            logging.getLogger("dynasor.gateway").exception("a fault")

    (line,) = written("json", fault)
    assert "RuntimeError: broken" in json.loads(line)["exception"]


def test_nothing_is_left_behind(written):
    """After the block the loggers are as they were."""
    logger = logging.getLogger("dynasor")
    before = (logger.level, logger.propagate, list(logger.handlers))
    written("json", request)
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


@given(st.text(st.characters()), st.sampled_from(["text", "json"]))
def test_one_line_each(text, kind):
    """Whatever a client puts into what is logged, an event is one line that can be written."""
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="")
    with logs_to(kind, stream):
        request(program=text)
        logging.getLogger("dynasor").warning("%s", text)
    stream.seek(0)
    assert len(stream.read().splitlines()) == 2


@pytest.mark.parametrize("kind", ["text", "json"])
async def test_a_program(kind):
    """A program's line says what it cost and why it stopped, and holds no word of it."""
    stream = io.StringIO()
    metrics = Metrics()
    metrics.when_ended(log_program)
    engine = ScriptedEngine(lambda work: r"private \boxed{4711}")
    with logs_to(kind, stream):
        async with Dynasor(engine, settings=Settings()) as dynasor:
            dynasor.machine.driver.record_in(metrics)
            result = await dynasor.run(
                SelfConsistency("secret", cap=3), program_id="p", tenant="app"
            )
    (line,) = stream.getvalue().splitlines()
    assert not {word for word in ("secret", "private", "4711") if word in line}
    if kind == "json":
        told = json.loads(line)
        assert (told["event"], told["program"], told["tenant"]) == ("program", "p", "app")
        assert (told["reason"], told["status"]) == (result.reason, "answered")
        assert told["tokens"] == result.spending.completion_tokens


async def test_a_request_names_its_program_and_owner():
    """The line of a request has the program's id, from the response, and the key's name."""

    async def app(scope, receive, send):
        scope["state"]["tenant"] = "app"
        await Echo()(scope, receive, send)

    stream = io.StringIO()
    with logs_to("json", stream):
        await ask(Access(app, Metrics()), b"{}", headers={"Authorization": "Bearer s3cret"})
    told = json.loads(stream.getvalue())
    assert (told["program"], told["tenant"], told["status"]) == ("prog_1", "app", 200)
    assert "s3cret" not in stream.getvalue()
