"""Which origins may read an answer in a browser (S21.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_ORIGIN: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(\*\.)?(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?\Z"
)
_LABELS: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")
"""What a ``*`` may stand for: whole host labels and nothing else, or ``https://evil.example/.a.com`` would pass."""

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def check_origin(origin: str) -> str:
    """*origin* of a config as browsers write it (lower case, the scheme's own port left out), or ``ValueError``.

    ``*`` alone means any; ``https://*.a.com`` any depth below ``a.com``, not ``a.com`` itself; ``null`` is what
    sandboxed pages and files send.
    """
    if origin in ("*", "null"):
        return origin
    lower = origin.lower()
    if _ORIGIN.match(lower) is None:
        raise ValueError(f"{origin!r} is no origin: write scheme://host or scheme://host:port, without a path")
    port = _DEFAULT_PORTS.get(lower.partition(":")[0])
    return lower.removesuffix(port) if port else lower


def origin_test(origins: tuple[str, ...]) -> Callable[[str], bool]:
    """A test for the ``Origin`` field of a request, over *origins* that :func:`check_origin` has passed."""
    if "*" in origins:
        return lambda origin: True
    exact = frozenset(origin for origin in origins if "*" not in origin)
    wild: list[tuple[str, str]] = []
    for origin in origins:
        scheme, star, rest = origin.partition("*")
        if star:
            wild.append((scheme, rest))

    def allowed(origin: str) -> bool:
        if origin in exact:
            return True
        for scheme, rest in wild:
            if (
                origin.startswith(scheme)
                and origin.endswith(rest)
                and _LABELS.match(origin[len(scheme) : len(origin) - len(rest)]) is not None
            ):
                return True
        return False

    return allowed
