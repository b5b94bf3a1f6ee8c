"""Which content coding a client would like best (RFC 9110 12.5.3, S20.1)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_ITEM: Final = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?\Z"
)
_ALIASES: Final = {"x-gzip": "gzip"}
_MOST: Final = 32
"""Codings read from one field. Browsers send four."""


@lru_cache(maxsize=512)
def best_coding(accept: str, offered: tuple[str, ...]) -> str:
    """The coding of *offered* (best first) that *accept*, the value of ``Accept-Encoding``, likes best, or "".

    The highest q wins, then the order of *offered*. ``identity`` written with a higher q than every coding offered
    wins over them. What is malformed is not there. A client that refuses everything, ``identity`` too, gets "" (S20.2).
    """
    wanted: dict[str, float] = {}
    for item in accept.split(",", _MOST)[:_MOST]:
        match = _ITEM.match(item)
        if match is not None:
            name = match.group(1).lower()
            wanted[_ALIASES.get(name, name)] = float(match.group(2) or 1.0)
    other = wanted.get("*", 0.0)
    best, best_q = "", wanted.get("identity", 0.0)
    for name in offered:
        q = wanted.get(name, other)
        if q > 0.0 and (q > best_q or (not best and q == best_q)):
            best, best_q = name, q
    return best
