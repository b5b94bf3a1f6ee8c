"""One field of a ``multipart/form-data`` body, found while the body streams by (RFC 7578, RFC 2046; LLM 6).

Speech and pictures come as forms of hundreds of megabytes of which only ``model`` is of interest. What stands before
that field is held, within a bound; everything after it passes unread.
"""

from __future__ import annotations

import re
from typing import Final

from tidegate.exchange.fault import CLIENT, Fault

HELD: Final = 1 << 20
"""Bytes in front of the field: all the other small fields of a form. A client that sends its file first is told to
send ``model`` before it."""
VALUE: Final = 1024
"""Bytes of the field's value."""
PART_HEAD: Final = 8192
"""Bytes of the head of one part."""

_BOUNDARY: Final = re.compile(r';\s*boundary\s*=\s*(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE).search
_NAME: Final = re.compile(rb';\s*name\s*=\s*(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]+))', re.IGNORECASE).search


def boundary_of(content_type: str) -> bytes:
    """The boundary that a ``Content-Type`` of a form names. ``Fault`` ``invalid_request`` without one."""
    kind, _, _ = content_type.partition(";")
    found = _BOUNDARY(content_type)
    if kind.strip().lower() != "multipart/form-data" or found is None:
        raise Fault("invalid_request", "The body must be multipart/form-data with a boundary.", side=CLIENT)
    return (found[1] or found[2]).encode("latin-1")


class FieldFinder:
    """Looks for the field *name* in a form. Mutable state: ``held``, all bytes so far; ``_at``, where the scan goes on;
    ``span`` of the value once it is found."""

    __slots__ = ("_at", "_delimiter", "_name", "_part", "held", "span")

    def __init__(self, boundary: bytes, name: str) -> None:
        self._delimiter = b"--" + boundary
        self._name = name.encode()
        self._part = False
        """Inside a part that is not ours."""
        self._at = 0
        self.held = bytearray()
        self.span: tuple[int, int] | None = None

    def feed(self, data: bytes) -> bool:
        """Whether the field has been found, *data* included. Raises ``Fault`` ``invalid_request`` when it does not
        come within the first ``HELD`` bytes, comes after the form's end, or when the form is broken."""
        held = self.held
        held += data
        while self.span is None:
            if self._part and not self._skip_part():
                break
            if not self._begin_part():
                break
        if self.span is None and len(held) > HELD:
            raise _refused(f"The field {self._name.decode()} must come before the file.")
        return self.span is not None

    def _skip_part(self) -> bool:
        """On to the delimiter after the part that is under way; False when it has not come yet."""
        at = self.held.find(b"\r\n" + self._delimiter, self._at)
        if at < 0:
            self._at = max(self._at, len(self.held) - len(self._delimiter) - 2)
            return False
        self._at = at + 2
        self._part = False
        return True

    def _begin_part(self) -> bool:
        """Read the head of the part at ``_at``; False when more bytes are wanted."""
        held = self.held
        begin = self._at + len(self._delimiter)
        if len(held) < begin + 2:
            if not self._delimiter.startswith(held[self._at : begin]):
                raise _refused("The form does not begin with its boundary.")
            return False
        if held[self._at : begin] != self._delimiter:
            raise _refused("The form does not begin with its boundary.")
        if held[begin : begin + 2] == b"--":
            raise _refused(f"The form has no field {self._name.decode()}.")
        if held[begin : begin + 2] != b"\r\n":
            raise _refused("A boundary of the form is not followed by a line end.")
        end = held.find(b"\r\n\r\n", begin)
        if end < 0 or end - begin > PART_HEAD:
            if len(held) - begin > PART_HEAD:
                raise _refused("The head of a part of the form is too large.")
            return False
        if not self._is_ours(bytes(held[begin:end])):
            self._at = end + 2  # an empty part ends right behind its head
            self._part = True
            return True
        value = end + 4
        close = held.find(b"\r\n" + self._delimiter, value)
        if close < 0:
            if len(held) - value > VALUE + len(self._delimiter) + 2:
                raise _refused(f"The field {self._name.decode()} is too long.")
            return False
        if close - value > VALUE:
            raise _refused(f"The field {self._name.decode()} is too long.")
        self.span = (value, close)
        return False

    def _is_ours(self, head: bytes) -> bool:
        for line in head.split(b"\r\n"):
            field, _, value = line.partition(b":")
            if field.strip().lower() == b"content-disposition":
                found = _NAME(value)
                return found is not None and (found[1] if found[1] is not None else found[2]) == self._name
        return False

    @property
    def value(self) -> str:
        """The field's text, once it is found."""
        assert self.span is not None
        return self.held[self.span[0] : self.span[1]].decode("utf-8", "replace")

    def rewritten(self, value: str) -> bytes:
        """All bytes so far with another value in the field's place."""
        assert self.span is not None
        return bytes(self.held[: self.span[0]]) + value.encode() + bytes(self.held[self.span[1] :])


def _refused(detail: str) -> Fault:
    return Fault("invalid_request", detail, side=CLIENT)
