"""Structured fields (RFC 9651), as far as signatures and digests need them: dictionaries of items and inner lists with
parameters; strings, tokens, integers, booleans and byte sequences. Strict: what the grammar does not say, decimals,
dates and a key that comes twice are a ``ValueError``."""

from __future__ import annotations

import base64
import re
from typing import Final, NamedTuple

MOST: Final = 64
"""Members, items of a list and parameters each; real fields have a handful."""


class Token(NamedTuple):
    """A bare word, told from a string."""

    text: str


Bare = str | int | bool | bytes | Token
Params = dict[str, Bare]


class Item(NamedTuple):
    value: Bare
    params: Params


class InnerList(NamedTuple):
    items: list[Item]
    params: Params


Member = Item | InnerList

_KEY: Final = re.compile(r"[a-z*][a-z0-9_.*-]*")
_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}(?![0-9.])")
_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_BYTES: Final = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
_BOOLEAN: Final = re.compile(r"\?([01])")
_ESCAPED: Final = re.compile(r'\\(["\\])')
_TO_ESCAPE: Final = re.compile(r'(["\\])')
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")


# -- bytes to values ---------------------------------------------------------------------------------------------------


def parse_dictionary(text: str) -> dict[str, Member]:
    """The members of a dictionary field, in order."""
    members: dict[str, Member] = {}
    text = text.strip(" ")
    if not text:
        return members
    place = 0
    while True:
        key, place = _key(text, place)
        if key in members or len(members) >= MOST:
            raise ValueError("a key comes twice, or there are too many")
        member: Member
        if text[place : place + 2] == "=(":
            member, place = _inner_list(text, place + 1)
        elif text[place : place + 1] == "=":
            member, place = _item(text, place + 1)
        else:
            params, place = _params(text, place)
            member = Item(True, params)
        members[key] = member
        if place == len(text):
            return members
        comma = _COMMA.match(text, place)
        if comma is None:
            raise ValueError("members of a dictionary are parted by commas")
        place = comma.end()


def _key(text: str, place: int) -> tuple[str, int]:
    match = _KEY.match(text, place)
    if match is None:
        raise ValueError("not a key")
    return match.group(), match.end()


def _inner_list(text: str, place: int) -> tuple[InnerList, int]:
    items: list[Item] = []
    place += 1
    while True:
        start = place
        while text[place : place + 1] == " ":
            place += 1
        if text[place : place + 1] == ")":
            params, place = _params(text, place + 1)
            return InnerList(items, params), place
        if len(items) >= MOST or (items and place == start):
            raise ValueError("items of an inner list are parted by blanks, and few")
        item, place = _item(text, place)
        items.append(item)


def _item(text: str, place: int) -> tuple[Item, int]:
    value, place = _bare(text, place)
    params, place = _params(text, place)
    return Item(value, params), place


def _params(text: str, place: int) -> tuple[Params, int]:
    params: Params = {}
    while text[place : place + 1] == ";":
        place += 1
        while text[place : place + 1] == " ":
            place += 1
        key, place = _key(text, place)
        if key in params or len(params) >= MOST:
            raise ValueError("a parameter comes twice, or there are too many")
        value: Bare = True
        if text[place : place + 1] == "=":
            value, place = _bare(text, place + 1)
        params[key] = value
    return params, place


def _bare(text: str, place: int) -> tuple[Bare, int]:
    match = _STRING.match(text, place)
    if match is not None:
        return _ESCAPED.sub(r"\1", match.group(1)), match.end()
    match = _INTEGER.match(text, place)
    if match is not None:
        return int(match.group()), match.end()
    match = _BYTES.match(text, place)
    if match is not None:
        return base64.b64decode(match.group(1), validate=True), match.end()
    match = _BOOLEAN.match(text, place)
    if match is not None:
        return match.group(1) == "1", match.end()
    match = _TOKEN.match(text, place)
    if match is not None:
        return Token(match.group()), match.end()
    raise ValueError("not an item")


# -- values to bytes ---------------------------------------------------------------------------------------------------


def write_bare(value: Bare) -> str:
    """One bare item. ``ValueError`` for a string that is not printable ASCII."""
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return f":{base64.b64encode(value).decode()}:"
    if isinstance(value, str):
        if not value.isascii() or not value.isprintable():
            raise ValueError("a string is printable ASCII")
        return '"' + _TO_ESCAPE.sub(r"\\\1", value) + '"'
    return value.text


def write_params(params: Params) -> str:
    """``;name=value`` for each parameter."""
    return "".join(f";{key}" if value is True else f";{key}={write_bare(value)}" for key, value in params.items())


def write_inner_list(inner: InnerList) -> str:
    """``("a" "b";x);y=1``."""
    items = " ".join(write_bare(item.value) + write_params(item.params) for item in inner.items)
    return f"({items}){write_params(inner.params)}"
