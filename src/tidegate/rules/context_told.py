"""What a client is told of its conversation: the ``context`` object in its dialect's answer, fields, errors (CRP 3.3 to
3.7)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from tidegate.exchange.context import Elided, Receipt, TokenUse
from tidegate.exchange.context_ids import conversation_id
from tidegate.wire.json_splice import replaced, spans, with_member

ENTRIES: Final = 256
"""Of ``elided`` and ``recalled``; then a count (CRP 14)."""

RESPONSES: Final = "openai_responses"

CODES: Final = frozenset({
    "invalid_body", "context_ambiguous", "unsupported_level", "level_mismatch", "unsupported_protocol",
    "previous_response_not_found", "conversation_locked", "context_not_found", "version_not_found",
    "template_not_found", "context_expired", "context_deleted", "redacted", "context_conflict", "turn_in_progress",
    "history_diverged", "merge_conflict", "precondition_failed", "parent_required", "too_large", "ratio_exceeded",
    "context_full", "context_overflow", "unsupported_encoding", "dictionary_unknown", "delta_invalid",
    "idempotency_mismatch", "history_resent", "slot_missing", "policy_forbidden", "store_unavailable",
    "entry_version_unsupported", "commit_failed",
})  # fmt: skip
"""Those that CRP 3.7 has told in the envelope of any dialect."""

SPELLING: Final[dict[str, str]] = {"context_full": "quota_exceeded"}
"""Code -> as it is told, where ours means more."""

_write: Final = msgspec.json.Encoder().encode
_DATA: Final = b"data: "


def context_object(receipt: Receipt, returned: Literal["none", "minimal", "full"]) -> bytes:
    """The ``context`` member of an answer, b"" where the client wants none."""
    if returned == "none":
        return b""
    told: dict[str, Any] = {"id": receipt.id or None, "version": receipt.version or None}
    if receipt.parent:
        told["parent"] = receipt.parent
    told["branch"] = receipt.branch
    told["status"] = receipt.status
    told["level"] = receipt.level
    if receipt.degraded:
        told["degraded"] = True
    if receipt.replayed:
        told["replayed"] = True
    if returned == "full":
        if receipt.digest:
            told["digest"] = "sha256:" + receipt.digest.hex()
        told["usage"] = use_object(receipt.use)
        told["elided"] = [elided_object(one) for one in receipt.elided[:ENTRIES]]
        if len(receipt.elided) > ENTRIES:
            told["elided_more"] = len(receipt.elided) - ENTRIES
        told["recalled"] = list(receipt.recalled[:ENTRIES])
        if len(receipt.recalled) > ENTRIES:
            told["recalled_more"] = len(receipt.recalled) - ENTRIES
        cache = receipt.cache
        if cache is not None:
            told["cache"] = {
                "expected": cache.expected, "reported": cache.reported, "reason": cache.reason or None,
                "first_divergent_item": cache.first_divergent_item or None,
            }  # fmt: skip
    if receipt.warnings or returned == "full":
        told["warnings"] = list(receipt.warnings)
    return _write(told)


def use_object(use: TokenUse) -> dict[str, int]:
    return {
        "sent": use.sent, "cached": use.cached, "cached_expected": use.cached_expected, "written": use.written,
        "saved": use.saved, "output": use.output,
    }  # fmt: skip


def elided_object(one: Elided) -> dict[str, Any]:
    return {"id": one.id, "type": one.type, "tokens": one.tokens, "as": one.way, "reason": one.reason}


def usage_field(receipt: Receipt, micros: int, *, estimated: bool) -> str:
    """``Context-Usage``: a structured dictionary of integers. *micros*: what the repository took so far; *estimated*:
    nothing of it is reported yet, as in the head of a stream."""
    use = receipt.use
    cached = use.cached_expected if estimated else use.cached
    text = f"sent={use.sent}, cached={cached}, saved={use.saved}, elided={len(receipt.elided)}, repo-us={micros}"
    return text + ", est" if estimated else text


def with_context(dialect: str, body: bytes, told: bytes, context: str) -> bytes:
    """A whole answer with the ``context`` object *told* in it; of a response also the conversation it belongs to."""
    if dialect == RESPONSES and context:
        body = with_member(body, "conversation", b'{"id":"%b"}' % conversation_id(context).encode())
    return with_member(body, "context", told) if told else body


def with_context_event(dialect: str, events: bytes, told: bytes, context: str) -> bytes:
    """The held *events* of a stream (SSE) with *told* in the one that ends the answer: on chat the chunk with a
    ``finish_reason``, on Responses the ``response`` of its last event, on Messages ``message_delta``; elsewhere the
    last event that is an object."""
    start, end = _ending(dialect, events)
    if start < 0:
        return events
    data = events[start:end]
    if dialect == RESPONSES:
        span = spans(data, ("response",)).get("response")
        if span is None:
            return events
        data = replaced(data, [(*span, with_context(dialect, data[span[0] : span[1]], told, context))])
    else:
        data = with_context(dialect, data, told, context)
    return events[:start] + data + events[end:]


def _ending(dialect: str, events: bytes) -> tuple[int, int]:
    """Where the object lies that ends the answer; (-1, -1) for none."""
    word = {"openai_chat": b'"finish_reason":"', "anthropic_messages": b'"type":"message_delta"'}.get(dialect, b"")
    end = len(events)
    while end > 0:
        start = events.rfind(_DATA + b"{", 0, end)
        if start < 0:
            break
        start += len(_DATA)
        stop = events.index(b"\n", start)
        if word in events[start:stop]:
            return start, stop
        end = start - len(_DATA)
    return -1, -1


def with_details(body: bytes, details: dict[str, object]) -> bytes:
    """The body of an error with what CRP adds (``context``, ``errors`` ...) under ``error``, whatever its dialect; as
    it is where there is no such object."""
    span = spans(body, ("error",)).get("error")
    if span is None or body[span[0] : span[0] + 1] != b"{":
        return body
    error = body[span[0] : span[1]]
    for name, value in details.items():
        error = with_member(error, name, _write(value))
    return replaced(body, [(*span, error)])


def with_code(dialect: str, events: bytes, code: str) -> bytes:
    """The events that end a broken stream, with CRP's *code* in their error, where the dialect has a word of its own
    instead."""
    start = events.rfind(_DATA + b"{")
    if start < 0:
        return events
    start += len(_DATA)
    end = events.index(b"\n", start)
    data = events[start:end]
    if dialect == RESPONSES:
        span = spans(data, ("response",)).get("response")
        if span is None:
            return events
        data = replaced(data, [(*span, coded(data[span[0] : span[1]], code))])
    else:
        data = coded(data, code)
    return events[:start] + data + events[end:]


def coded(body: bytes, code: str) -> bytes:
    """The body of an error, *code* of CRP in it as ``error.code``, whatever its dialect."""
    code = SPELLING.get(code, code)
    span = spans(body, ("error",)).get("error")
    if span is None or body[span[0] : span[0] + 1] != b"{":
        return body
    error = body[span[0] : span[1]]
    known = spans(error, ("code",)).get("code")
    if known is not None and error[known[0] : known[0] + 1].isdigit():
        error = with_member(error, "context_code", _write(code))  # a status stands there, and SDKs count on it
    elif known is not None:
        error = replaced(error, [(*known, _write(code))])
    else:
        error = with_member(error, "code", _write(code))
    return replaced(body, [(*span, error)])
