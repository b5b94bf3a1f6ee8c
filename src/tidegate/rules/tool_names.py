"""Names of tools where a vendor's alphabet is narrower than the client's (LLM 5.4). Reversible within a request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tidegate.exchange.fault import CLIENT, Fault

_ALLOWED: Final = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_OTHERS: Final = re.compile(r"[^A-Za-z0-9_-]").sub


def name_aliases(names: Iterable[str], limit: int = 64) -> dict[str, str]:
    """Name -> alias for those of *names* that do not fit ``[A-Za-z0-9_-]{1,limit}``. Two names that would become one
    are ``invalid_request``: the model could not tell them apart."""
    taken: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in names:
        alias = name
        if not _ALLOWED(name) or len(name) > limit:
            alias = _OTHERS("_", name)[:limit] or "_"
            found[name] = alias
        if taken.setdefault(alias, name) != name:
            raise Fault(
                "invalid_request", f"The tools {taken[alias]!r} and {name!r} look alike to this model.", side=CLIENT
            )
    return found
