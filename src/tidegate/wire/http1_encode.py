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
_METHODS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "QUERY"}) | _BODY_METHODS
"""Methods that need no look at their characters."""

REASONS: Final[dict[int, str]] = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
"""Reason phrases; a status that is not in here gets an empty one."""

_CANNED_SIZE: Final = 200
_ALLOW: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY"


def field_lines(fields: Fields) -> str:
    """*fields* as the lines of a head, each with its CRLF."""
    lines = [f"{name}: {value}\r\n" for name, value in fields]
    text = "".join(lines)
    count = len(lines)
    # One count of each line-end byte proves that no value smuggles a line of its own.
    if text.count("\n") == count and text.count("\r") == count and "\0" not in text and text.isascii():
        return text
    return "".join([f"{name}: {_safe_value(value)}\r\n" for name, value in fields if _TOKEN(name) is not None])


def encode_request(method: str, target: str, text: str, body_length: int) -> bytes:
    """A request head. *text* are its field lines (:func:`field_lines`) with ``host`` and without framing; that is added
    from *body_length* (``NO_BODY``, ``CHUNKED`` or a number of bytes). Raises ``bad_request`` for a method or target
    that does not fit into one request line."""
    if not (target.isascii() and target.isprintable()) or " " in target or not (method in _METHODS or _TOKEN(method)):
        raise Fault("bad_request", "The request cannot be written as one request line.")
    if body_length > 0:
        return f"{method} {target} HTTP/1.1\r\n{text}content-length: {body_length}\r\n\r\n".encode("latin-1")
    if body_length == CHUNKED:
        return f"{method} {target} HTTP/1.1\r\n{text}transfer-encoding: chunked\r\n\r\n".encode("latin-1")
    if method in _BODY_METHODS:
        return f"{method} {target} HTTP/1.1\r\n{text}content-length: 0\r\n\r\n".encode("latin-1")
    return f"{method} {target} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


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
    text: str,
    body_length: int,
    keep_alive: bool,
    version: int,
    date: str,
    head_request: bool = False,
) -> bytes:
    """An answer head for a client of *version* (10 or 11).

    *text* are its field lines (:func:`field_lines`) without framing and ``connection`` (a 101 brings its own).
    *body_length* is a number of bytes or below 0 for unknown; for HEAD and 304 it is the length of the entity that is
    not sent. *date* is added unless it is "": the caller knows whether there is one among the lines. Ask
    :func:`answer_framing` how the body itself has to go out; where that says ``UNTIL_CLOSE``, the head says
    ``connection: close`` whatever *keep_alive* is.
    """
    end = ""
    if status < 200 or status == 204:
        pass
    elif body_length >= 0:
        # A 304 may repeat the entity's length, and 0 there means that nobody told us.
        if status != 304 or body_length > 0:
            end = f"content-length: {body_length}\r\n"
    elif not head_request and status != 304:
        if version >= 11:
            end = "transfer-encoding: chunked\r\n"
        else:
            keep_alive = False
    if status >= 200:
        if not keep_alive:
            end += "connection: close\r\n"
        elif version < 11:
            end += "connection: keep-alive\r\n"
        if date:
            return f"HTTP/1.1 {status} {_safe_value(reason)}\r\n{text}{end}date: {date}\r\n\r\n".encode("latin-1")
    return f"HTTP/1.1 {status} {_safe_value(reason)}\r\n{text}{end}\r\n".encode("latin-1")


def has_date(fields: Fields) -> bool:
    """Is a ``date`` line among *fields*?"""
    return any(name == "date" for name, _ in fields)


def _safe_value(value: str) -> str:
    """*value* without bytes that end a line; text outside latin-1 travels as UTF-8."""
    if value.isascii() and value.isprintable():
        return value
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
