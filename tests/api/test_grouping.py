"""Answers grouped by meaning, from the settings to the result."""

from __future__ import annotations

import sys

import pytest
from aiohttp import web
from plays import even, one

from dynasor.config import load_settings
from dynasor.core.errors import ConfigError, EngineUnreachable, UnknownName
from dynasor.core.types import Embed
from dynasor.engines.scripted import ScriptedEngine
from dynasor.journal import read_journal, replay
from dynasor.wiring import grouped, make_catalog
from dynasor.workers.minilm import PACKAGE

REPLIES = ["Ice is lighter than water.", "Because it is less dense.", "It is magic."]


@pytest.fixture(autouse=True)
def _no_local_model(monkeypatch):
    """The machine has no local model, whatever is installed."""
    monkeypatch.setitem(sys.modules, PACKAGE, None)


def direction(text):
    """A vector for a text: magic is one thing, physics another, in two shades."""
    if "magic" in text:
        return [0.0, 1.0]
    return [1.0, 0.0] if "Ice" in text else [1.0, 0.5]


def replies(**options):
    """An engine that gives these replies to the question "q", by the call's seed."""
    return ScriptedEngine({"q": REPLIES}, **options)


def by_meaning(engine, **settings):
    """A Dynasor that groups free text by meaning and spends the whole cap."""
    return even(engine, **{"task": "open", "grouping": "meaning", **settings})


def ask(cap=12):
    """The question, asked so often that every reply comes up."""
    return one("q", cap=cap, task="open")


async def test_the_engine_embeds():
    """Different words of one meaning are one class when the engine has embeddings."""
    engine = replies(vector=direction)
    async with by_meaning(engine) as dynasor:
        result = await dynasor.run(ask())
    assert len(result.votes) == 2
    assert sum(result.votes.values()) == 12.0
    assert "magic" not in result.answer
    assert result.grouping_failures == 0
    texts = [text for work in engine.asked if isinstance(work, Embed) for text in work.texts]
    assert sorted(texts[1:]) == sorted(REPLIES), "each reply is embedded once, after one sample"


async def test_the_task_decides_without_it():
    """The same replies are three classes when the task groups them."""
    async with by_meaning(replies(vector=direction), grouping="task") as dynasor:
        result = await dynasor.run(ask())
    assert set(result.votes) == set(REPLIES)


async def test_the_limit_is_a_setting():
    """A limit of 1 leaves only texts of one direction together."""
    async with by_meaning(replies(vector=direction), similarity=1.0) as dynasor:
        result = await dynasor.run(ask())
    assert set(result.votes) == set(REPLIES)


async def test_failures_are_counted():
    """Texts that cannot be embedded stay apart, and the result counts them."""

    def vector(text):
        return direction(text) if text not in REPLIES else [float("nan")] * 2

    async with by_meaning(replies(vector=vector)) as dynasor:
        result = await dynasor.run(ask())
    assert set(result.votes) == set(REPLIES)
    assert result.grouping_failures > 0


async def test_other_tasks_are_not_touched():
    """The grouping is the task's of the settings; a program of another task has its own."""
    engine = ScriptedEngine(lambda work: "\\boxed{12}", vector=lambda text: [1.0])
    async with by_meaning(engine) as dynasor:
        result = await dynasor.run(one("q", task="math"))
    assert result.votes == {"12": 3.0}
    assert [work for work in engine.asked if isinstance(work, Embed)] == [Embed(("A word.",))]


async def test_a_comparer_of_ones_own():
    """Whoever has a comparer gives it the task whose answers it shall sort."""

    class AllTheSame:
        async def compare(self, task, representatives, new):
            return (0,) * len(new), 0

    async with by_meaning(replies(vector=direction)) as dynasor:
        dynasor.machine.comparers.use(AllTheSame(), "open")
        result = await dynasor.run(ask())
    assert list(result.votes.values()) == [12.0]


class ByFirstLetter:
    """Answers are the same when their first letters are."""

    def __init__(self, task):
        self.name, self.prompt, self.extract = task.name, task.prompt, task.extract

    def same(self, left, right):
        return left[0] == right[0]


async def test_a_grouping_of_ones_own(monkeypatch):
    """A grouping that a package brings along is chosen by its name, and needs no embeddings."""
    found = {"first-letter": ByFirstLetter}
    monkeypatch.setattr("dynasor.wiring.catalog.installed", lambda kind: found)
    async with by_meaning(replies(), grouping="first-letter") as dynasor:
        result = await dynasor.run(ask())
    assert {answer[0] for answer in result.votes} == {"B", "I"}
    assert len(result.votes) == 2


# An engine for embeddings only.


class Server:
    """A real server of embeddings; `asked` are the bodies and `keys` the tokens that it got."""

    def __init__(self):
        self.status = 200
        self.asked = []
        self.keys = []

    def app(self):
        app = web.Application()
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/embeddings", self.embeddings)
        return app

    async def models(self, request):
        return web.json_response({"data": [{"id": "small"}, {"id": "large"}]})

    async def embeddings(self, request):
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("Authorization"))
        if self.status != 200:
            return web.json_response({"error": {"message": "no embeddings"}}, status=self.status)
        data = [
            {"index": place, "embedding": direction(text)}
            for place, text in enumerate(body["input"])
        ]
        return web.json_response({"data": data[::-1]})


@pytest.fixture
async def server():
    """A running server on a free port of the loopback interface."""
    server = Server()
    runner = web.AppRunner(server.app(), shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


async def test_a_server_of_embeddings(server):
    """A server named for embeddings makes them, with its own model and its own key."""
    engine = replies(vector=direction)
    settings = {"embedding_engine": server.url, "embedding_model": "large"}
    dynasor = by_meaning(engine, **settings, embedding_api_key="mine", api_key="not this one")
    async with dynasor:
        result = await dynasor.run(ask())
    assert len(result.votes) == 2
    assert result.grouping_failures == 0
    assert {body["model"] for body in server.asked} == {"large"}
    assert set(server.keys) == {"Bearer mine"}
    assert not any(isinstance(work, Embed) for work in engine.asked)


async def test_a_server_that_fails_under_way(server):
    """A server that fails once the run has begun costs classes, not the run."""
    dynasor = by_meaning(replies(), embedding_engine=server.url, embedding_model="small")
    async with dynasor:
        server.status = 500
        result = await dynasor.run(ask())
    assert set(result.votes) == set(REPLIES)
    assert result.grouping_failures > 0


async def test_a_server_without_embeddings(server):
    """A server that has no embeddings is found out at the start."""
    server.status = 404
    with pytest.raises(ConfigError, match=rf"finds no embeddings \(engine {server.url}: .*404"):
        async with by_meaning(replies(), embedding_engine=server.url, embedding_model="small"):
            pass


async def test_which_model(server):
    """A server of several models must be told which."""
    with pytest.raises(ConfigError, match=r"serves 2 models \(small, large"):
        async with by_meaning(replies(), embedding_engine=server.url):
            pass


async def test_nobody_there():
    """A server that cannot be reached fails the start."""
    with pytest.raises(EngineUnreachable, match="http://127.0.0.1:9"):
        async with by_meaning(replies(), embedding_engine="http://127.0.0.1:9"):
            pass


# What is refused.


async def test_no_source_of_embeddings():
    """Without embeddings of any kind the start fails and says what to install or to set."""
    with pytest.raises(ConfigError, match=r"\[semantic\]'\): set embedding_engine to the URL"):
        async with by_meaning(replies()):
            pass


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"grouping": "sense"}, UnknownName, r"unknown grouping 'sense' \(known: meaning, task\)"),
        ({"task": "math"}, ConfigError, "task 'math' .*use it with task 'open'"),
        ({"embedding_engine": "there"}, ConfigError, "'there' is neither a URL .* nor 'local'"),
        ({"similarity": 0}, ConfigError, "setting 'similarity' is 0"),
        ({"similarity": 1.5}, ConfigError, "setting 'similarity' is 1.5"),
    ],
)
def test_bad_settings(settings, kind, message):
    """What cannot be used is refused when Dynasor is made, in one line."""
    with pytest.raises(kind, match=message) as caught:
        by_meaning(replies(), **settings)
    assert "\n" not in str(caught.value)


async def test_a_journal_knows_the_grouping(tmp_path):
    """The journal of a run grouped by meaning is replayed with the same grouping only."""
    journal = tmp_path / "run.journal"
    async with by_meaning(replies(vector=direction), journal=journal) as dynasor:
        await dynasor.run(ask())
    header, _ = read_journal(journal)
    again = replay(journal, grouped(make_catalog(), header.task, header.grouping))
    assert again.first_difference is None
    assert replay(journal, make_catalog()).first_difference is not None


def test_the_key_is_not_shown():
    """The key stands neither in what is printed of the settings nor in an error about it."""
    assert "s3cret" not in repr(load_settings(embedding_api_key="s3cret"))
    with pytest.raises(ConfigError, match="'embedding_api_key' is unusable") as caught:
        load_settings(embedding_api_key=["s3cret"])
    assert "s3cret" not in str(caught.value)
