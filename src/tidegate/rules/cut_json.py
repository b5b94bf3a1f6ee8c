"""JSON that broke off on its way, closed where it ends, so that what came can be read (LLM 10). Nothing else."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 1 << 20
"""Bytes of a text that is mended."""

DEEPEST: Final = 256
"""Levels of a text that is mended."""

_TOKEN: Final = re.compile(
    rb'(?P<string>"(?:[^"\\]|\\.)*+")|(?P<open>[{\[])|(?P<close>[}\]])|(?P<comma>,)|(?P<colon>:)'
    rb'|(?P<cut>"(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*+)|(?P<plain>[^\s"{}\[\],:]+)',
    re.DOTALL,
)
_HALF_PAIR: Final = re.compile(rb"(?<!\\)\\u[dD][89abAB][0-9a-fA-F]{2}$")


def mended(body: bytes) -> bytes:
    """*body* up to its last whole value, or up to where its last text breaks off, as whole JSON; b"" for what is none
    or too long. A number at the end is left out: digits may be missing."""
    if len(body) > LONGEST:
        return b""
    closers = b""
    whole = b""
    end = 0
    names = False
    """A name comes next, not a value."""
    for token in _TOKEN.finditer(body):
        kind = token.lastgroup
        if kind == "open":
            opened = token[0] == b"{"
            closers = (b"}" if opened else b"]") + closers
            names = opened
            if len(closers) > DEEPEST:
                return b""
        elif kind == "close":
            if closers[:1] != token[0]:
                return b""
            closers = closers[1:]
            names = False
        elif kind == "comma":
            names = closers[:1] == b"}"
            end, whole = token.start(), closers
            continue
        elif kind == "colon":
            names = False
            continue
        elif kind == "cut":
            if not names:
                text = _HALF_PAIR.sub(b"", token[0]).decode("utf-8", "ignore").encode()
                return body[: token.start()] + text + b'"' + closers
            break
        elif kind == "plain" or names:
            continue
        end, whole = token.end(), closers
    return body[:end] + whole
