"""``/healthz`` ``/livez`` and ``/readyz`` (S23.4): for balancers and orchestrators, open on the admin listener."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from tidegate.control.admin.desk import Desk


def router(desk: Desk) -> APIRouter:
    """The health routes over *desk*."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="Is some worker alive?")
    @routes.get("/livez", summary="Is some worker alive?")
    async def live() -> Response:
        """200 while some worker's loop has turned within 2 s."""
        alive = desk.live()
        return JSONResponse({"status": "alive" if alive else "dead"}, 200 if alive else 503, retry(alive))

    @routes.get("/readyz", summary="May traffic come?")
    async def ready() -> Response:
        """200 when traffic may come; ``degraded`` with its reasons when not all is well."""
        found = desk.readiness()
        words = "not ready" if not found.ready else "degraded" if found.reasons else "ready"
        body = {"status": words, "reasons": list(found.reasons)}
        return JSONResponse(body, 200 if found.ready else 503, retry(found.ready))

    return routes


def retry(well: bool) -> dict[str, str]:
    """Every 503 says when to ask again (S6.6)."""
    return {} if well else {"retry-after": "1"}
