"""Templates for field values and paths (S10.2): text with ``{...}`` over the request, the caller and the captures.

No code, no loops, no defaults. ``{{`` and ``}}`` are plain braces. What is missing is empty text, or ``BadValue`` when
it is written ``{consumer|required}``. A template without braces is a literal and costs nothing. Environment references
are written ``${NAME}`` and have been read by the config long before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import ResponseHead
from tidegate.rules.canonical import query_value

Value = Callable[[Exchange, ResponseHead | None], str]

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no field value may hold (S2.3): every control byte except HTAB."""


class BadTemplate(ValueError):
    """A template of the config that means nothing. The message is for the author of the config."""


class BadValue(Exception):
    """A template gave what may not be sent: a control byte, or nothing where something is required. The caller knows
    whose fault that is (S10.2: 400 on a request, 502 on an answer). The message never holds the value."""


class FieldTemplate:
    """A compiled template. ``literal`` is its text when it never changes, else None."""

    __slots__ = ("_names", "_pieces", "literal", "text")

    def __init__(self, text: str, pieces: list[str | Value], names: list[str], literal: str | None) -> None:
        self.text: str = text
        self.literal: str | None = literal
        self._pieces: tuple[str | Value, ...] = tuple(pieces)
        self._names: tuple[str, ...] = tuple(names)

    def render(self, x: Exchange, head: ResponseHead | None = None) -> str:
        """The text for *x*, latin-1 as heads are. *head* is the answer's, for templates of the way back. Raises
        ``BadValue``."""
        if self.literal is not None:
            return self.literal
        text = "".join([p if isinstance(p, str) else p(x, head) for p in self._pieces])
        if _CONTROL.search(text) is not None:
            raise BadValue("The value made for a field holds a control character.")
        return text

    def render_with(self, escape: Callable[[str, str], str], x: Exchange) -> str:
        """The text for *x* with every inserted value passed through ``escape(value, name)``; what was written stays as
        written. Raises ``BadValue`` for what is required and missing; the rest is for *escape* to judge."""
        return "".join([
            p if isinstance(p, str) else escape(p(x, None), name)
            for p, name in zip(self._pieces, self._names, strict=True)
        ])  # fmt: skip

    def __repr__(self) -> str:
        return f"<FieldTemplate {self.text!r}>"


def compile_template(text: str, *, response: bool = False) -> FieldTemplate:
    """Compile *text*, or raise ``BadTemplate``. *response* also allows ``{status}`` and ``{response.header.NAME}``.

    Values: ``{method} {scheme} {host} {path} {query} {client_ip} {request_id} {trace_id} {route} {consumer} {tenant}
    {key_id} {request.header.NAME} {request.query.NAME} {capture.NAME} {claim.NAME}``. A query value is the first of its
    name, decoded; a claim is text or a number.
    """
    pieces: list[str | Value] = []
    names: list[str] = []
    plain = ""
    position = 0
    for match in _PIECE.finditer(text):
        plain += text[position : match.start()]
        position = match.end()
        token = match.group()
        if token in ("{{", "}}"):
            plain += token[0]
        elif match.group(1) is None:
            raise BadTemplate(f"a single brace in {text!r}: write {{{{ or }}}} for a plain one")
        else:
            if plain:
                pieces.append(plain)
                names.append("")
                plain = ""
            pieces.append(_value(match.group(1), response))
            names.append(match.group(1).partition("|")[0])
    plain += text[position:]
    if not pieces or plain:
        pieces.append(plain)
        names.append("")
    for piece in pieces:
        if isinstance(piece, str) and (_CONTROL.search(piece) is not None or not _is_latin_1(piece)):
            raise BadTemplate(f"{text!r} holds a character that no field may hold")
    literal = plain if len(pieces) == 1 and isinstance(pieces[0], str) else None
    return FieldTemplate(text, pieces, names, literal)


def as_latin_1(text: str) -> str:
    """*text* of any characters (a claim, a name) as a head carries it: the bytes of its UTF-8, one character each."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("latin-1")


def _is_latin_1(text: str) -> bool:
    return not text or max(text) <= "\xff"


def _value(expression: str, response: bool) -> Value:
    name, bar, demand = expression.partition("|")
    if bar and demand != "required":
        raise BadTemplate(f"{{{expression}}}: only |required may follow a name")
    value = _plain_value(name, response)
    if not bar:
        return value

    def required(x: Exchange, head: ResponseHead | None) -> str:
        text = value(x, head)
        if not text:
            raise BadValue(f"The value {name} is required and missing.")
        return text

    return required


def _plain_value(name: str, response: bool) -> Value:
    simple = _SIMPLE.get(name)
    if simple is not None:
        return simple
    if response and name == "status":
        return _status
    for prefix, make, caseless in _FAMILIES:
        if name.startswith(prefix) and (response or prefix != "response.header."):
            rest = name[len(prefix) :]
            if not rest or (caseless and _NAME.match(rest) is None):
                break
            return make(rest.lower() if caseless else rest)
    raise BadTemplate(f"{{{name}}} names nothing that a template knows here")


def _consumer(x: Exchange, head: ResponseHead | None) -> str:
    return "" if x.identity is None else as_latin_1(x.identity.consumer)


def _tenant(x: Exchange, head: ResponseHead | None) -> str:
    return "" if x.identity is None else as_latin_1(x.identity.tenant)


def _key_id(x: Exchange, head: ResponseHead | None) -> str:
    return "" if x.identity is None else as_latin_1(x.identity.key_id)


def _status(x: Exchange, head: ResponseHead | None) -> str:
    return "" if head is None else str(head.status)


_SIMPLE: Final[dict[str, Value]] = {
    "method": lambda x, head: x.method,
    "scheme": lambda x, head: x.peer.scheme,
    "host": lambda x, head: x.host,
    "path": lambda x, head: x.path,
    "query": lambda x, head: x.query,
    "client_ip": lambda x, head: x.client_ip,
    "request_id": lambda x, head: x.request_id,
    "trace_id": lambda x, head: x.trace_id,
    "route": lambda x, head: as_latin_1(x.route),
    "consumer": _consumer,
    "tenant": _tenant,
    "key_id": _key_id,
}


def _request_header(name: str) -> Value:
    return lambda x, head: x.get(name) or ""


def _response_header(name: str) -> Value:
    return lambda x, head: (head.get(name) or "") if head is not None else ""


def _capture(name: str) -> Value:
    return lambda x, head: x.captures.get(name, "")


def _claim(name: str) -> Value:
    def claim(x: Exchange, head: ResponseHead | None) -> str:
        value: Any = None if x.identity is None else x.identity.claims.get(name)
        if isinstance(value, str):
            return as_latin_1(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, (int, float)) else ""

    return claim


def _query(name: str) -> Value:
    return lambda x, head: as_latin_1(query_value(x.query, name) or "")


_FAMILIES: Final[tuple[tuple[str, Callable[[str], Value], bool], ...]] = (
    ("request.header.", _request_header, True),
    ("response.header.", _response_header, True),
    ("request.query.", _query, False),
    ("capture.", _capture, False),
    ("claim.", _claim, False),
)
