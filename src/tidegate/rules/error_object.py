"""Faults as the OpenAI family says them: ``{"error": {message, type, param, code}}``, both ways (LLM 5.11)."""

from __future__ import annotations

from typing import Any, Final

from tidegate.exchange.fault import CODES, Fault
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    encode,
    integer,
    is_array,
    is_object,
    is_string,
    items,
    members,
    string,
)

_WORDS: Final[dict[str, tuple[str, str | None]]] = {
    "invalid_request": ("invalid_request_error", None),
    "context_length": ("invalid_request_error", "context_length_exceeded"),
    "content_policy": ("invalid_request_error", "content_policy_violation"),
    "model_not_found": ("invalid_request_error", "model_not_found"),
    "unauthenticated": ("invalid_request_error", "invalid_api_key"),
    "forbidden": ("permission_error", None),
    "price_unknown": ("permission_error", "price_unknown"),
    "rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "budget_exceeded": ("insufficient_quota", "budget_exceeded"),
    "quota_exceeded": ("insufficient_quota", "quota_exceeded"),
    "overloaded": ("server_error", "overloaded"),
    "bad_upstream": ("server_error", None),
    "upstream_timeout": ("server_error", None),
}
"""Fault code -> (type, code)."""

_TEXT_AT_MOST: Final = 2000


def error_object(fault: Fault) -> dict[str, Any]:
    """What stands under ``error``."""
    kind, code = _WORDS.get(fault.code) or (
        ("server_error" if fault.status >= 500 else "invalid_request_error"),
        fault.code,
    )
    param = fault.extra.get("param") if fault.extra else None
    if code is None and fault.reason:
        code = fault.reason if fault.status < 500 else None
    return {"message": fault.detail or CODES[fault.code].title + ".", "type": kind, "param": param, "code": code}


def error_body(fault: Fault) -> bytes:
    """The whole body."""
    return encode({"error": error_object(fault)})


def read_error(status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
    """The refusal of a provider of this family. Also read: the error as a text, ``{message, type, code}`` and
    ``{detail}`` without the ``error`` around them, and all of these as the only element of an array."""
    words, message = error_words(body)
    return upstream_fault(status, words, message, fields, now)


def error_words(body: bytes) -> tuple[str, str]:
    """(the vendor's words, lower-case, its sentence) of an error body; ("", "") for what is no JSON."""
    try:
        if is_array(body.lstrip()):
            first = items(body)
            body = first[0] if first else b"{}"
        told = members(body)
        error = told.get("error", b"")
        if is_string(error):
            return _joined(told), string(error)[:_TEXT_AT_MOST]
        if is_object(error):
            told = members(error)
    except WrongShape:
        return "", ""
    message = _text(told.get("message")) or _text(told.get("detail"))
    return _joined(told), message[:_TEXT_AT_MOST]


def error_status(body: bytes, otherwise: int) -> int:
    """The HTTP status that an error inside a stream names as its code, when it does."""
    try:
        told = members(body)
        code = integer(told.get("code", told.get("status_code", b"")))
    except WrongShape:
        return otherwise
    return code if 400 <= code <= 599 else otherwise


def _joined(told: dict[str, bytes]) -> str:
    found = [_text(told.get(name)).lower() for name in ("type", "code", "status")]
    return " ".join([word for word in found if word])


def _text(raw: bytes | None) -> str:
    if not raw or raw == NULL:
        return ""
    if not is_string(raw):
        return raw.decode("utf-8", "replace")
    try:
        return string(raw)
    except WrongShape:
        return ""
