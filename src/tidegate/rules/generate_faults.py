"""Google's error object, both ways (LLM 5.11): ``{"error": {code, message, status, details[]}}``."""

from __future__ import annotations

from typing import Final

from tidegate.exchange.fault import CODES, Fault
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.json_object import WrongShape, count, encode, is_array, is_object, is_string, items, members, string

RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"

_STATES: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED", 409: "ABORTED", 413: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED",
    500: "INTERNAL", 501: "UNIMPLEMENTED", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def fault_body(status: int, code: str, detail: str, retry_after: float) -> bytes:
    """The body of a fault for a client; a delay is told as ``RetryInfo``."""
    details: list[dict[str, str]] = []
    if retry_after > 0:
        details.append({"@type": RETRY_INFO, "retryDelay": f"{retry_after:g}s"})
    state = _STATES.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
    error = {"code": status, "message": detail or CODES[code].title, "status": state, "details": details}
    return encode({"error": error})


def read_refusal(status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
    """The fault of a provider's refusal; streams wrap theirs in an array."""
    try:
        if is_array(body.lstrip()):
            whole = items(body)
            body = whole[0] if whole else b"{}"
        error = members(members(body).get("error", b"{}"))
    except WrongShape:
        error = {}
    return _fault(error, status, fields, now)


def fault_of(raw: bytes) -> Fault:
    """The fault of an ``error`` object inside an answer."""
    try:
        error = members(raw)
    except WrongShape:
        error = {}
    return _fault(error, count(error.get("code")) or 500, {}, 0.0)


def _fault(error: dict[str, bytes], status: int, fields: dict[str, str], now: float) -> Fault:
    words = [_text(error.get("status"))]
    delay = 0.0
    details = error.get("details", b"")
    try:
        for raw in items(details) if is_array(details) else []:
            detail = members(raw) if is_object(raw) else {}
            words.append(_text(detail.get("reason")))
            delay = delay or _seconds(_text(detail.get("retryDelay")))
    except WrongShape:
        pass
    told = " ".join([word for word in words if word]).lower()
    if "api_key_invalid" in told or "api_key_service_blocked" in told:
        status = 401
    return upstream_fault(status, told, _text(error.get("message")), fields, now, delay)


def _text(value: bytes | None) -> str:
    try:
        return string(value) if value is not None and is_string(value) else ""
    except WrongShape:
        return ""


def _seconds(text: str) -> float:
    """``34.07s`` as 34.07; 0.0 for anything else."""
    whole, point, rest = text.removesuffix("s").partition(".")
    if not text.endswith("s") or not whole.isdecimal() or len(text) > 24 or (point and not rest.isdecimal()):
        return 0.0
    return float(f"{whole}.{rest or 0}")
