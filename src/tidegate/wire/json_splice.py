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
