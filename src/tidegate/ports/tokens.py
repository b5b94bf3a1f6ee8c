"""The promise of a token counter: offline, never a fetch (LLM 11)."""

from __future__ import annotations

from typing import Protocol


class Tokens(Protocol):
    """Counts text for a model's tokenizer. Special tokens are plain text."""

    def count(self, text: str, tokenizer: str = "") -> int:
        """Tokens of *text* for *tokenizer* (``o200k``, ``cl100k``; "" for the default); an estimate that errs high
        where its ranks cannot be had. Waits: never called by a loop. The first time takes a second."""
