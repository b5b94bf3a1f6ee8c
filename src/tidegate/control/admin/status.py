"""``/api/v1/status``: generations by worker, every endpoint explained, the last reload, routes anyone may call."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from tidegate.control.admin.desk import Desk


def router(desk: Desk) -> APIRouter:
    """The status route over *desk*."""
    routes = APIRouter(prefix="/api/v1", tags=["status"])

    @routes.get("/status", summary="The state of this gateway, explained")
    async def status() -> Response:
        """Workers with their generation, upstreams with the reason each endpoint is in or out, the last reload."""
        return Response(msgspec.json.encode(await desk.status()), media_type="application/json")

    return routes
