"""``POST /api/v1/reload``: read the config again, all or nothing (S23.1)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from tidegate.control.admin.desk import Desk
from tidegate.control.admin.problem import problem


def router(desk: Desk) -> APIRouter:
    """The reload route over *desk*."""
    routes = APIRouter(prefix="/api/v1", tags=["config"])

    @routes.post("/reload", summary="Read the config again and apply it")
    async def reload() -> Response:
        """Answers when every worker serves the new generation (``x-tidegate-applied: 4/4``), or why it is refused.
        After a refusal the old generation serves on."""
        outcome = await desk.reload("admin")
        applied = {"x-tidegate-applied": f"{outcome.applied}/{outcome.of}"}
        if outcome.result == "refused":
            return problem("invalid_field", outcome.error, applied)
        body = {
            "result": outcome.result,
            "generation": outcome.generation,
            "changed": outcome.changed,
            "workers": {"applied": outcome.applied, "of": outcome.of},
            "milliseconds": round(outcome.seconds * 1000.0, 1),
        }
        if outcome.error:
            body["error"] = outcome.error
        return JSONResponse(body, headers=applied)

    return routes
