"""How many tokens a request is, counted here before anybody is asked (LLM 11).

A count is text through a tokenizer, plus what a vendor's template puts around turns and tools, plus media by rule. Also
here: the factor by which our counts of a model differ from what its vendor bills, learned from every answer.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from typing import Final

from tidegate.exchange.chat import (
    Audio,
    ChatRequest,
    Cited,
    File,
    Image,
    Media,
    Opaque,
    Part,
    Refusal,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Video,
)
from tidegate.wire.image_size import image_size

Count = Callable[[str], int]

PER_TURN: Final = 4
"""Role and marks around each turn."""
PER_REQUEST: Final = 3
"""What primes the answer."""
PER_TOOL: Final = 8
"""What a template puts around each tool's definition."""
TILE: Final = 512
"""Pixels of a side of one tile."""
PER_TILE: Final = 170
PER_IMAGE: Final = 85
"""Of every image, and all of one that is asked for in low detail."""
WORST_IMAGE: Final = PER_IMAGE + 8 * PER_TILE
"""Of an image whose size is not known: the most the tile rule gives."""
PER_SECOND: Final = 32
"""Of audio."""
AUDIO_BYTES: Final = 4_000
"""Bytes of compressed audio taken for a second when nothing else tells: 32 kbit/s, so the guess is high."""
PER_PAGE: Final = 1_500
"""Of a document: its text and its picture."""
PAGE_BYTES: Final = 20_000
"""Bytes of a PDF taken for a page: small pages, so the guess is high."""
PER_VIDEO: Final = 100_000
COUNTED: Final = 4 << 20
"""Characters of one call that are counted: above the longest window there is."""
SECONDS: Final = 0.5
"""For which one call is counted: a million characters of people take 0.1 s, and made to be slow ten times that."""
SLICE: Final = 1 << 16
"""Characters between two looks at the clock."""
HEAD: Final = 1 << 15
"""Base64 characters of an image that are looked at for its size."""


def count_request(request: ChatRequest, count: Count) -> int:
    """Tokens of *request*'s input; *count* counts text."""
    total = PER_REQUEST
    for message in request.messages:
        total += PER_TURN + (count(message.name) if message.name else 0)
        total += sum([count_part(part, count) for part in message.parts])
    for tool in request.tools:
        definition = tool.schema or tool.value
        total += PER_TOOL + count(tool.name) + count(tool.description) + count(definition.decode("utf-8", "replace"))
    if request.output is not None and request.output.schema:
        total += count(request.output.schema.decode("utf-8", "replace"))
    return total


def texts_of(request: ChatRequest) -> tuple[int, list[str]]:
    """(tokens of all in *request* that is no text, its texts): for who counts them elsewhere."""
    texts: list[str] = []

    def keep(text: str) -> int:
        texts.append(text)
        return 0

    return count_request(request, keep), texts


def count_texts(texts: Sequence[str], count: Count, clock: Callable[[], float], dense: bool) -> tuple[int, bool]:
    """(tokens of *texts*, whether all was counted). What is beyond ``COUNTED`` or ``SECONDS`` is taken for a token a
    byte, which it cannot exceed; or, where an estimate is wanted and no bound, for as *dense* as what was counted."""
    until = clock() + SECONDS
    left = COUNTED
    tokens = 0
    seen = 0
    rest = 0
    for text in texts:
        for at in range(0, len(text), SLICE):
            piece = text if len(text) <= SLICE else text[at : at + SLICE]
            if left > 0 and clock() < until:
                tokens += count(piece)
                left -= len(piece)
                seen += len(piece)
            else:
                rest += len(piece) if dense else len(piece.encode("utf-8", "surrogatepass"))
    if not rest:
        return tokens, True
    return tokens + (-(-rest * tokens // max(1, seen)) if dense else rest), False


def count_part(part: Part, count: Count) -> int:
    """Tokens of one part. What only its vendor can read counts as its bytes: more it cannot be."""
    if isinstance(part, (Text, Refusal, Thought, Cited)):
        return count(part.text)
    if isinstance(part, ToolCall):
        return PER_TOOL + count(part.name) + count(part.arguments)
    if isinstance(part, ToolResult):
        return PER_TOOL + sum([count_part(inner, count) for inner in part.parts])
    if isinstance(part, Image):
        return count_image(part)
    if isinstance(part, Audio):
        return PER_SECOND * (1 + _size(part) // AUDIO_BYTES)
    if isinstance(part, File):
        return count(part.text) if part.text else PER_PAGE * (1 + _size(part) // PAGE_BYTES)
    if isinstance(part, Video):
        return PER_VIDEO
    return len(part.value if isinstance(part, Opaque) else part.data)


def count_image(image: Image) -> int:
    """By tiles of 512 pixels, once the picture is shrunk to 2,048 and its short side to 768."""
    if image.detail == "low":
        return PER_IMAGE
    size = image_size(_begin(image.data)) if image.data else None
    if size is None:
        return WORST_IMAGE
    width, height = size
    longest, shortest = max(width, height), min(width, height)
    if longest > 2048:
        shortest, longest = max(1, shortest * 2048 // longest), 2048
    if shortest > 768:
        longest, shortest = longest * 768 // shortest, 768
    return PER_IMAGE + PER_TILE * -(-longest // TILE) * -(-shortest // TILE)


def _begin(data: bytes) -> bytes:
    """The first bytes of base64 text."""
    head = data[:HEAD]
    try:
        return binascii.a2b_base64(head[: len(head) // 4 * 4])
    except binascii.Error:
        return b""


def _size(media: Media) -> int:
    """Bytes of a medium that is here; 0 of one that is elsewhere."""
    return len(media.data) * 3 // 4


class LearnedFactor:
    """How much more, or less, a vendor bills for a model than we count: a moving average, within bounds."""

    __slots__ = ("value",)

    WEIGHT: Final = 0.1
    LEAST: Final = 0.5
    MOST: Final = 2.0

    def __init__(self) -> None:
        self.value: float = 1.0

    def learn(self, counted: int, billed: int) -> None:
        """An answer came: we had *counted* for its input what the vendor *billed*. Calls too small to tell are left
        out."""
        if counted < 16 or billed <= 0:
            return
        ratio = min(self.MOST, max(self.LEAST, billed / counted))
        self.value += self.WEIGHT * (ratio - self.value)

    def of(self, counted: int) -> int:
        """*counted* as the vendor will bill it."""
        return int(counted * self.value + 0.5)
