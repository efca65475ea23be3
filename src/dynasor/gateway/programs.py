"""`/v1/programs`: what runs and what has ended, how each came to its answer, and its end on demand.

A client sees the programs of its own API key, and nobody else's.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dynasor.gateway.errors import BadRequest, JsonResponse
from dynasor.gateway.registry import ProgramRecord
from dynasor.gateway.service import Service

__all__ = ["cancel_program", "list_programs", "show_program"]

LISTED, MOST_LISTED = 20, 100
"""OpenAI's default and largest page."""


async def list_programs(request: Request) -> Response:
    """List programs, the newest first, `limit` of them `after` one that was listed before."""
    service: Service = request.app.state.service
    limit = _limit(request.query_params.get("limit"))
    known = service.registry.newest(request.state.tenant)
    after = request.query_params.get("after")
    if after is not None:
        places = [place for place, record in enumerate(known) if record.id == after]
        if not places:
            raise BadRequest("after", f"after is {after!r}; no such program is known (any more)")
        known = known[places[0] + 1 :]
    page = [record.summary() for record in known[:limit]]
    return JsonResponse(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(known) > limit,
        }
    )


async def show_program(request: Request) -> Response:
    """Show one program: its calls, its certaindex history and, of a search, its tree."""
    return JsonResponse(_found(request).details())


async def cancel_program(request: Request) -> Response:
    """Take a program back and show its final state; one that has ended stays as it is."""
    service: Service = request.app.state.service
    record = _found(request)
    await service.cancel(record.id)
    return JsonResponse(record.details())


def _found(request: Request) -> ProgramRecord:
    service: Service = request.app.state.service
    name = request.path_params["program"]
    record = service.registry.find(name)
    if record is None or record.tenant != request.state.tenant:
        raise BadRequest(
            "program", f"no program {name!r} is known (any more)", 404, "program_not_found"
        )
    return record


def _limit(text: str | None) -> int:
    if text is None:
        return LISTED
    is_number = text.isascii() and text.isdecimal() and len(text) <= 3
    if not is_number or not 1 <= int(text) <= MOST_LISTED:
        raise BadRequest("limit", f"limit is {text!r}; expected 1 to {MOST_LISTED}")
    return int(text)
