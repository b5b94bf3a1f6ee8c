"""What a provider's prompt cache is asked and expected to do, and why it did less (R5, R6, CRP 7.5)."""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

from tidegate.exchange.chat import Usage
from tidegate.exchange.context import CacheReport, TokenUse
from tidegate.wire.chat_parts import BREAKPOINT, VENDOR_MARK

MARKED: Final = frozenset({"anthropic_messages", "bedrock_converse"})
"""Dialects whose vendors cache what explicit breakpoints name."""
KEYED: Final = frozenset({"openai", "azure_openai", "azure_foundry"})
"""Vendors that take a ``prompt_cache_key``."""
LIVES: Final[dict[str, int]] = {"anthropic": 300, "bedrock": 300, "openai": 600, "azure_openai": 600, "gemini": 300}
"""Seconds a prefix stays warm after its last use; ``LIFE`` where nothing is known."""
LIFE: Final = 300
SMALLEST: Final[dict[str, int]] = {"anthropic": 1024, "bedrock": 1024, "openai": 1024, "gemini": 1024, "deepseek": 64}
"""Tokens of the shortest prefix that is cached; ``MINIMUM`` where nothing is known."""
MINIMUM: Final = 1024
ENOUGH: Final = 0.9
"""A cache that read this share of what was expected did its work: providers count in blocks."""


class Warm(NamedTuple):
    """What was last sent of a conversation: to whom, when (milliseconds), how many tokens of prefix, and digests of
    what stood in front."""

    provider: str
    model: str
    at: int
    tokens: int
    system: str
    tools: str
    epoch: str
    life: int = LIFE


def used(usage: Usage | None) -> TokenUse:
    """What the provider reports, as a version keeps it."""
    if usage is None:
        return TokenUse()
    return TokenUse(sent=usage.input, cached=usage.cache_read, written=usage.cache_write, output=usage.output)


def wants_marks(dialect: str, rename: dict[str, str], lacks: frozenset[str]) -> bool:
    """Are breakpoints set for a target of these words?"""
    if "cache" in lacks:
        return False
    return dialect in MARKED or rename.get(BREAKPOINT) == VENDOR_MARK


def cache_key(vendor: str, salt: bytes, lacks: frozenset[str]) -> str:
    """Names the conversation to a provider that routes by such a name: the same for all of its turns, of no other
    conversation and no other tenant, and nothing can be read from it. "" where none is taken."""
    if vendor not in KEYED or "cache" in lacks:
        return ""
    return sha256(b"prompt_cache_key\0" + salt).hexdigest()[:32]


def expected(last: Warm | None, now: Warm, stable: int) -> int:
    """Tokens that the provider should read from its cache: what was sent of the same epoch before, where it is still
    warm. *stable* is the prefix of this call."""
    if last is None or reason(last, now, stable):
        return 0
    return min(last.tokens, stable)


def reason(last: Warm | None, now: Warm, stable: int) -> str:
    """Why nothing should be read; "" where something should."""
    if last is None:
        return "unknown"
    if last.provider != now.provider:
        return "provider_changed"
    if last.model != now.model:
        return "model_changed"
    if last.tools != now.tools:
        return "tools_changed"
    if last.system != now.system:
        return "system_changed"
    if last.epoch != now.epoch:
        return "messages_changed"
    if now.at - last.at > last.life * 1000:
        return "ttl_elapsed"
    if min(last.tokens, stable) < SMALLEST.get(now.provider, MINIMUM):
        return "below_minimum"
    return ""


def report(last: Warm | None, now: Warm, stable: int, reported: int | None, divergent: str) -> CacheReport:
    """What is told of it. *divergent*: the first item that is not as it was sent before."""
    hoped = expected(last, now, stable)
    why = reason(last, now, stable) if last is not None else ""
    if not why and reported is not None and reported < ENOUGH * hoped:
        why = "unknown"
    return CacheReport(hoped, reported, why, divergent if why == "messages_changed" else "")
