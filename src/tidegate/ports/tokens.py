"""The promise of a token counter: offline, quick, never a fetch (LLM 11)."""

from __future__ import annotations

from typing import Protocol


class Tokens(Protocol):
    """Counts text for a model's tokenizer. Special tokens are plain text."""

    def count(self, text: str, tokenizer: str = "") -> int:
        """Tokens of *text* for *tokenizer* (``o200k``, ``cl100k``; "" for the default). Called on any thread. The first
        time takes a second, so a loop calls it only where ``exact`` says yes; without ranks it is an estimate that
        errs high."""

    def exact(self, tokenizer: str = "") -> bool:
        """Whether ``count`` is exact now, and quick."""
