"""A provider that caches prompts exactly, judged by the bytes it received (CRP 12.4): prefixes in blocks of 128 tokens,
at least 1,024, forgotten five minutes after their last use. A token is four characters."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

CHARACTERS = 4
BLOCK = 128 * CHARACTERS
MINIMUM = 1024
LIFE = 300.0
READ, WRITE = 0.1, 1.25
"""Prices in units of a plain token."""


class PromptCache:
    """One provider's. Mutable: ``_blocks``, the chains it holds, each with the time of its last use."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, float] = {}

    def ask(self, body: bytes, now: float) -> tuple[int, int]:
        """(tokens of the prompt in *body*, tokens read from the cache)."""
        text = prompt_of(body)
        chain = b""
        hit, warm = 0, True
        for at in range(0, len(text) - BLOCK + 1, BLOCK):
            chain = blake2b(chain + text[at : at + BLOCK].encode(), digest_size=16).digest()
            last = self._blocks.get(chain)
            warm = warm and last is not None and now - last <= LIFE
            if warm:
                hit = (at + BLOCK) // CHARACTERS
            self._blocks[chain] = now
        return len(text) // CHARACTERS, hit if hit >= MINIMUM else 0


def prompt_of(body: bytes) -> str:
    """What the model reads, in its order: tools, system text, turns. Key order and numbers as they came; marks that
    only say where to cache are no part of it."""
    told = json.loads(body, parse_float=str)
    pieces = [told.get("tools"), told.get("system"), told.get("systemInstruction"), told.get("instructions")]
    pieces += told.get("messages") or told.get("input") or told.get("contents") or []
    return "".join([json.dumps(_unmarked(piece)) for piece in pieces if piece is not None])


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unmarked(inner) for name, inner in value.items() if name != "cache_control"}
    return [_unmarked(inner) for inner in value] if isinstance(value, list) else value


def cost(tokens: int, cached: int) -> float:
    """Units of one prompt."""
    return cached * READ + (tokens - cached) * WRITE
