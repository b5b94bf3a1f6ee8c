"""Changing one member of a JSON object in place: not a byte moves elsewhere (LLM 4).

The body has passed the gate (``wire/json_scan``), so it is valid and holds no key twice; here it is only found where
the top-level values lie.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},:]', re.DOTALL).finditer
_name = msgspec.json.Decoder(str).decode


def spans(body: bytes, names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Where the values of the top-level members *names* lie: name -> (start, end), for those that are there. Blanks
    around a value are not part of it. Stops at the last one found."""
    wanted = {name.encode(): name for name in names}
    found: dict[str, tuple[int, int]] = {}
    depth = 0
    name: str | None = None
    start = -1
    key = b""
    for token in _TOKEN(body):
        at = token.start()
        byte = body[at]
        if byte == 0x22:
            if depth == 1 and start < 0:
                key = body[at + 1 : token.end() - 1]
        elif byte == 0x3A:
            if depth == 1 and start < 0:
                if b"\\" in key:
                    key = _name(b'"' + key + b'"').encode("utf-8", "surrogatepass")
                name = wanted.get(key)
                start = at + 1
        elif byte in b"{[":
            depth += 1
        else:
            if byte != 0x2C:
                depth -= 1
            if start >= 0 and (depth == 0 or (byte == 0x2C and depth == 1)):
                if name is not None:
                    found[name] = _trimmed(body, start, at)
                    if len(found) == len(wanted):
                        break
                start = -1
    return found


def _trimmed(body: bytes, start: int, end: int) -> tuple[int, int]:
    while body[start] in b" \t\r\n":
        start += 1
    while body[end - 1] in b" \t\r\n":
        end -= 1
    return start, end


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
