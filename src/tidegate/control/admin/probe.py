"""``/api/v1/probe``: the harness's view and traps; served with ``--test-profile`` only (RELIABILITY 5.2)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

Way = Literal["crash", "memory"]


class Bench(Protocol):
    """What control offers the harness."""

    async def probe(self) -> dict[str, Any]:
        """Figures of control and of every worker."""

    def trap(self, targets: dict[str, str], bodies: dict[str, str]) -> None:
        """Let workers die of these requests, and of no others."""


class Told(BaseModel):
    """The traps: request target or SHA-256 of a body (hex) → how the worker dies."""

    model_config = ConfigDict(extra="forbid")

    targets: Annotated[dict[str, Way], Field(max_length=64)] = {}
    bodies: Annotated[dict[str, Way], Field(max_length=64)] = {}


def router(bench: Bench) -> APIRouter:
    """The probe over *bench*."""
    routes = APIRouter(prefix="/api/v1", tags=["probe"])

    @routes.get("/probe", summary="Tasks, descriptors and the worst loop stall since the last read")
    async def probe() -> Response:
        """One object for control, one for each worker."""
        return Response(msgspec.json.encode(await bench.probe()), media_type="application/json")

    @routes.put("/probe/traps", summary="Let a worker die of a request", status_code=204)
    async def traps(told: Told) -> Response:
        """Replaces all traps."""
        bench.trap(dict(told.targets), dict(told.bodies))
        return Response(status_code=204)

    return routes
