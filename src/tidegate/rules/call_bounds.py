"""The most that a call can use where its body alone does not tell (LLM 10): what a provider adds to it out of its own
store, and what is not counted in tokens of text."""

from __future__ import annotations

from typing import Any, Final

from tidegate.exchange.chat import Usage

UNSEEN: Final = ("previous_response_id", "conversation", "prompt", "cachedContent", "cached_content")
"""Members that stand for text which lies with the provider."""

WINDOW: Final = 200_000
"""Tokens that such a call is taken to read where nobody knows the model's window."""

PICTURE_OUT: Final = 8192
"""Tokens of one picture that is made: above the largest of any vendor."""

MOST_PICTURES: Final = 64

SOUND_BYTES: Final = 2000
"""Bytes of a recording that are a second at least: 16 kbit/s."""


def reads_unseen(members: dict[str, Any]) -> bool:
    """The call reads more than its body holds. A ``prompt`` is one by id; of old completions it is plain text."""
    for name in UNSEEN:
        value = members.get(name)
        if value and (name != "prompt" or isinstance(value, dict)):
            return True
    return False


def made(kind: str, members: dict[str, Any], size: int) -> tuple[int, Usage]:
    """(tokens, other counts) that a call of *kind* without a neutral form makes at most. *size*: bytes of its body."""
    if kind.startswith("images"):
        asked = members.get("n", 1)
        pictures = min(max(1, asked), MOST_PICTURES) if isinstance(asked, int) else 1
        return pictures * PICTURE_OUT, Usage(images=pictures)
    if kind == "speech":
        text = members.get("input")
        return size * 2, Usage(characters=len(text) if isinstance(text, str) else size)
    if kind in ("transcriptions", "translations"):
        return size // SOUND_BYTES * 8, Usage(ms_in=size * 1000 // SOUND_BYTES)
    if kind == "rerank":
        return 0, Usage(searches=1)
    return 0, Usage()
