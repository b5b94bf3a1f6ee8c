"""HTTP/1.1 heads: gate and parser at once (S2, S3.1, S3.2).

Framing is decided here, once, before any other code sees a message. What this file lets pass has exactly one
reading; everything else is a ``Fault`` with ``close`` set. Requests and answers obey the same grammar. Bodies in
chunks are read by ``wire/chunked``, output is made by ``wire/http1_encode``; both are re-exported here.

How a connection uses it: look for the end of the head with :func:`find_head_end`; while there is none, call
:func:`scan_partial` on each read, so that a bad byte is refused when it comes and not at a timeout; then hand the
whole head to :func:`parse_request`.
"""

from __future__ import annotations

import re
from typing import Final

from tidegate.exchange.fault import IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, UNTIL_CLOSE, Fields, HeadMemo, RequestHead, ResponseHead
from tidegate.wire.chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk, encode_trailers
from tidegate.wire.field_block import (
    TOKEN,
    VALUE,
    build_index,
    check_partial,
    check_underscores,
    malformed,
    read_fields,
)
from tidegate.wire.http1_encode import answer_framing, canned, encode_request, encode_response, field_lines, has_date

__all__ = [
    "LAST_CHUNK",
    "BlockMemory",
    "ChunkedDecoder",
    "FieldBlock",
    "HeadLimits",
    "announced_length",
    "answer_framing",
    "canned",
    "encode_chunk",
    "encode_request",
    "encode_response",
    "encode_trailers",
    "field_lines",
    "find_head_end",
    "has_date",
    "parse_request",
    "parse_response",
    "scan_partial",
    "scan_partial_answer",
]

_REQUEST_LINE: Final = re.compile(rf"({TOKEN}{{1,32}}+) ([!-~]++) (HTTP/[0-9]\.[0-9])").fullmatch
_PARTIAL_PROTOCOL: Final = r"(?:H(?:T(?:T(?:P(?:/(?:[0-9](?:\.(?:[0-9]\r?)?)?)?)?)?)?)?)?"
_PARTIAL_REQUEST_LINE: Final = re.compile(
    rf"(?:\r\n)?+(?:\r|{TOKEN}{{1,32}}+(?: (?:[!-~]++(?: {_PARTIAL_PROTOCOL})?)?)?)?"
).fullmatch
_STATUS_LINE: Final = re.compile(rf"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ({VALUE}*+))?+").fullmatch
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,14}").fullmatch
_WEBSOCKET_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==").fullmatch
_ABSOLUTE: Final = re.compile(r"https?://[^/?]", re.IGNORECASE).match

_NO_OPTIONS: Final[frozenset[str]] = frozenset()
_KEEP_ALIVE: Final = frozenset({"keep-alive"})

_REMEMBERED: Final = 2048
_STATUS_LINES: Final = 128
_STATUS_LINE_SIZE: Final = 64
_SIGHTED: Final = 16384
_REMEMBERED_SIZE: Final = 2048

NO_WEBSOCKET: Final = 0
WEBSOCKET: Final = 1
OTHER_WEBSOCKET: Final = 2
"""A proper upgrade in all but the version (426)."""


class FieldBlock:
    """The fields of one message with the framing read from them. Never changed: it may serve many messages."""

    __slots__ = ("body_length", "expect_continue", "fields", "index", "keep_alive", "memo", "websocket")

    def __init__(
        self,
        fields: Fields,
        index: dict[str, str],
        body_length: int,
        keep_alive: bool,
        expect_continue: bool,
        websocket: int,
    ) -> None:
        self.fields = fields
        self.index = index
        self.memo = HeadMemo(fields)
        self.body_length = body_length
        self.keep_alive = keep_alive
        self.expect_continue = expect_continue
        self.websocket = websocket


class BlockMemory:
    """Field blocks that passed the gate, by their text.

    A peer on a kept connection sends the same field lines again and again, only the first line changes. A block that
    comes a second time is remembered whole (at most 2,048 of 2 KiB), so the third costs one look-up. The first sight
    leaves a hash only: blocks that never come back cost no memory.
    """

    __slots__ = ("blocks", "sighted")

    def __init__(self) -> None:
        self.blocks: dict[str, FieldBlock] = {}
        self.sighted: set[int] = set()

    def learn(self, text: str, block: FieldBlock) -> None:
        """Keep *block* for *text* if that is small and has been seen before."""
        if len(text) > _REMEMBERED_SIZE:
            return
        mark = hash(text)
        if mark not in self.sighted:
            if len(self.sighted) >= _SIGHTED:
                self.sighted.clear()
            self.sighted.add(mark)
            return
        if len(self.blocks) >= _REMEMBERED:
            self.blocks.clear()
        self.blocks[text] = block


class HeadLimits:
    """Sizes in bytes (S3.1, S3.2), and the memory of what passed under them.

    request_line  8 KiB: RFC 9112 asks for at least 8,000
    field_count   100; field_size 16 KiB for one line; head_size 32 KiB for all lines together
    """

    __slots__ = ("answers", "field_count", "field_size", "head_size", "request_line", "requests", "status_lines")

    def __init__(
        self, request_line: int = 8192, field_count: int = 100, field_size: int = 16384, head_size: int = 32768
    ) -> None:
        self.request_line = request_line
        self.field_count = field_count
        self.field_size = field_size
        self.head_size = head_size
        self.requests = BlockMemory()
        self.answers = BlockMemory()
        self.status_lines: dict[str, tuple[int, int, str]] = {}


def find_head_end(data: bytes | bytearray, start: int = 0) -> int:
    """The offset just behind the head's blank line, or -1 while it has not come.

    *start* is how much was there at the last call; looking begins three bytes before it. One leading CRLF (S2.1) is
    part of the head.
    """
    found = data.find(b"\r\n\r\n", start - 3 if start > 3 else 0)
    return found + 4 if found >= 0 else -1


# -- requests ---------------------------------------------------------------------------------------------------------


def parse_request(head: bytes | bytearray, limits: HeadLimits, methods: frozenset[str]) -> RequestHead:
    """The request whose *head* runs up to and including the blank line.

    ``fields`` and ``index`` of the result may be shared with other requests: they are for reading only.
    Raises ``Fault`` (``close`` set): 400 ``bad_request``, 405, 414, 417, 426, 431, 501, 505.
    """
    line, _, block = head.decode("latin-1").partition("\r\n")
    if not line:
        line, _, block = block.partition("\r\n")
    parts = line.split(" ")
    version = 11
    if (
        len(parts) == 3
        and parts[2] == "HTTP/1.1"
        and parts[0] in methods
        and parts[1][:1] == "/"
        and parts[1].isascii()
        and parts[1].isprintable()
        and "#" not in parts[1]
        and len(line) <= limits.request_line
    ):
        method = parts[0]
        target = parts[1]
    else:
        method, target, version = _read_request_line(line, limits, methods)
    known = limits.requests.blocks.get(block) if version == 11 else None
    if known is None:
        known = _read_request_block(block, version, limits)
    body_length = known.body_length
    if body_length != NO_BODY and method == "HEAD":
        raise malformed("A HEAD request has a body.")
    upgrade = ""
    if known.websocket != NO_WEBSOCKET and method == "GET" and body_length == NO_BODY and version == 11:
        if known.websocket == OTHER_WEBSOCKET:
            fault = malformed("Only version 13 of WebSocket is spoken here.", "upgrade_required")
            fault.fields = [("sec-websocket-version", "13")]
            raise fault
        upgrade = "websocket"
    return RequestHead(
        method,
        target,
        version,
        known.fields,
        known.index,
        body_length,
        known.keep_alive,
        known.expect_continue,
        upgrade,
        known.memo,
    )


def scan_partial(buffered: bytes | bytearray, limits: HeadLimits, methods: frozenset[str], checked: int = 0) -> int:
    """Refuse an unfinished head as soon as it can no longer become a valid one, or is over a limit.

    Returns how far whole lines have been checked; hand that back as *checked* with the next read, and the cost over
    all reads stays linear (only the unfinished line is looked at again). Raises what :func:`parse_request` would.
    """
    if checked == 0:
        end = buffered.find(b"\r\n", 2 if buffered[:2] == b"\r\n" else 0)
        if end < 0:
            line = buffered[: limits.request_line + 3].decode("latin-1")
            if len(line) > limits.request_line + 2:
                raise malformed("The request line is too long.", "uri_too_long")
            if _PARTIAL_REQUEST_LINE(line) is None:
                raise malformed("The request line is malformed.")
            return 0
        line = buffered[:end].decode("latin-1")
        _read_request_line(line[2:] if line[:2] == "\r\n" else line, limits, methods)
        checked = end + 2
    rest = buffered[checked : checked + limits.head_size + 1].decode("latin-1")
    if len(rest) > limits.head_size or len(buffered) > limits.request_line + limits.head_size + 4:
        raise malformed("The header fields are too large.", "headers_too_large")
    check_partial(rest)
    last = rest.rfind("\r\n") + 2
    if last < 2:
        last = 0
    if len(rest) - last > limits.field_size + 2:
        raise malformed("A header field is too large.", "headers_too_large")
    return checked + last


def _read_request_line(line: str, limits: HeadLimits, methods: frozenset[str]) -> tuple[str, str, int]:
    """(method, target, version) by S2.1 and S2.2, or the Fault that names what is wrong."""
    if len(line) > limits.request_line:
        raise malformed("The request line is too long.", "uri_too_long")
    match = _REQUEST_LINE(line)
    if match is None:
        raise malformed("The request line is malformed.")
    method, target, protocol = match.groups()
    if protocol == "HTTP/1.1":
        version = 11
    elif protocol == "HTTP/1.0":
        version = 10
    else:
        raise malformed("Only HTTP/1.1 and HTTP/1.0 are spoken here.", "bad_version")
    if method == "CONNECT" or method == "TRACE":
        fault = malformed("This method is never allowed.", "method_not_allowed")
        fault.fields = [("allow", ", ".join(sorted(methods)))]
        raise fault
    if method not in methods:
        raise malformed("This method is not known.", "not_implemented")
    if "#" in target:
        raise malformed("The request target has a fragment.")
    if target == "*":
        if method != "OPTIONS":
            raise malformed("Only OPTIONS may ask for the asterisk.")
    elif target[0] != "/" and _ABSOLUTE(target) is None:
        raise malformed("The request target is neither a path nor an absolute URL.")
    return method, target, version


def _read_request_block(text: str, version: int, limits: HeadLimits) -> FieldBlock:
    fields, index = _read_fields(text, limits)
    if "_" in text:
        check_underscores(fields)
    host = index.get("host")
    if not host and (host is not None or version == 11):
        raise malformed("The Host field is missing or empty.")
    body_length = _body_length(index, version)
    if body_length == UNTIL_CLOSE:
        body_length = NO_BODY
    expect = index.get("expect")
    expect_continue = False
    if expect is not None:
        if expect.lower() != "100-continue":
            raise malformed("Only 100-continue can be expected.", "expectation_failed")
        # A 1.0 client cannot be told to continue (S2.13), and without a body there is nothing to continue with.
        expect_continue = version == 11 and body_length != NO_BODY
    options = _connection_options(index)
    websocket = _websocket(index) if "upgrade" in options else NO_WEBSOCKET
    block = FieldBlock(fields, index, body_length, _keeps_alive(options, version), expect_continue, websocket)
    if version == 11:
        limits.requests.learn(text, block)
    return block


def _read_fields(text: str, limits: HeadLimits) -> tuple[Fields, dict[str, str]]:
    if len(text) > limits.head_size:
        raise malformed("The header fields are too large.", "headers_too_large")
    fields = read_fields(text)
    if len(fields) > limits.field_count:
        raise malformed("There are too many header fields.", "headers_too_large")
    if len(text) > limits.field_size:
        for line in text.split("\r\n"):
            if len(line) > limits.field_size:
                raise malformed("A header field is too large.", "headers_too_large")
    return fields, build_index(fields)


def _connection_options(index: dict[str, str]) -> frozenset[str]:
    connection = index.get("connection")
    if connection is None:
        return _NO_OPTIONS
    if connection == "keep-alive":
        return _KEEP_ALIVE
    return frozenset([option.strip(" \t") for option in connection.lower().split(",")])


def _keeps_alive(options: frozenset[str], version: int) -> bool:
    return "close" not in options and (version == 11 or "keep-alive" in options)


def _body_length(index: dict[str, str], version: int) -> int:
    """What the framing fields say: ``CHUNKED``, a number, or ``UNTIL_CLOSE`` when there are none (S2.4, S2.5)."""
    length = index.get("content-length")
    coding = index.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise malformed("Both Content-Length and Transfer-Encoding are there.")
        if version != 11 or coding.lower() != "chunked":
            raise malformed("The only transfer coding is a single chunked, on HTTP/1.1.")
        return CHUNKED
    if length is None:
        return UNTIL_CLOSE
    if _LENGTH(length) is None:
        raise malformed("The Content-Length is malformed.")
    return int(length)


def _websocket(index: dict[str, str]) -> int:
    """What kind of WebSocket upgrade the fields ask for (S2.14, S18.15); other tokens are not upgrades."""
    if index.get("upgrade", "").lower() != "websocket" or _WEBSOCKET_KEY(index.get("sec-websocket-key", "")) is None:
        return NO_WEBSOCKET
    return WEBSOCKET if index.get("sec-websocket-version") == "13" else OTHER_WEBSOCKET


# -- answers ----------------------------------------------------------------------------------------------------------


def parse_response(head: bytes | bytearray, request_method: str, limits: HeadLimits) -> ResponseHead:
    """The answer whose *head* runs up to and including the blank line (S2.15).

    ``fields`` are complete, hop-by-hop and framing ones included, and may be shared with other answers: for reading
    only, until ``rules/hop_headers`` has made the answer's own list. 1xx heads come back as they are, with ``NO_BODY``.
    ``keep_alive`` False: the connection ends with this answer. Raises ``bad_upstream`` with reason ``protocol``.
    """
    line, _, text = head.decode("latin-1").partition("\r\n")
    status_line = limits.status_lines.get(line)
    if status_line is None:
        status_line = _read_status_line(line, limits)
    version, status, reason = status_line
    known = limits.answers.blocks.get(text) if version == 11 else None
    if known is None:
        known = _read_answer_block(text, version, limits)
    length = known.body_length
    keep_alive = known.keep_alive
    if status < 200 or status == 204:
        if length != NO_BODY and length != UNTIL_CLOSE:
            raise _broken("An answer that has no body announces one.")
        length = NO_BODY
    elif status == 304 or request_method == "HEAD":
        length = NO_BODY
    elif length == UNTIL_CLOSE:
        keep_alive = False
    return ResponseHead(status, reason, known.fields, length, version, keep_alive, known.memo)


def scan_partial_answer(buffered: bytes, limits: HeadLimits) -> None:
    """Refuse an unfinished answer head as soon as it can no longer become a valid one: when the bad byte is read, not
    at a timeout. Raises what :func:`parse_response` would."""
    end = buffered.find(b"\r\n")
    if end < 0:
        if buffered[:7] != b"HTTP/1."[: len(buffered)] or len(buffered) > limits.request_line:
            raise _broken("The status line is malformed.")
        return
    if _STATUS_LINE(buffered[:end].decode("latin-1")) is None:
        raise _broken("The status line is malformed.")
    try:
        check_partial(buffered[end + 2 :].decode("latin-1"))
    except Fault as fault:
        raise _broken(fault.detail) from None


def _read_status_line(line: str, limits: HeadLimits) -> tuple[int, int, str]:
    """(version, status, reason); the few there are of a peer are remembered."""
    match = _STATUS_LINE(line)
    if match is None or len(line) > limits.request_line:
        raise _broken("The status line is malformed.")
    minor, digits, reason = match.groups()
    found = (11 if minor == "1" else 10, int(digits), reason or "")
    if len(limits.status_lines) < _STATUS_LINES and len(line) <= _STATUS_LINE_SIZE:
        limits.status_lines[line] = found
    return found


def _read_answer_block(text: str, version: int, limits: HeadLimits) -> FieldBlock:
    try:
        fields, index = _read_fields(text, limits)
        length = _body_length(index, version)
    except Fault as fault:
        raise _broken(fault.detail) from None
    block = FieldBlock(fields, index, length, _keeps_alive(_connection_options(index), version), False, NO_WEBSOCKET)
    if version == 11:
        limits.answers.learn(text, block)
    return block


def announced_length(fields: Fields) -> int:
    """The ``content-length`` among the fields of a parsed answer, or -1: the entity's length behind HEAD and 304."""
    for name, value in fields:
        if name == "content-length":
            return int(value)
    return -1


def _broken(detail: str) -> Fault:
    return Fault("bad_upstream", detail, reason="protocol", side=UPSTREAM, retry=IF_IDEMPOTENT)
