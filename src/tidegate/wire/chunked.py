"""Bodies in chunks (S2.6, S2.7; RFC 9112 section 7.1): the decoder for both directions, and the encoder.

The decoder keeps at most one unfinished line or chunk head; data is handed on as it comes and never gathered.
"""

from __future__ import annotations

import re
from typing import Final

from tidegate.exchange.fault import CLIENT, IF_IDEMPOTENT, NEVER, UPSTREAM, Fault
from tidegate.exchange.head import Fields
from tidegate.wire.field_block import forbidden_in_trailers, read_trailer_line

LAST_CHUNK: Final = b"0\r\n\r\n"
"""The end of a body without trailers."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_PLAIN_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15}+)\r\n").match
_SIZE_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15}+)((?:;" + _TOKEN + rb"++(?:=(?:" + _TOKEN + rb"++|" + _QUOTED + rb"))?+)*+)\r\n"
).match
_PARTIAL_SIZE_LINE: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,15}+(?:;[\t -~\x80-\xff]*+)?+\r?)?").fullmatch
_PARTIAL_TRAILER: Final = re.compile(rb"(?:" + _TOKEN + rb"++(?::[\t -~\x80-\xff]*+\r?)?|\r)?").fullmatch

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_DONE: Final = 4


class ChunkedDecoder:
    """Reads one chunked body, fed as the bytes come.

    limit_extensions  bytes of chunk extensions in the whole message (256: nobody needs more); they are dropped
    trailer_count, trailer_size   at most 20 trailers, 4 KiB
    strict_trailers   True (requests): a trailer that names framing, host, identity or content is refused.
                      False (answers): it is dropped
    code              ``bad_request`` for requests, ``bad_upstream`` for answers

    State: ``done`` when the end has come, ``rest`` the bytes behind it, ``trailers`` what may travel on.
    """

    __slots__ = (
        "_buffer", "_code", "_extensions", "_left", "_state", "_strict", "_trailer_count", "_trailer_size", "done",
        "rest", "trailers",
    )  # fmt: skip

    def __init__(
        self,
        limit_extensions: int = 256,
        trailer_count: int = 20,
        trailer_size: int = 4096,
        *,
        strict_trailers: bool = True,
        code: str = "bad_request",
    ) -> None:
        self._extensions = limit_extensions
        self._trailer_count = trailer_count
        self._trailer_size = trailer_size
        self._strict = strict_trailers
        self._code = code
        self._state = _SIZE
        self._left = 0
        self._buffer = b""
        self.done = False
        self.rest = b""
        self.trailers: Fields = []

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data*; return the pieces of the body in it, in order. Raises ``Fault`` with the decoder's code."""
        pieces: list[bytes] = []
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        position = 0
        size = len(data)
        while position < size:
            state = self._state
            if state == _SIZE:
                match = _PLAIN_SIZE(data, position)
                if match is None:
                    match = self._size_line(data, position)
                    if match is None:
                        return pieces
                position = match.end()
                self._left = int(match[1], 16)
                self._state = _DATA if self._left else _TRAILERS
            elif state == _DATA:
                end = position + self._left
                if end > size:
                    self._left = end - size
                    pieces.append(data[position:] if position else data)
                    return pieces
                pieces.append(data[position:end])
                position = end
                self._state = _DATA_END
            elif state == _DATA_END:
                if data[position : position + 2] != b"\r\n":
                    if data[position:] == b"\r":
                        self._buffer = b"\r"
                        return pieces
                    raise self._fault("A chunk is longer than its size or does not end with CRLF.")
                position += 2
                self._state = _SIZE
            elif state == _TRAILERS:
                position = self._trailer(data, position)
                if position < 0:
                    return pieces
            else:
                self.rest += data[position:]
                return pieces
        return pieces

    def _size_line(self, data: bytes, position: int) -> re.Match[bytes] | None:
        """The match of a size line with extensions; None when it is not complete yet."""
        match = _SIZE_LINE(data, position)
        if match is not None:
            self._extensions -= match.end(2) - match.start(2)
            if self._extensions < 0:
                raise self._fault("The chunk extensions are too long.")
            return match
        pending = data[position : position + self._extensions + 18]
        if _PARTIAL_SIZE_LINE(pending) is None or b"\r\n" in pending:
            raise self._fault("A chunk size is malformed.")
        if len(pending) > self._extensions + 17:
            raise self._fault("The chunk extensions are too long.")
        self._buffer = pending
        return None

    def _trailer(self, data: bytes, position: int) -> int:
        """Read one trailer line at *position*; the position behind it, or -1 when it is not complete yet."""
        end = data.find(b"\r\n", position)
        if end < 0:
            pending = data[position:]
            if len(pending) > self._trailer_size:
                raise self._fault("The trailers are too large.")
            if _PARTIAL_TRAILER(pending) is None:
                raise self._fault("A trailer is malformed.")
            self._buffer = pending
            return -1
        if end == position:
            self._state = _DONE
            self.done = True
            return end + 2
        self._trailer_size -= end + 2 - position
        self._trailer_count -= 1
        if self._trailer_size < 0 or self._trailer_count < 0:
            raise self._fault("The trailers are too large.")
        try:
            name, value = read_trailer_line(data[position:end].decode("latin-1"))
        except Fault as fault:
            raise self._fault(fault.detail) from None
        if not forbidden_in_trailers(name):
            self.trailers.append((name, value))
        elif self._strict:
            raise self._fault("A trailer names a field that may not come in trailers.")
        return end + 2

    def _fault(self, detail: str) -> Fault:
        if self._code == "bad_upstream":
            return Fault(self._code, detail, reason="protocol", side=UPSTREAM, retry=IF_IDEMPOTENT)
        return Fault(self._code, detail, reason="bad_framing", side=CLIENT, retry=NEVER, close=True)

    def __repr__(self) -> str:
        names = ("SIZE", "DATA", "DATA_END", "TRAILERS", "DONE")
        return f"<ChunkedDecoder {names[self._state]} {self._left} bytes left in the chunk>"


def encode_chunk(data: bytes) -> bytes:
    """*data* as one chunk; b"" for no data, because an empty chunk would end the body."""
    if not data:
        return b""
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_trailers(fields: Fields) -> bytes:
    """The end of a body with *fields* as trailers. Forbidden names and values with CR, LF or NUL are left out."""
    lines = [
        f"{name}: {value}\r\n"
        for name, value in fields
        if not forbidden_in_trailers(name) and "\r" not in value and "\n" not in value and "\0" not in value
    ]
    return ("0\r\n" + "".join(lines) + "\r\n").encode("latin-1", "replace")
