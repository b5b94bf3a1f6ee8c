"""Errors of the admin API as RFC 9457 problems (S6.2, C3.7): the codes of S6, at most 1 KiB, never a secret."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.responses import Response

from tidegate.exchange.fault import CODES
from tidegate.rules.request_id import RequestIds

LONGEST_DETAIL: Final = 600
"""Bytes of ``detail``: with everything else around it a problem stays under 1 KiB."""
RETRY: Final = "1"
"""Seconds named by ``Retry-After`` where waiting helps; control is back within one."""


def problem(code: str, detail: str = "", fields: Mapping[str, str] | None = None) -> Response:
    """The answer for *code*, with *detail* cut to size."""
    row = CODES[code]
    body: dict[str, object] = {
        "type": f"urn:tidegate:problem:{code}",
        "title": row.title,
        "status": row.status,
        "code": code,
        "request_id": RequestIds(secrets.randbits).make(time.time()),
    }
    if detail:
        body["detail"] = shorten(detail)
    headers = dict(fields or {})
    if row.wait:
        headers.setdefault("retry-after", RETRY)
    return Response(msgspec.json.encode(body), row.status, headers, "application/problem+json")


def shorten(text: str) -> str:
    """*text* in at most :data:`LONGEST_DETAIL` bytes, whole lines where possible."""
    data = text.encode()
    if len(data) <= LONGEST_DETAIL:
        return text
    cut = data[: LONGEST_DETAIL - 4].decode("utf-8", "ignore")
    line = cut.rfind("\n")
    return f"{cut[:line] if line > 0 else cut} …"
