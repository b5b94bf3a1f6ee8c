"""One object of a JSON body read member by member: what nobody looks into stays bytes (LLM 3, 4).

Bodies came through the gate (``wire/json_scan``) or from a provider within the bounds of an answer. Every function
raises :class:`WrongShape` with the path of the member; the dialect turns it into a Fault of the right side.
"""

from __future__ import annotations

import msgspec

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_integer = msgspec.json.Decoder(int).decode
_number = msgspec.json.Decoder(float).decode
_flag = msgspec.json.Decoder(bool).decode
_strings = msgspec.json.Decoder(list[str]).decode

NULL = b"null"


class WrongShape(Exception):
    """The JSON is valid but not what the dialect writes here. ``path``: ``messages[2].content``; ``wanted``: a word."""

    def __init__(self, path: str, wanted: str) -> None:
        super().__init__(path, wanted)
        self.path = path
        self.wanted = wanted

    def __str__(self) -> str:
        return f"{self.path or 'The body'} must be {self.wanted}."


def members(raw: bytes, path: str = "") -> dict[str, bytes]:
    """Name -> value as bytes, in order."""
    try:
        return {name: bytes(value) for name, value in _object(raw).items()}
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise WrongShape(path, "an object") from None


def objects(raw: bytes, path: str = "") -> dict[str, bytes]:
    """As ``members``; each value is an object."""
    found = members(raw, path)
    for name, value in found.items():
        if not is_object(value):
            raise WrongShape(f"{path}.{name}", "an object")
    return found


def items(raw: bytes, path: str = "") -> list[bytes]:
    """The elements of an array as bytes."""
    try:
        return [bytes(item) for item in _array(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise WrongShape(path, "an array") from None


def string(raw: bytes, path: str = "") -> str:
    try:
        return _string(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise WrongShape(path, "a string") from None


def strings(raw: bytes, path: str = "") -> list[str]:
    try:
        return _strings(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise WrongShape(path, "an array of strings") from None


def integer(raw: bytes, path: str = "") -> int:
    """A whole number (``3.0`` is one)."""
    try:
        return _integer(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        found = _number(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = 0.5
    if found != int(found):
        raise WrongShape(path, "a whole number")
    return int(found)


def number(raw: bytes, path: str = "") -> float:
    try:
        return _number(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise WrongShape(path, "a number") from None


def flag(raw: bytes, path: str = "") -> bool:
    try:
        return _flag(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise WrongShape(path, "true or false") from None


def is_string(raw: bytes) -> bool:
    """The value is a string, judged by its first byte."""
    return raw[:1] == b'"'


def is_object(raw: bytes) -> bool:
    return raw[:1] == b"{"


def is_array(raw: bytes) -> bool:
    return raw[:1] == b"["


def count(value: bytes | None) -> int:
    """A count told by an upstream: 0 for what is missing, null, negative or no number at all (rule 8); bounded."""
    if not value:
        return 0
    try:
        found = _number(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
    return min(int(found), 1 << 53) if found > 0 else 0


raw_of = msgspec.Raw
"""Puts bytes that are JSON already into a value that ``encode`` writes."""

encode = msgspec.json.encode
