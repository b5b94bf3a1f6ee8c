"""A Fault as the client sees it: an RFC 9457 problem (S6.1, S6.2, S6.6)."""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

from tidegate.exchange.fault import CODES, Fault
from tidegate.exchange.head import Answer, Fields

_MAX_SIZE: Final = 1024
_MAX_DETAIL: Final = 256
_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+").fullmatch

_IANA: Final = "https://iana.org/assignments/http-problem-types#"
_TYPES: Final = {
    "rate_limited": _IANA + "quota-exceeded",
    "quota_exceeded": _IANA + "quota-exceeded",
    "budget_exceeded": _IANA + "quota-exceeded",
    "overloaded": _IANA + "temporary-reduced-capacity",
}
"""Limits speak the registered types (S9.9); all other codes have a URN of ours."""

_SPELT: Final = {"context_full": "quota_exceeded"}
"""Codes that two faults share on the wire: of different statuses, so nobody takes one for the other (CRP 3.7)."""

_encode: Final = msgspec.json.Encoder().encode


def problem(fault: Fault, request_id: str, trace_id: str, name: str, longest: int = _MAX_SIZE) -> Answer:
    """The answer that tells the client about *fault*: at most *longest* bytes of ``application/problem+json``.

    *name* is the gateway's, for ``Proxy-Status``, which is set when the fault is not the client's own. Where waiting
    can help, ``Retry-After`` says how many whole seconds, at least 1.
    """
    code = CODES[fault.code]
    status = code.status
    spelt = _SPELT.get(fault.code, fault.code)
    fields: Fields = [("content-type", "application/problem+json")]
    members: dict[str, object] = {
        "type": _TYPES.get(fault.code) or "urn:tidegate:problem:" + spelt,
        "title": code.title,
        "status": status,
        "code": spelt,
    }
    if fault.detail:
        members["detail"] = fault.detail[:_MAX_DETAIL]
    if fault.reason:
        members["reason"] = fault.reason
    if request_id:
        members["request_id"] = request_id
    if trace_id:
        members["trace_id"] = trace_id
    wait = fault.retry_after
    if wait > 0:
        members["retry_after_ms"] = math.ceil(wait * 1000)
    if code.wait or (wait > 0 and status == 429):
        fields.append(("retry-after", str(max(1, math.ceil(wait)))))
    error = fault.proxy_status
    if error:
        fields.append(("proxy-status", f"{_item(name)}; error={error}"))
    fields += fault.fields
    body = _fitting(members, fault.extra, longest)
    # A body over the limit is never read to its end, so the connection cannot go on (S2.11).
    return Answer(status, fields, body, fault.close or fault.code == "body_too_large")


def _fitting(members: dict[str, object], extra: dict[str, object] | None, longest: int) -> bytes:
    """The problem as JSON; what does not fit is left out, the additions first."""
    if extra:
        body = _encode({**extra, **members})
        if len(body) <= longest:
            return body
    body = _encode(members)
    if len(body) > longest:
        members.pop("detail", None)
        body = _encode(members)
    return body


def _item(name: str) -> str:
    """*name* as a structured-field token, or as a string where it is none (RFC 8941)."""
    if _TOKEN(name) is not None:
        return name
    plain = "".join([c for c in name if " " <= c <= "~" and c not in '"\\'])
    return f'"{plain}"'
