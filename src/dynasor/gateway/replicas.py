"""`/v1/replicas`: the engines behind this server, and how one is taken out while it is restarted.

    GET                         every replica: is it reachable, is it out, what runs there
    DELETE /v1/replicas/{id}    takes it out: nothing new is sent there, what runs ends by itself
    PUT    /v1/replicas/{id}    takes it in again

Where there are API keys, only those of operators may.
"""

from __future__ import annotations

import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dynasor.gateway.errors import BadRequest, JsonResponse
from dynasor.gateway.service import Service

__all__ = ["list_replicas", "restore_replica", "take_out_replica"]


async def list_replicas(request: Request) -> Response:
    """List all replicas, those that generate first."""
    service = _operated(request)
    names = service.dynasor.machine.replicas
    return JsonResponse({"object": "list", "data": [_described(service, name) for name in names]})


async def take_out_replica(request: Request) -> Response:
    """Send a replica nothing new from now on."""
    return _told(request, is_draining=True)


async def restore_replica(request: Request) -> Response:
    """Send a replica again all that it can run."""
    return _told(request, is_draining=False)


def _told(request: Request, *, is_draining: bool) -> Response:
    service = _operated(request)
    machine = service.dynasor.machine
    wanted = request.path_params["replica"]
    name = next((one for one in machine.replicas if _id(one) == wanted), None)
    if name is None:
        known = ", ".join(f"{_id(one)} ({_engine(one)})" for one in machine.replicas)
        message = f"no replica {wanted!r} is here; there is {known}"
        raise BadRequest("replica", message, 404, "replica_not_found")
    machine.drain(name, is_draining=is_draining)
    by = f" by {request.state.tenant}" if request.state.tenant else ""
    done = "taken out" if is_draining else "taken in again"
    logging.getLogger("dynasor").warning("replica %s was %s%s", name, done, by)
    return JsonResponse(_described(service, name))


def _operated(request: Request) -> Service:
    service: Service = request.app.state.service
    if not request.state.is_operator:
        message = (
            f"the key {request.state.tenant!r} is not an operator's; make one with "
            "dynasor keys add --operator"
        )
        raise BadRequest(None, message, 403, "permission_denied")
    return service


def _described(service: Service, name: str) -> dict[str, Any]:
    pools = service.dynasor.machine.driver.scheduler.dispatcher.pools.values()
    states = {pool.name: pool.replicas[name] for pool in pools if name in pool.replicas}
    return {
        "id": _id(name),
        "object": "dynasor.replica",
        "engine": _engine(name),
        "reachable": not any(state.is_down for state in states.values()),
        "draining": any(state.told.is_draining for state in states.values()),
        "running": sum(state.held for state in states.values()),
        "pools": {
            pool: {"running": state.held, "slots": state.slots} for pool, state in states.items()
        },
    }


def _id(name: str) -> str:
    return name.partition("@")[0]


def _engine(name: str) -> str:
    return name.partition("@")[2]
