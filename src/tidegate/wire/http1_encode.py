"""HTTP/1.1 heads on their way out: re-framed from parsed values (S2.16), never from raw bytes.

Whatever a filter has put into a field, a head made here has exactly the lines it should: CR, LF and NUL in a value
become spaces (RFC 9110 section 5.5), a name that is no token loses its line.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from tidegate.exchange.fault import CODES, Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, UNTIL_CLOSE, Fields

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++").fullmatch
_TARGET: Final = re.compile(r"[!-~]++").fullmatch
_UNSAFE: Final = re.compile(r"[\r\n\0]")
_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})

REASONS: Final[dict[int, str]] = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
"""Reason phrases; a status that is not in here gets an empty one."""

_CANNED_SIZE: Final = 200
_ALLOW: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY"


def encode_request(method: str, target: str, fields: Fields, body_length: int) -> bytes:
    """A request head. *fields* carry ``host`` already and no framing; that is added from *body_length*
    (``NO_BODY``, ``CHUNKED`` or a number of bytes)."""
    lines = [f"{name}: {value}\r\n" for name, value in fields]
    count = len(lines) + 2
    if body_length > 0:
        end = f"content-length: {body_length}\r\n\r\n"
        count += 1
    elif body_length == CHUNKED:
        end = "transfer-encoding: chunked\r\n\r\n"
        count += 1
    elif method in _BODY_METHODS:
        end = "content-length: 0\r\n\r\n"
        count += 1
    else:
        end = "\r\n"
    text = f"{method} {target} HTTP/1.1\r\n{''.join(lines)}{end}"
    # One count of each line-end byte proves that no value smuggles a line of its own.
    if text.count("\n") == count and text.count("\r") == count and "\0" not in text:
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            pass
    if _TOKEN(method) is None or _TARGET(target) is None:
        raise Fault("bad_request", "The request cannot be written as one request line.")
    return f"{method} {target} HTTP/1.1\r\n{_safe_lines(fields)}{end}".encode("latin-1")


def answer_framing(status: int, body_length: int, version: int, head_request: bool = False) -> int:
    """How an answer's body goes to a client of *version* (10 or 11): ``NO_BODY``, a number of bytes, ``CHUNKED``, or
    ``UNTIL_CLOSE`` - the connection must then be closed behind the body (1.0 clients)."""
    if head_request or status < 200 or status == 204 or status == 304:
        return NO_BODY
    if body_length >= 0:
        return body_length
    return CHUNKED if version >= 11 else UNTIL_CLOSE


def encode_response(
    status: int,
    reason: str,
    fields: Fields,
    body_length: int,
    keep_alive: bool,
    version: int,
    date: str,
    head_request: bool = False,
) -> bytes:
    """An answer head for a client of *version* (10 or 11).

    *fields* come without framing and ``connection`` (a 101 brings its own). *body_length* is a number of bytes or
    below 0 for unknown; for HEAD and 304 it is the length of the entity that is not sent. *date* is added when
    ``date`` is absent and *date* is not "". Ask :func:`answer_framing` how the body itself has to go out; where that
    says ``UNTIL_CLOSE``, the head says ``connection: close`` whatever *keep_alive* is.
    """
    lines = [f"{name}: {value}\r\n" for name, value in fields]
    count = len(lines) + 2
    end = ""
    if status < 200 or status == 204:
        pass
    elif body_length >= 0:
        # A 304 may repeat the entity's length, and 0 there means that nobody told us.
        if status != 304 or body_length > 0:
            end = f"content-length: {body_length}\r\n"
            count += 1
    elif not head_request and status != 304:
        if version >= 11:
            end = "transfer-encoding: chunked\r\n"
            count += 1
        else:
            keep_alive = False
    if status >= 200:
        if not keep_alive:
            end += "connection: close\r\n"
            count += 1
        elif version < 11:
            end += "connection: keep-alive\r\n"
            count += 1
    block = "".join(lines)
    if date and status >= 200 and "\r\ndate: " not in block and not block.startswith("date: "):
        end += f"date: {date}\r\n"
        count += 1
    text = f"HTTP/1.1 {status} {reason}\r\n{block}{end}\r\n"
    if text.count("\n") == count and text.count("\r") == count and "\0" not in text:
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            pass
    return f"HTTP/1.1 {status} {_safe_value(reason)}\r\n{_safe_lines(fields)}{end}\r\n".encode("latin-1")


def _safe_lines(fields: Fields) -> str:
    return "".join([f"{name}: {_safe_value(value)}\r\n" for name, value in fields if _TOKEN(name) is not None])


def _safe_value(value: str) -> str:
    """*value* without bytes that end a line; text outside latin-1 travels as UTF-8."""
    value = _UNSAFE.sub(" ", value)
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace").decode("latin-1")
    return value


@lru_cache(maxsize=128)
def canned(code: str, allow: str = _ALLOW) -> bytes:
    """The whole pre-built refusal for a parser, guard or shed fault: head and problem body, at most 200 bytes, closing
    the connection (S6.2). *code* is a key of the S6 table; a 503 says ``retry-after: 1``, a 405 *allow*.

    Where not everything fits, first the reason phrase goes, then the last of ``type``, ``status``, ``code``.
    """
    status = CODES[code].status
    more = ""
    if status == 503:
        more = "retry-after: 1\r\n"
    elif status == 405:
        more = f"allow: {allow.replace(', ', ',')}\r\n"
    elif status == 426:
        more = "sec-websocket-version: 13\r\n"
    members = [f'"type":"urn:tidegate:problem:{code}"', f'"status":{status}', f'"code":"{code}"']
    phrase = REASONS[status]
    while True:
        body = "{" + ",".join(members) + "}"
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n{more}\r\n"
        )
        if len(head) + len(body) <= _CANNED_SIZE or len(members) == 1:
            return (head + body).encode("latin-1")
        if phrase:
            phrase = ""
        else:
            members.pop()
