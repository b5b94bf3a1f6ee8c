"""Usage of surfaces without a dialect of their own: embeddings, pictures, speech, ranking (LLM 6). Their answers pass
as bytes; here is read what they cost.

Counts come from a provider: nothing is believed that is not a whole number above zero (rule 8).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.exchange.chat import Usage

COUNT: Final = 1 << 53
SECONDS: Final = 1 << 31

decode = msgspec.json.Decoder().decode


def usage_of(kind: str, asked: dict[str, Any], body: bytes, content_type: str) -> Usage | None:
    """What *body* tells of a call of *kind* that asked *asked*; None when it tells nothing. Speech is billed by what
    was asked: the characters of its text."""
    if kind == "speech":
        text = asked.get("input")
        return Usage(characters=len(text)) if isinstance(text, str) else None
    if kind in ("moderations", "realtime_secrets"):
        return Usage()
    if "json" not in content_type:
        return None
    try:
        found = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return usage_in(kind, found) if isinstance(found, dict) else None


def usage_in(kind: str, answer: dict[str, Any]) -> Usage | None:
    """The same from an answer that has been read."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        usage = {}
    meta = answer.get("meta")
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    if not isinstance(billed, dict):
        billed = {}
    data = answer.get("data")
    images = len(data) if kind.startswith("images") and isinstance(data, list) else 0
    details = usage.get("input_tokens_details")
    image_in = count(details.get("image_tokens")) if isinstance(details, dict) else 0
    read = (
        count(usage.get("prompt_tokens"))
        or count(usage.get("input_tokens"))
        or count(billed.get("input_tokens"))
        or count(answer.get("prompt_eval_count"))
    )
    written = count(usage.get("completion_tokens")) or count(usage.get("output_tokens"))
    if not read and not written:
        read = count(usage.get("total_tokens"))
    seconds = usage.get("seconds", answer.get("duration"))
    ms = int(seconds * 1000) if isinstance(seconds, (int, float)) and 0 < seconds < SECONDS else 0
    searches = count(billed.get("search_units"))
    if not (read or written or images or ms or searches):
        return None
    return Usage(
        input=read,
        output=written,
        image_in=image_in,
        image_out=written if images else 0,
        images=images,
        ms_in=ms,
        searches=searches,
    )


def count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        return 0
    return min(int(value), COUNT)
