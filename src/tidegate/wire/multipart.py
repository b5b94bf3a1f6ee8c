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

_NAMES: Final = re.compile(rb';\s*name\s*=\s*(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE).findall
_EXTENDED: Final = re.compile(rb";\s*name\*", re.IGNORECASE).search
"""Another spelling of a name, forbidden in forms (RFC 7578 4.2)."""
_BLANK: Final = re.compile(rb"\n\r?\n").search


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


class FieldWatch:
    """Looks on while a form passes, and refuses one that holds the field *name* twice: which of the two counts differs
    from reader to reader. It reads heads more generously than ``FieldFinder``, as the most generous reader would.

    Mutable state: ``_rest``, bytes that may belong to a delimiter or a head; ``_in_head``; ``_seen``; ``_closed``.
    """

    __slots__ = ("_closed", "_in_head", "_mark", "_name", "_rest", "_seen")

    def __init__(self, boundary: bytes, name: str) -> None:
        self._mark = b"\n--" + boundary
        self._name = name.encode()
        self._rest = b"\n"
        self._in_head = False
        self._seen = False
        self._closed = False

    def feed(self, data: bytes) -> None:
        """Raises ``Fault`` ``invalid_request`` at the second field of the name."""
        if self._closed:
            return
        data = self._rest + data
        mark = self._mark
        at = 0
        while True:
            if not self._in_head:
                found = data.find(mark, at)
                if found < 0 or found + len(mark) + 2 > len(data):
                    self._rest = data[found if found >= 0 else max(at, len(data) - len(mark) + 1) :]
                    return
                at = found + len(mark)
                if data[at : at + 2] == b"--":
                    self._closed = True
                    return
                if data[at] not in b" \t\r\n":
                    continue
                self._in_head = True
            blank = _BLANK(data, at)
            if blank is None:
                if len(data) - at > PART_HEAD:
                    raise _refused("The head of a part of the form is too large.")
                self._rest = data[at:]
                return
            self._look(data[at : blank.start()])
            at = blank.end() - 1  # the line end of an empty part begins the next delimiter
            self._in_head = False

    def _look(self, head: bytes) -> None:
        head = head.replace(b"\\", b"")
        if _EXTENDED(head) or any((found[0] or found[1]) == self._name for found in _NAMES(head)):
            if self._seen or _EXTENDED(head):
                raise _refused(f"The form names {self._name.decode()} twice.")
            self._seen = True


def _refused(detail: str) -> Fault:
    return Fault("invalid_request", detail, side=CLIENT)
