"""``/api/v1/keys``: the pairs with which clients sign requests to models (LLM 2). Keys themselves are never shown."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from tidegate.control.admin.desk import Desk
from tidegate.control.admin.problem import problem

LONGEST: Final = 256


def router(desk: Desk) -> APIRouter:
    """The route over *desk*."""
    routes = APIRouter(prefix="/api/v1", tags=["keys"])

    @routes.get("/keys", summary="A consumer's keys, with the pair that signs for each")
    async def keys(consumer: Annotated[str, Query(max_length=LONGEST)]) -> Response:
        """Keys of the config, by the id that records have: access key id and secret for clients that sign (boto3)."""
        found = await desk.signing_keys(consumer)
        if found is None:
            return problem("not_found", "The config has no such consumer.")
        return Response(msgspec.json.encode({"consumer": consumer, "items": found}), media_type="application/json")

    return routes
