"""``data:`` URLs (RFC 2397) as chat dialects use them: media type and base64, moved and never decoded (LLM 5.3)."""

from __future__ import annotations

from typing import Final

_SCHEME: Final = "data:"
_BASE64: Final = ";base64"


def split_data_url(url: str) -> tuple[str, bytes] | None:
    """(media type, base64) of a base64 ``data:`` URL; None for any other URL. Parameters of the type are dropped."""
    if url[:5].lower() != _SCHEME:
        return None
    head, comma, data = url[5:].partition(",")
    if not comma or not head.lower().endswith(_BASE64) or not data.isascii():
        return None
    return head[: -len(_BASE64)].partition(";")[0], data.encode()


def data_url(mime: str, data: bytes) -> str:
    """The URL that holds *data*, which is base64 already."""
    return f"data:{mime or 'application/octet-stream'};base64,{data.decode('latin-1')}"
