"""Engines that are taken out and in again while requests come."""

from __future__ import annotations

import asyncio

import pytest
from toys.serving import Gated, serving, sums

from dynasor.gateway.keys import new_key

ALGORITHM = {"algorithm": "self-consistency"}


async def replicas(served):
    """What is said of each replica, by its id."""
    return {one["id"]: one for one in (await served.get("/v1/replicas")).json["data"]}


async def ran_on(served, program):
    """The replicas that a program's calls ran on."""
    return (await served.get(f"/v1/programs/{program}")).json["replicas"]


async def test_list():
    """Every engine is listed with what it runs, and can run, for each pool that it serves."""
    engine = Gated(slots=4)
    async with serving([engine, sums(slots=2)]) as served:
        asked = asyncio.create_task(served.chat(dynasor={**ALGORITHM, "cap": 2}))
        await engine.begun.wait()
        found = await replicas(served)
        assert found["0"] == {
            "id": "0",
            "object": "dynasor.replica",
            "engine": "scripted",
            "reachable": True,
            "draining": False,
            "running": 2,
            "pools": {"generate": {"running": 2, "slots": 4}},
        }
        assert found["1"]["pools"] == {"generate": {"running": 0, "slots": 2}}
        engine.open.set()
        assert (await asked).status == 200


@pytest.mark.parametrize("asked", [{"dynasor": ALGORITHM}, {}], ids=["program", "passed"])
async def test_out_and_in(asked):
    """What runs on an engine that is taken out ends there; what comes goes to the others."""
    engine = Gated(slots=8)
    async with serving([engine, sums(slots=8)]) as served:
        first = asyncio.create_task(served.chat(dynasor={**ALGORITHM, "program_id": "first"}))
        await engine.begun.wait()
        told = await served.ask("DELETE", "/v1/replicas/0")
        assert (told.status, told.json["draining"], told.json["running"]) == (200, True, 3)
        assert (await served.get("/ready")).json["replicas"] == {
            "0@scripted": False,
            "1@scripted": True,
        }
        for number in range(4):
            answer = await served.chat(**asked)
            program = answer.headers["x-dynasor-program"]
            assert (answer.status, await ran_on(served, program)) == (200, ["1@scripted"]), number
        engine.open.set()
        assert (await first).status == 200
        assert await ran_on(served, "first") == ["0@scripted"]
        assert (await replicas(served))["0"]["running"] == 0
        await served.ask("DELETE", "/v1/replicas/1")
        told = await served.ask("PUT", "/v1/replicas/0")
        assert (told.json["draining"], told.json["pools"]["generate"]["slots"]) == (False, 8)
        answer = await served.chat(**asked)
        program = answer.headers["x-dynasor-program"]
        assert (answer.status, await ran_on(served, program)) == (200, ["0@scripted"])


async def test_all_out():
    """Where all engines are out requests wait, and are answered once one is in again."""
    async with serving() as served:
        for _ in range(2):  # twice is no different
            assert (await served.ask("DELETE", "/v1/replicas/0")).status == 200
        assert (await served.get("/ready")).status == 503
        waiting = [
            asyncio.create_task(served.chat(dynasor=ALGORITHM)),
            asyncio.create_task(served.chat()),
        ]
        async with asyncio.timeout(10):
            while served.service.gate.live < 2:
                await asyncio.sleep(0.01)
        assert (await replicas(served))["0"]["running"] == 0
        assert not any(one.done() for one in waiting)
        await served.ask("PUT", "/v1/replicas/0")
        assert [one.status for one in await asyncio.gather(*waiting)] == [200, 200]
        assert (await served.get("/ready")).status == 200


async def test_unknown():
    """A replica that is not there is refused with those that are."""
    async with serving([sums(), sums()]) as served:
        for method in ("PUT", "DELETE"):
            answer = await served.ask(method, "/v1/replicas/2")
            assert (answer.status, answer.error["param"]) == (404, "replica")
            assert "there is 0 (scripted), 1 (scripted)" in answer.error["message"]


async def test_operators_only(tmp_path):
    """Where there are keys, engines are an operator's business."""
    path = tmp_path / "keys.jsonl"
    app, ops = new_key(path, "app"), new_key(path, "ops", operator=True)
    async with serving(serve={"keys": path}) as served:
        for method, place in (("GET", ""), ("PUT", "/0"), ("DELETE", "/0")):
            statuses = [
                (await served.ask(method, f"/v1/replicas{place}", **given)).status
                for given in (
                    {},
                    {"Authorization": f"Bearer {app}"},
                    {"Authorization": f"Bearer {ops}"},
                )
            ]
            assert statuses == [401, 403, 200]
        refused = await served.ask("PUT", "/v1/replicas/0", Authorization=f"Bearer {app}")
        assert refused.error["code"] == "permission_denied"
        assert "dynasor keys add --operator" in refused.error["message"]
