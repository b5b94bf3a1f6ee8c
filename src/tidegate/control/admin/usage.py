"""``/api/v1/usage``: what model calls came to, from the books (C11.1). Nothing else is counted here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from tidegate.control.admin.desk import Desk
from tidegate.control.admin.problem import problem
from tidegate.control.bookkeeper import Usage
from tidegate.control.books_store import DIMENSIONS
from tidegate.control.usage_reading import FINER
from tidegate.rules.pricing import dollars

COUNTS: Final = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens", "estimated")
MONEY: Final = {"cost": "cost_usd", "saved": "saved_usd", "waste": "waste_usd"}
NAMES: Final = (*DIMENSIONS, *FINER)
LONGEST: Final = 64
"""Characters of a time or a list of names."""


def router(desk: Desk) -> APIRouter:
    """The usage route over *desk*."""
    routes = APIRouter(prefix="/api/v1", tags=["usage"])

    @routes.get("/usage", summary="What model calls cost, by whom and by what")
    async def usage(
        begin: Annotated[str, Query(alias="from", max_length=LONGEST)] = "",
        end: Annotated[str, Query(alias="to", max_length=LONGEST)] = "",
        by: Annotated[str, Query(max_length=2 * LONGEST)] = "model",
        bucket: Literal["", "hour", "day", "month"] = "",
        reprice: bool = False,
    ) -> Response:
        """Whole hours in UTC from ``from`` to before ``to``, dates or times (ISO 8601); by default today. ``by``: names
        out of tenant, team, consumer, key, model, served, provider, route and surface, with commas; user, prompt and
        tag are read from the ledgers, which takes some seconds a gigabyte. So does ``reprice``: every row then tells
        what its calls would cost by the config of now. Costs are decimal text."""
        names = [name for name in by.split(",") if name]
        try:
            first, last = span(begin, end, time.time())
        except ValueError as error:
            return problem("invalid_field", str(error))
        if len(set(names)) < len(names) or any(name not in NAMES for name in names):
            return problem("invalid_field", f"by: names out of {', '.join(NAMES)}, each once")
        found = await desk.usage(f"{first:%Y-%m-%dT%H}", f"{last:%Y-%m-%dT%H}", names, bucket, reprice)
        return Response(msgspec.json.encode(document(found, first, last, names, bucket)), media_type="application/json")

    return routes


def span(begin: str, end: str, wall: float) -> tuple[datetime, datetime]:
    """The whole hours that lie from *begin* (default: today's start) to *end* (default: now); a date stands for its
    first moment, and as *end* for its last. ``ValueError`` for what is no time, or none after the other."""
    now = datetime.fromtimestamp(wall, UTC)
    first = moment(begin, "from") if begin else now.replace(hour=0)
    last = moment(end, "to") if end else now
    if len(end) == len("2026-11-21"):
        last += timedelta(days=1)
    if last < first:
        raise ValueError("to: lies before from")
    hour = timedelta(hours=1)
    first = first.replace(minute=0, second=0, microsecond=0)
    whole = last.replace(minute=0, second=0, microsecond=0)
    return first, whole if whole == last else whole + hour


def moment(text: str, name: str) -> datetime:
    """*text* in UTC. ``ValueError`` naming the field."""
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: a date or a time like 2026-11-21 or 2026-11-21T08:00Z") from None
    if not 1970 < found.year < 9999:
        raise ValueError(f"{name}: a year from 1971 to 9998")
    return found


def document(found: Usage, first: datetime, last: datetime, by: Sequence[str], bucket: str) -> dict[str, Any]:
    """The answer (C11.1)."""
    total = dict.fromkeys((*COUNTS, *MONEY), 0)
    if found.rows and "repriced" in found.rows[0]:
        total |= {"repriced": 0, "unpriced": 0}
    for row in found.rows:
        for name in total:
            total[name] += row[name]
    keys = (["at"] if bucket else []) + list(by)
    return {
        "from": f"{first:%Y-%m-%dT%H:%M:%SZ}",
        "to": f"{last:%Y-%m-%dT%H:%M:%SZ}",
        "by": list(by),
        "total": figures(total),
        "items": [{**{key: row[key] for key in keys}, **figures(row)} for row in found.rows],
        "as_of": round(found.as_of, 3),
    }


def figures(row: dict[str, Any]) -> dict[str, Any]:
    """Counts as numbers, money as decimal text in USD."""
    known = {**{name: row[name] for name in COUNTS}, **{told: dollars(row[name]) for name, told in MONEY.items()}}
    if "repriced" in row:
        known |= {"repriced_usd": dollars(row["repriced"]), "unpriced": row["unpriced"]}
    return known
