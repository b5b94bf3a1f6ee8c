"""What the upstream is asked instead of what the client asked: path, query and host (S5.7).

Every result is checked as if a client had sent it, so no rewrite brings in what the door would have refused.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote_from_bytes

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.canonical import ENCODED_SLASH, PATH_PARAMS, canonical_host, canonical_path, unescape
from tidegate.rules.field_template import BadValue, FieldTemplate

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9\-._~/!$&'()*+,=:@%]|%(?![0-9A-Fa-f]{2})")
"""What an inserted value may not bring into a path as it is. A value may hold escapes: captures of several segments
come with theirs."""


def swap_prefix(path: str, old: str, new: str) -> str | None:
    """*path* with the whole segments of *old* replaced by *new* (S5.3), or None when it is not under *old*.

    Neither *old* nor *new* ends in ``/`` (so ``/`` itself is ""); the result begins with one.
    """
    if not path.startswith(old):
        return None
    rest = path[len(old) :]
    if rest and rest[0] != "/":
        return None
    # /old and /old/ both stand for the new prefix itself; the slash of the second one is kept where it says something.
    return new + rest or "/"


def checked_path(path: str, came: str) -> str:
    """*path* in canonical form. Raises ``ambiguous_path`` when it is none, or brings in an encoded slash or parameters
    that *came*, the path of the request, did not have."""
    try:
        canonical, flags = canonical_path(path)
    except Fault:
        raise _bad_path() from None
    if (flags & ENCODED_SLASH and "%2F" not in came) or (flags & PATH_PARAMS and ";" not in came):
        raise _bad_path()
    return canonical


def rendered_path(template: FieldTemplate, x: Exchange) -> str:
    """The path that *template* makes of *x*. Raises ``ambiguous_path``."""
    try:
        return checked_path(template.render_with(_into_path, x), x.path)
    except BadValue:
        raise _bad_path() from None


def rendered_host(template: FieldTemplate, x: Exchange) -> str:
    """The host that *template* makes of *x*, as S4.7 reads one, with its port if it has one. Raises ``bad_request``."""
    try:
        host, port = canonical_host(template.render(x))
    except (BadValue, Fault):
        raise Fault("bad_request", "The rewritten host is not a valid one.", side=CLIENT) from None
    return f"{host}:{port}" if port else host


def query_without(query: str, names: frozenset[str]) -> str:
    """*query* without the pairs named, the others byte for byte as they were (S4.11)."""
    if not query:
        return query
    return "&".join([pair for pair in query.split("&") if _key(pair) not in names])


def query_with(query: str, name: str, value: str) -> str:
    """*query* with one more pair. *value* is latin-1 text as heads have it; both are escaped."""
    pair = f"{quote_from_bytes(name.encode('utf-8'), '')}={quote_from_bytes(value.encode('latin-1'), '')}"
    return f"{query}&{pair}" if query else pair


def _key(pair: str) -> str | None:
    return unescape(pair.partition("=")[0].replace("+", " "))


def _into_path(value: str, name: str) -> str:
    if "/" in value and name != "path" and not name.startswith("capture."):
        raise BadValue(f"The value {name} would add segments to the path.")
    return _UNSAFE.sub(_escaped, value) if _UNSAFE.search(value) is not None else value


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode("latin-1"))


def _bad_path() -> Fault:
    return Fault("ambiguous_path", "The rewritten path is not a valid one.", side=CLIENT)
