"""One reading of a JSON body, with bounds that are checked before anything is built (S3.5, RELIABILITY P5, P6).

Bounds are looked for in what is left without the strings, at the speed of C. A decoder that lets the last of two equal
keys win is good enough where as many keys come out as colons went in.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from math import isinf
from typing import Any, Final, NoReturn

import msgspec

from tidegate.exchange.fault import CLIENT, Fault

_fast = msgspec.json.Decoder(Any).decode
_LONG: Final = b"0" * 17
"""Digits in a row from which on readers may differ over a number."""

_NUMBER: Final = re.compile(rb"[0-9.eE+\-]++").finditer
_SURROGATES: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
).finditer
_NOT_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_OPENING: Final = frozenset(b"[{")
_SHAPE: Final = bytes(
    0x30 if c in b"0123456789" else 0x65 if c in b"eE" else 0x2B if c == 0x2B else 0x20 for c in range(256)
)
"""Maps a body to the outline of its numbers: every digit a 0, every exponent an e."""


def scan(body: bytes, *, max_size: int = 1 << 20, depth: int = 64, keys: int = 10_000, digits: int = 400) -> Any:
    """The value in *body*, or the Fault that says why it has more than one reading or is too much.

    max_size  bytes; more is ``body_too_large``
    depth     arrays and objects inside one another; more is ``depth_exceeded``
    keys      per object; more is ``too_many_keys`` (422)
    digits    characters of one number; more is ``invalid_json``

    Also ``invalid_json``: what RFC 8259 forbids, anything but UTF-8, a byte order mark, lone surrogates, numbers that
    overflow to infinity. ``duplicate_key``: a key twice in one object, compared after unescaping.
    """
    if len(body) > max_size:
        raise Fault("body_too_large", side=CLIENT, close=True)
    if body[:3] == b"\xef\xbb\xbf":
        raise _invalid("A byte order mark is not part of JSON.")
    bare = _without_strings(body)
    if bare.count(b"[") + bare.count(b"{") > depth:
        _check_depth(bare, depth)
    shape = bare.translate(_SHAPE)
    # A number of more than 400 characters has a run of digits at least a third as long.
    if b"0" * (digits // 3) in shape:
        _check_numbers(bare, digits)
    colons = bare.count(b":")
    if colons <= keys and _LONG not in shape and b"0e" not in shape:
        try:
            found = _fast(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = None
        if found is not None and _keys_in(found) == colons:
            return found
    return _carefully(body, keys)


def _carefully(body: bytes, keys: int) -> Any:
    """Every pair is seen, every number is weighed: for what the fast way cannot tell, and to say what is wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("The body is not UTF-8.") from None
    if "\\u" in text:
        _check_surrogates(text)
    shape = body.translate(_SHAPE)
    if body.count(b":") > keys:
        decoder = _counting(keys)
    elif b"0e00" in shape or b"0e+00" in shape or b"0" * 300 in shape:
        decoder = _CAREFUL
    else:
        decoder = _PLAIN
    try:
        return decoder.decode(text)
    except ValueError:
        raise _invalid("The body is not valid JSON.") from None


def _keys_in(value: Any) -> int:
    """Keys of all objects in *value*."""
    count = 0
    holders: list[Any] = [value]
    for holder in holders:
        if isinstance(holder, dict):
            count += len(holder)
            for item in holder.values():
                if isinstance(item, (dict, list)):
                    holders.append(item)
        elif isinstance(holder, list):
            for item in holder:
                if isinstance(item, (dict, list)):
                    holders.append(item)
    return count


def _without_strings(body: bytes) -> bytes:
    """*body* with every string cut out; for a body that is not JSON, whatever is left is refused by the parser."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b" ".join(body.split(b'"')[::2])


def _check_depth(bare: bytes, limit: int) -> None:
    depth = 0
    for byte in bare.translate(None, _NOT_BRACKETS):
        if byte in _OPENING:
            depth += 1
            if depth > limit:
                raise Fault("depth_exceeded", side=CLIENT)
        else:
            depth -= 1


def _check_numbers(bare: bytes, limit: int) -> None:
    for match in _NUMBER(bare):
        if match.end() - match.start() > limit:
            raise _invalid("A number has too many digits.")


def _check_surrogates(text: str) -> None:
    for match in _SURROGATES(text):
        if match[1] is not None:
            raise _invalid("A string has half a surrogate pair.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Fault("duplicate_key", side=CLIENT)
    return found


def _finite(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise _invalid("A number is too large.")
    return value


def _whole(digits: str) -> int:
    # Another reader takes integers for doubles: one that overflows there has two readings.
    _finite(digits)
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise _invalid("NaN and Infinity are not JSON.")


def _counting(keys: int) -> JSONDecoder:
    def bounded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) > keys:
            raise Fault("too_many_keys", side=CLIENT)
        return _object(pairs)

    return JSONDecoder(object_pairs_hook=bounded, parse_constant=_constant, parse_float=_finite, parse_int=_whole)


def _invalid(detail: str) -> Fault:
    return Fault("invalid_json", detail, side=CLIENT)


_PLAIN: Final = JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_CAREFUL: Final = JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite, parse_int=_whole
)
