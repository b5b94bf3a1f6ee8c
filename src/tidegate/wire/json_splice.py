"""Changing one member of a JSON object in place: not a byte moves elsewhere (LLM 4).

The body has passed the gate (``wire/json_scan``), so it is valid and holds no key twice; here it is only found where
the top-level values lie.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL).search
_VALUE: Final = re.compile(rb"\s*:\s*").match
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def spans(body: bytes, names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Where the values of the top-level members *names* lie: name -> (start, end), for those that are there. Blanks
    around a value are not part of it. Stops at the last one found."""
    found: dict[str, tuple[int, int]] = {}
    at = 0
    for name, value in _members(body).items():
        # Between a value and the next key there are only a comma and blanks.
        key = _STRING(body, at)
        assert key is not None
        colon = _VALUE(body, key.end())
        assert colon is not None
        start = colon.end()
        at = start + memoryview(value).nbytes
        if name in names:
            found[name] = (start, at)
            if len(found) == len(names):
                break
    return found


def replaced(body: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """*body* with each (start, end) replaced by its bytes; the spans do not overlap."""
    pieces: list[bytes] = []
    begin = 0
    for start, end, value in sorted(edits):
        pieces.append(body[begin:start])
        pieces.append(value)
        begin = end
    pieces.append(body[begin:])
    return b"".join(pieces)


def with_member(body: bytes, name: str, value: bytes) -> bytes:
    """*body* with one more member at its end, in front of the closing brace."""
    end = body.rindex(b"}")
    before = body[:end].rstrip(b" \t\r\n")
    comma = b"" if before.endswith(b"{") else b","
    return b'%b%b"%b":%b%b' % (before, comma, name.encode(), value, body[end:])


def without_member(body: bytes, name: str) -> bytes:
    """*body* without the top-level member *name*, its comma included; unchanged when it is not there."""
    span = spans(body, (name,)).get(name)
    if span is None:
        return body
    start = span[0]
    while body[start] != 0x3A:  # back over blanks to the colon
        start -= 1
    start = body.rindex(b'"', 0, start)
    start = _opening_quote(body, start)
    end = span[1]
    while body[end] in b" \t\r\n":
        end += 1
    if body[end] == 0x2C:
        return body[:start] + body[end + 1 :].lstrip(b" \t\r\n")
    before = body[:start].rstrip(b" \t\r\n")
    return before.removesuffix(b",") + body[end:]


def _opening_quote(body: bytes, closing: int) -> int:
    """The quote that opens the string which *closing* ends."""
    at = closing - 1
    while True:
        at = body.rindex(b'"', 0, at + 1)
        escapes = 0
        while body[at - 1 - escapes] == 0x5C:
            escapes += 1
        if escapes % 2 == 0:
            return at
        at -= 1
