"""Heads: the request line or status line, and the fields, as values.

A head is text, decoded once as latin-1 (a field value may hold bytes from 0x80 up, S2.3, and latin-1 keeps each
of them). Field names are **lower case** everywhere behind the parser, so a look-up is one dict access and HTTP/1.1
and HTTP/2 meet in one form. Bodies stay bytes.
"""

from __future__ import annotations

from typing import Final

Fields = list[tuple[str, str]]
"""Field lines in the order they came: (lower-case name, trimmed value)."""

NO_BODY: Final = 0
"""``body_length`` of a message that ends with its head."""
CHUNKED: Final = -1
"""``body_length`` of a message in chunks: the end is known when it comes."""
UNTIL_CLOSE: Final = -2
"""``body_length`` of an answer that ends when its connection closes (answers only, S2.15)."""


class HeadMemo:
    """What a later stage has worked out from a field block alone. A block that peers send again and again is parsed
    once (``wire/http1``), and its heads share one memo: whoever keeps something here says in ``key`` what else it
    depends on.

    fields    the block's own list: a head whose ``fields`` are another list has been edited
    text      field lines ready to be written, ``name: value`` and CRLF each
    dated     a ``date`` line is among them
    """

    __slots__ = ("dated", "dropped", "fields", "key", "text")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.key: object = None
        self.dropped: set[str] | None = None
        self.text = ""
        self.dated = False


class RequestHead:
    """One request head that has passed the gate of ``wire/http1`` (or, later, ``wire/http2``).

    method       token as sent, case-sensitive
    target       request target as sent (origin-, absolute- or asterisk-form)
    version      10, 11 or 20
    fields       every field line, names lower case
    index        name → value; lines of one name are joined with ``, `` (``cookie``: ``; ``). Singletons (S2.8)
                 are known to be single, so their value is the only one
    body_length  ``NO_BODY``, ``CHUNKED`` or the number of bytes announced
    keep_alive   what version and ``Connection`` say
    expect_continue   the client waits for a 100 (S2.13)
    upgrade      ``"websocket"`` when a well-formed WebSocket upgrade is asked for, else ``""`` (S2.14)
    memo         shared with other heads of the same field block
    """

    __slots__ = (
        "body_length", "expect_continue", "fields", "index", "keep_alive", "memo", "method", "target", "upgrade",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        target: str,
        version: int,
        fields: Fields,
        index: dict[str, str],
        body_length: int = NO_BODY,
        keep_alive: bool = True,
        expect_continue: bool = False,
        upgrade: str = "",
        memo: HeadMemo | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields
        self.index = index
        self.body_length = body_length
        self.keep_alive = keep_alive
        self.expect_continue = expect_continue
        self.upgrade = upgrade
        self.memo = memo

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.target!r} {len(self.fields)} fields, body {self.body_length}>"


class ResponseHead:
    """One answer head, from an upstream or made here. ``fields`` may be edited by response hooks; framing fields
    (``content-length``, ``transfer-encoding``, ``connection``) are not in it when it goes down: the engine frames
    from ``body_length``.

    memo   shared with other heads of the same field block, None when made here
    text   the lines of ``fields``, ready to be written, when nobody has edited them; "" otherwise
    dated  a ``date`` line is in ``text``
    """

    __slots__ = ("body_length", "dated", "fields", "keep_alive", "memo", "reason", "status", "text", "version")

    def __init__(
        self,
        status: int,
        reason: str,
        fields: Fields,
        body_length: int = NO_BODY,
        version: int = 11,
        keep_alive: bool = True,
        memo: HeadMemo | None = None,
    ) -> None:
        self.memo = memo
        self.text = ""
        self.dated = False
        self.status = status
        self.reason = reason
        self.fields = fields
        self.body_length = body_length
        self.version = version
        self.keep_alive = keep_alive

    def get(self, name: str) -> str | None:
        """The first value of *name* (lower case), or None."""
        for field_name, value in self.fields:
            if field_name == name:
                return value
        return None

    def set(self, name: str, value: str) -> None:
        """Replace every line of *name* (lower case) by one."""
        self.remove(name)
        self.fields.append((name, value))

    def remove(self, name: str) -> None:
        """Drop every line of *name* (lower case)."""
        self.fields = [f for f in self.fields if f[0] != name]

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} {len(self.fields)} fields, body {self.body_length}>"


class Answer:
    """A whole answer that the gateway itself gives: a fixed answer, a refusal, a preflight. Returning one from a
    hook ends the trip. ``fields`` without framing: length, date and connection are the engine's. ``reset``: none is
    sent, the connection is broken off."""

    __slots__ = ("body", "close", "fields", "reset", "status")

    def __init__(
        self, status: int, fields: Fields | None = None, body: bytes = b"", close: bool = False, reset: bool = False
    ) -> None:
        self.status = status
        self.reset = reset
        self.fields: Fields = fields if fields is not None else []
        self.body = body
        self.close = close

    def __repr__(self) -> str:
        return f"<Answer {self.status} {len(self.body)} bytes>"
