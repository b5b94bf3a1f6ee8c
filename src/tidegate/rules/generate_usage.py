"""Usage in Gemini's words, both ways (LLM 5.9): thoughts stand beside candidates, tool prompts beside prompts."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from tidegate.exchange.chat import Usage
from tidegate.wire.json_object import WrongShape, count, is_array, is_object, is_string, items, members, string

SEARCH: Final = "google_search"

_TRAFFIC: Final = {
    "ON_DEMAND": "standard", "ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority",
}  # fmt: skip
_IN: Final = {"AUDIO": "audio_in", "IMAGE": "image_in", "VIDEO": "video_in"}
_OUT: Final = {"AUDIO": "audio_out", "IMAGE": "image_out"}


class _Detail(msgspec.Struct, rename="camel"):
    modality: str
    token_count: int = 0


class _Told(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    candidates_token_count: int = 0
    cached_content_token_count: int = 0
    thoughts_token_count: int = 0
    prompt_tokens_details: list[_Detail] = []
    tool_use_prompt_tokens_details: list[_Detail] = []
    candidates_tokens_details: list[_Detail] = []
    service_tier: str = ""
    traffic_type: str = ""


_told: Final = msgspec.json.Decoder(_Told).decode
_MOST: Final = 1 << 53


def _bounded(tokens: int) -> int:
    return 0 if tokens < 0 else min(tokens, _MOST)


def _read_plain(raw: bytes) -> Usage:
    """Usage in the vendor's own shape, as nearly every event has it; anything else raises ``DecodeError``."""
    told = _told(raw)
    thinking = _bounded(told.thoughts_token_count)
    modal: dict[str, int] = {}
    for details, fields in (
        (told.prompt_tokens_details, _IN), (told.tool_use_prompt_tokens_details, _IN),
        (told.candidates_tokens_details, _OUT),
    ):  # fmt: skip
        for detail in details:
            field = fields.get(detail.modality.upper())
            if field is not None:
                modal[field] = modal.get(field, 0) + _bounded(detail.token_count)
    usage = Usage(
        input=_bounded(told.prompt_token_count) + _bounded(told.tool_use_prompt_token_count),
        output=_bounded(told.candidates_token_count) + thinking,
        cache_read=_bounded(told.cached_content_token_count),
        thinking=thinking,
        tier=told.service_tier.lower() or _TRAFFIC.get(told.traffic_type, ""),
    )
    return replace(usage, **modal) if modal else usage


def read_usage(raw: bytes, renamed: dict[str, str]) -> Usage | None:
    """``usageMetadata`` as a ``Usage``; None for what is no object. What is missing, negative or no number counts as 0
    (rule 8). *renamed*: member of this vendor -> neutral field."""
    if not is_object(raw):
        return None
    if not renamed:
        try:
            return _read_plain(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
    try:
        found = members(raw)
    except WrongShape:
        return None
    thinking = count(found.get("thoughtsTokenCount"))
    usage = Usage(
        input=count(found.get("promptTokenCount")) + count(found.get("toolUsePromptTokenCount")),
        output=count(found.get("candidatesTokenCount")) + thinking,
        cache_read=count(found.get("cachedContentTokenCount")),
        thinking=thinking,
        tier=_tier(found),
    )
    told: dict[str, int] = {}
    for name, fields in (
        ("promptTokensDetails", _IN), ("toolUsePromptTokensDetails", _IN), ("candidatesTokensDetails", _OUT),
    ):  # fmt: skip
        for modality, tokens in _details(found.get(name)):
            field = fields.get(modality)
            if field is not None:
                told[field] = told.get(field, 0) + tokens
    for name, field in renamed.items():
        if name in found:
            told[field] = count(found[name])
    return replace(usage, **told) if told else usage


def _tier(found: dict[str, bytes]) -> str:
    for name in ("serviceTier", "trafficType"):
        value = found.get(name, b"")
        if is_string(value):
            try:
                word = string(value)
            except WrongShape:
                continue
            return _TRAFFIC.get(word, "") if name == "trafficType" else word.lower()
    return ""


def _details(raw: bytes | None) -> list[tuple[str, int]]:
    if raw is None or not is_array(raw):
        return []
    try:
        found = [members(one) for one in items(raw)]
        return [(string(one["modality"]).upper(), count(one.get("tokenCount"))) for one in found if "modality" in one]
    except WrongShape:
        return []


def usage_object(usage: Usage) -> dict[str, object]:
    """*usage* as a client of this dialect reads it."""
    written: dict[str, object] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": max(0, usage.output - usage.thinking),
        "totalTokenCount": usage.input + usage.output,
    }
    if usage.cache_read:
        written["cachedContentTokenCount"] = usage.cache_read
    if usage.thinking:
        written["thoughtsTokenCount"] = usage.thinking
    for name, fields in (("promptTokensDetails", _IN), ("candidatesTokensDetails", _OUT)):
        told = [
            {"modality": modality, "tokenCount": getattr(usage, field)}
            for modality, field in fields.items()
            if getattr(usage, field)
        ]
        if told:
            written[name] = told
    return written
