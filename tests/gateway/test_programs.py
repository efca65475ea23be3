"""Programs as clients see them: the list, one of them, its end on demand."""

from __future__ import annotations

import asyncio

import pytest
from toys.serving import Gated, boxed, serving, sums

from dynasor.core.errors import EngineBusy
from dynasor.engines.scripted import Fail, ScriptedEngine

ALGORITHM = {"algorithm": "self-consistency"}


async def test_list():
    """Programs are listed the newest first, page by page."""
    async with serving() as served:
        for name in ("a", "b", "c"):
            await served.chat(dynasor={**ALGORITHM, "program_id": name})
        first = (await served.get("/v1/programs?limit=2")).json
        assert [one["id"] for one in first["data"]] == ["c", "b"]
        assert (first["has_more"], first["last_id"]) == (True, "b")
        rest = (await served.get("/v1/programs?limit=2&after=b")).json
        assert [one["id"] for one in rest["data"]] == ["a"]
        assert not rest["has_more"]
        empty = (await served.get("/v1/programs?after=a")).json
        assert (empty["data"], empty["first_id"], empty["last_id"]) == ([], None, None)


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("after=q", "after")],
)
async def test_bad_pages(query, param):
    """A page that cannot be shown is refused with its parameter."""
    async with serving() as served:
        answer = await served.get(f"/v1/programs?{query}")
        assert (answer.status, answer.error["param"]) == (400, param)


async def test_one():
    """A program shows its votes, its history, its calls, where they ran and what they cost."""
    engine = sums(faults={0: Fail(EngineBusy("e", "later"))})
    async with serving(engine) as served:
        answer = await served.chat(dynasor={**ALGORITHM, "program_id": "mine"})
        shown = (await served.get("/v1/programs/mine")).json
        assert (shown["status"], shown["answer"], shown["votes"]) == ("answered", "2", {"2": 3.0})
        assert [one["knob"] for one in shown["history"]] == [1, 2, 3]
        assert shown["history"][-1]["certaindex"] == {"entropy": 1.0}
        assert shown["usage"] == answer.json["usage"]
        assert (shown["tokens"], shown["replicas"]) == (15, ["0@scripted"])
        attempts = [call["attempts"] for call in shown["calls"]]
        assert [[one["outcome"] for one in tries] for tries in attempts] == [
            ["failed", "finished"],
            ["finished"],
            ["finished"],
        ]
        assert "later" in attempts[0][0]["error"]
        assert shown["tree"] is None


async def test_while_it_runs():
    """A program that runs is shown as it stands."""
    engine = Gated(free=1)
    async with serving(engine) as served:
        waiting = asyncio.create_task(served.chat(dynasor={**ALGORITHM, "program_id": "mine"}))
        await engine.begun.wait()
        shown = (await served.get("/v1/programs/mine")).json
        assert (shown["status"], shown["seconds"], shown["usage"]) == ("running", None, None)
        assert {one["outcome"] for call in shown["calls"] for one in call["attempts"]} >= {
            "running"
        }
        engine.open.set()
        await waiting


def stepper():
    """An engine whose paths have two steps, of which half are good, and that rewards them."""
    turns = iter(range(10**6))

    def write(work):
        if work.prompt.prefix:
            return boxed(work.prompt.prefix.count("good"))
        return "a good step" if next(turns) % 2 else "a bad step"

    return ScriptedEngine(write, reward=lambda item: 0.9 if "good" in item.prefix else 0.1)


async def test_tree():
    """Of a search the tree is shown: steps, where they went on from, rewards, the answer's way."""
    async with serving(stepper()) as served:
        extras = {"algorithm": "rebase", "cap": 4, "program_id": "mine"}
        answer = await served.chat(dynasor=extras)
        nodes = (await served.get("/v1/programs/mine")).json["tree"]
        roots = [node for node in nodes if node["parent"] is None]
        assert [node["text"] for node in roots] == ["a bad step\n", "a good step\n"] * 2
        assert {node["reward"] for node in roots} == {0.9, 0.1}
        leaves = [node for node in nodes if node["parent"] is not None]
        assert len(leaves) == 4
        assert {nodes[node["parent"]]["reward"] for node in leaves} == {0.9}
        way = "".join(node["text"] for node in nodes if node["is_answer"] and node in leaves[:1])
        assert way == f"{boxed(1)}\n"
        assert answer.json["dynasor"]["answer"] == "1"


async def test_cancel():
    """A program that is cancelled ends at once; who waited for it is told so."""
    engine = Gated(free=1)
    async with serving(engine) as served:
        waiting = asyncio.create_task(served.chat(dynasor={**ALGORITHM, "program_id": "mine"}))
        await engine.begun.wait()
        ended = await served.ask("DELETE", "/v1/programs/mine")
        assert (ended.status, ended.json["status"], engine.running) == (200, "withdrawn", 0)
        assert ended.json["usage"]["completion_tokens_details"]["aborted_tokens"] == 4
        told = await waiting
        assert (told.status, told.error["code"]) == (499, "Withdrawn")


async def test_cancel_what_has_ended():
    """Cancelling what has ended changes nothing and shows it."""
    async with serving() as served:
        await served.chat(dynasor={**ALGORITHM, "program_id": "mine"})
        ended = await served.ask("DELETE", "/v1/programs/mine")
        assert (ended.status, ended.json["status"]) == (200, "answered")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_unknown(method):
    """A program that is not known is a 404 that names it."""
    async with serving() as served:
        answer = await served.ask(method, "/v1/programs/nobody")
        assert (answer.status, answer.error["code"]) == (404, "program_not_found")
        assert "'nobody'" in answer.error["message"]


async def test_forgotten():
    """Only so many ended programs are kept, the latest."""
    async with serving(serve={"kept_programs": 2}) as served:
        for name in ("a", "b", "c"):
            await served.chat(dynasor={**ALGORITHM, "program_id": name})
        listed = (await served.get("/v1/programs")).json["data"]
        assert [one["id"] for one in listed] == ["c", "b"]
        assert (await served.get("/v1/programs/a")).status == 404
