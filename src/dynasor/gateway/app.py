"""The application: its routes, its layers, and what opens and closes with it.

Access      times each request, counts and logs it
Gate        keys, limits, budgets, bodies
routes      /v1/chat/completions ...       programs, or passed through
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dynasor.api import Extensions
from dynasor.config import Settings
from dynasor.engines.protocol import Engine
from dynasor.gateway.access import Access
from dynasor.gateway.chat import chat_completions, completions
from dynasor.gateway.errors import BadRequest, JsonResponse, handlers
from dynasor.gateway.gate import Gate
from dynasor.gateway.logs import logs_to
from dynasor.gateway.openapi import document
from dynasor.gateway.programs import cancel_program, list_programs, show_program
from dynasor.gateway.replicas import list_replicas, restore_replica, take_out_replica
from dynasor.gateway.service import Service

__all__ = ["make_app"]


def make_app(
    settings: Settings,
    *,
    engine: Engine | Sequence[Engine] | None = None,
    extensions: Extensions | None = None,
) -> Starlette:
    """Return the application; `engine` None takes the engines of the settings.

    Raises `UserError` for settings that cannot be used. What it needs is opened and closed by its
    lifespan: an engine that is down ends its start with an `EngineError`.
    """
    service = Service(settings, engine=engine, extensions=extensions)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with logs_to(service.serving.log):
            async with service:
                yield

    def gate(app: ASGIApp) -> Gate:
        service.gate = Gate(app, service.serving, service.keys, service.metrics)
        return service.gate

    def access(app: ASGIApp) -> Access:
        return Access(app, service.metrics)

    made = Starlette(
        routes=_routes(),
        middleware=[Middleware(access), Middleware(gate)],
        exception_handlers=handlers,
        lifespan=lifespan,
    )
    made.router.redirect_slashes = False  # a redirect is no answer to a request with a body
    made.state.service = service
    return made


def _routes() -> list[Route]:
    return [
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        Route("/v1/completions", completions, methods=["POST"]),
        Route("/v1/models", _models, methods=["GET"]),
        Route("/v1/models/{model:path}", _model, methods=["GET"]),
        Route("/v1/programs", list_programs, methods=["GET"]),
        Route("/v1/programs/{program}", show_program, methods=["GET"]),
        Route("/v1/programs/{program}", cancel_program, methods=["DELETE"]),
        Route("/v1/replicas", list_replicas, methods=["GET"]),
        Route("/v1/replicas/{replica}", restore_replica, methods=["PUT"]),
        Route("/v1/replicas/{replica}", take_out_replica, methods=["DELETE"]),
        Route("/health", _health, methods=["GET"]),
        Route("/ready", _ready, methods=["GET"]),
        Route("/metrics", _metrics, methods=["GET"]),
        Route("/openapi.json", _openapi, methods=["GET"]),
    ]


async def _models(request: Request) -> Response:
    service: Service = request.app.state.service
    data = [_described(name, service) for name in service.models]
    return JsonResponse({"object": "list", "data": data})


async def _model(request: Request) -> Response:
    service: Service = request.app.state.service
    return JsonResponse(_described(service.model(request.path_params["model"]), service))


def _described(name: str, service: Service) -> dict[str, object]:
    return {"id": name, "object": "model", "created": service.started, "owned_by": "dynasor"}


async def _health(_: Request) -> Response:
    """Say that the process lives, whatever its engines do."""
    return JsonResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    """Say whether a request that came now would be served."""
    service: Service = request.app.state.service
    if service.is_ready:
        status = "ready"
    else:
        status = "draining" if service.is_draining else "no engine can be reached, or all are out"
    body = {"status": status, "replicas": service.replicas()}
    return JsonResponse(body, 200 if service.is_ready else 503)


async def _metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    if service.serving.metrics_for == "none":
        raise BadRequest(None, "metrics are switched off here", 404, "unknown_url")
    return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


async def _openapi(_: Request) -> Response:
    return JsonResponse(document())
