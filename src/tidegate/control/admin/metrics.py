"""``/metrics``: Prometheus text over all workers (S26)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from tidegate.control.admin.desk import Desk
from tidegate.control.metrics import CONTENT_TYPE


def router(desk: Desk) -> APIRouter:
    """The metrics route over *desk*."""
    routes = APIRouter(tags=["metrics"])

    @routes.get("/metrics", summary="Metrics of this node")
    async def metrics() -> Response:
        """Prometheus text exposition; open on a loopback address, else it takes the token."""
        return Response(await desk.metrics_text(), media_type=CONTENT_TYPE)

    return routes
