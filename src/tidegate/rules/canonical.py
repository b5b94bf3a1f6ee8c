"""One canonical value for path, host and query values: computed once, used by every stage (S4.7, S4.9-S4.11).

Reject, do not repair: what two readers may read differently is refused, so routing, authentication, limits, logs and
the upstream all see the same string.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from tidegate.exchange.fault import CLIENT, Fault

ENCODED_SLASH: Final = 1
"""The path contains ``%2F``: only for routes with ``encoded_slash``."""
PATH_PARAMS: Final = 2
"""The path contains ``;``: only for routes with ``path_params``."""

# Everything S4.9 lets pass as it is. Escapes, ``;``, empty and dot segments go to the slower reading.
_PLAIN: Final = re.compile(r"/[A-Za-z0-9\-._~/!$&'()*+,=:@\[\]{}|^`]*+").fullmatch
_VISIBLE: Final = re.compile(r"/(?:[A-Za-z0-9\-._~/!$&'()*+,=:@\[\]{}|^`;]|%[0-9A-Fa-f]{2})*+").fullmatch
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_SLASHES: Final = re.compile(r"//+")
_SEGMENTS: Final = re.compile(r"/|%2F")
_ABSOLUTE: Final = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]++)([^?#]*+)(?:\?([^#]*+))?").fullmatch
_HOST: Final = re.compile(r"([A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)\.?(?::([1-9][0-9]{0,4}))?").fullmatch
_HOST_V6: Final = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::([1-9][0-9]{0,4}))?").fullmatch
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def split_target(target: str, method: str) -> tuple[str, str, str]:
    """(authority, raw path, query) of a request target; the authority is "" unless the form is absolute.

    The asterisk form comes back as the path ``*`` and is for OPTIONS only (S2.2). Raises ``bad_request``.
    """
    if target[:1] == "/":
        if "#" in target:
            raise _refuse("The request target has a fragment.")
        path, _, query = target.partition("?")
        return "", path, query
    if target == "*" and method == "OPTIONS":
        return "", "*", ""
    match = _ABSOLUTE(target)
    if match is None:
        raise _refuse("The request target is neither a path nor an absolute URL.")
    return match[1], match[2] or "/", match[3] or ""


def canonical_path(target_path: str, merge_slashes: bool = False) -> tuple[str, int]:
    """The path every stage sees, and the flags ``ENCODED_SLASH`` and ``PATH_PARAMS`` (S4.9).

    Unreserved escapes are decoded, the hex digits of others upper-cased. A route that does not allow a flagged
    construct answers 400 ``ambiguous_path``. Raises ``ambiguous_path``, or ``bad_request`` for bytes that may not be
    in a target at all.
    """
    if _PLAIN(target_path) is not None and "//" not in target_path and "/." not in target_path:
        return target_path, 0
    return _read_path(target_path, merge_slashes)


def _read_path(path: str, merge_slashes: bool) -> tuple[str, int]:
    if _VISIBLE(path) is None:
        raise _refuse("The path contains a byte or an escape that may not be there.")
    if "%" in path:
        path = _decode_unreserved(path)
    if merge_slashes:
        path = _SLASHES.sub("/", path)
    elif "//" in path:
        raise _ambiguous("The path has an empty segment.")
    flags = (ENCODED_SLASH if "%2F" in path else 0) | (PATH_PARAMS if ";" in path else 0)
    for segment in _SEGMENTS.split(path):
        name, params, _ = segment.partition(";")
        # A reader that cuts parameters off, or decodes the slash, must not find a dot segment either (S4.10).
        if name == "." or name == ".." or (params and not name):
            raise _ambiguous("The path has a dot segment.")
    return path, flags


def _decode_unreserved(path: str) -> str:
    """*path* with unreserved escapes decoded and the others in upper case; refuses what hides in escapes."""
    parts = _ESCAPE.split(path)
    wide = False
    for i in range(1, len(parts), 2):
        code = int(parts[i], 16)
        if code < 0x20 or code == 0x7F or code == 0x5C:
            raise _ambiguous("The path has an escaped control character or backslash.")
        if code >= 0x80:
            wide = True
        character = chr(code)
        parts[i] = character if character in _UNRESERVED else "%" + parts[i].upper()
    decoded = "".join(parts)
    if wide and unescape(decoded) is None:
        raise _ambiguous("The path is not valid UTF-8.")
    return decoded


def without_params(path: str) -> str:
    """The canonical *path* with the parameters of every segment cut out: if another route matches it, the request is
    refused even where ``;`` is allowed (S4.10)."""
    return re.sub(r";[^/]*+", "", path) if ";" in path else path


def unescape(text: str) -> str | None:
    """*text* with every ``%XX`` decoded as UTF-8, or None when an escape or the UTF-8 is malformed."""
    if "%" not in text:
        return text
    parts = _ESCAPE.split(text)
    decoded = bytearray()
    for i, part in enumerate(parts):
        if i & 1:
            decoded.append(int(part, 16))
        elif "%" in part:
            return None
        else:
            decoded += part.encode("utf-8")
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError:
        return None


def query_value(query: str, name: str) -> str | None:
    """The first value of *name* in the raw *query*, decoded (S4.11); None when it is absent or badly escaped."""
    if not query:
        return None
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name or (("%" in key or "+" in key) and unescape(key.replace("+", " ")) == name):
            return unescape(value.replace("+", " "))
    return None


@lru_cache(maxsize=1024)
def canonical_host(value: str) -> tuple[str, int]:
    """(host, port) of a Host field or authority: lower case, one trailing dot dropped, port 0 when none is given.

    IPv6 literals keep their brackets and come in their shortest form. Raises ``bad_request`` (S4.7).
    """
    match = _HOST(value)
    if match is not None:
        host = match[1].lower()
        if len(host) <= 253 and ".." not in host and (len(host) < 64 or max(map(len, host.split("."))) < 64):
            return host, _port(match[2])
    match = _HOST_V6(value)
    if match is not None:
        try:
            return f"[{IPv6Address(match[1]).compressed}]", _port(match[2])
        except AddressValueError:
            pass
    raise _refuse("The Host field is malformed.")


def _port(digits: str | None) -> int:
    port = int(digits) if digits else 0
    if port > 65535:
        raise _refuse("The port in the Host field is too large.")
    return port


def _refuse(detail: str) -> Fault:
    return Fault("bad_request", detail, reason="bad_framing", side=CLIENT, close=True)


def _ambiguous(detail: str) -> Fault:
    return Fault("ambiguous_path", detail, side=CLIENT)
