"""The promise of a token counter: offline, quick, never a fetch (LLM 11)."""

from __future__ import annotations

from typing import Protocol


class Tokens(Protocol):
    """Counts text for a model's tokenizer. Special tokens are plain text."""

    def count(self, text: str, tokenizer: str = "") -> int:
        """Tokens of *text* for *tokenizer* (``o200k``, ``cl100k``; "" for the default). While the ranks are not loaded
        yet, and for runs no person writes, it is an estimate that errs high."""

    def exact(self, tokenizer: str = "") -> bool:
        """Whether ``count`` is exact now, and not an estimate."""
