"""The field lines of an HTTP/1.1 message: one gate for requests, answers and trailers (S2.3, S2.8, S2.9).

A block is read in two gears. The normal form - a token, a colon, one space, a value without blanks at its edges - is
checked by one possessive pattern and split without another look. Anything else takes the line-by-line gear, which
knows the rest of the grammar and says which rule broke.
"""

from __future__ import annotations

import re
from typing import Final

from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Fields

TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""One character of an RFC 9110 token."""
VALUE: Final = r"[\t -~\x80-\xff]"
"""One character of a field value: visible, a blank, or a byte from 0x80 up (S2.3)."""

SINGLETONS: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "content-type",
        "authorization",
        "x-api-key",
        "expect",
        "max-forwards",
    }
)
"""Fields that come once or not at all (S2.8)."""

FRAMING_NAMES: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect", "keep-alive"}
)
FORWARDING_NAMES: Final = frozenset(
    {
        "forwarded",
        "via",
        "client-cert",
        "client-cert-chain",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "true-client-ip",
        "cf-connecting-ip",
    }
)
"""Fields in which one hop tells the next who the client is; ``FORWARDING_PREFIX`` names the rest."""
FORWARDING_PREFIX: Final = "x-forwarded-"
IDENTITY_NAMES: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "x-tenant-id", "x-consumer", "x-user"}
)
IDENTITY_PREFIXES: Final = ("x-consumer-", "x-user-")
GATEWAY_PREFIX: Final = "x-tidegate-"

_GUARDED: Final = FRAMING_NAMES | FORWARDING_NAMES | IDENTITY_NAMES
_GUARDED_PREFIXES: Final = (FORWARDING_PREFIX, GATEWAY_PREFIX, *IDENTITY_PREFIXES)

_TRAILER_EXTRA: Final = frozenset(
    {
        "set-cookie",
        "content-encoding",
        "content-type",
        "content-range",
        "content-language",
        "content-location",
        "www-authenticate",
        "proxy-authenticate",
        "proxy-connection",
        "proxy-authentication-info",
        "max-forwards",
        "cache-control",
        "range",
        "if-match",
        "if-none-match",
    }
)

# No blank at either edge of the value: what needs trimming goes to the slower gear, so the pairs need no strip().
_NORMAL: Final = re.compile(rf"(?:{TOKEN}++: (?![ \t]){VALUE}++(?<![ \t])\r\n)*+\r\n").fullmatch
_LINE: Final = re.compile(rf"({TOKEN}++):({VALUE}*+)").fullmatch
_PARTIAL: Final = re.compile(rf"(?:{TOKEN}++:{VALUE}*+\r\n)*+(?:{TOKEN}++(?::{VALUE}*+\r?+)?+|\r)?+").fullmatch


def malformed(detail: str, code: str = "bad_request") -> Fault:
    """The Fault of a message that breaks the framing rules; its connection cannot be used any more (S2)."""
    return Fault(code, detail, reason="bad_framing", side=CLIENT, close=True)


def read_fields(block: str) -> Fields:
    """All field lines of *block*, which ends with the blank line's CRLF. Names come back in lower case.

    Raises ``bad_request`` for a line that S2.3 forbids.
    """
    if _NORMAL(block) is None or len(block) == 2:
        return _read_line_by_line(block)
    fields: Fields = []
    for line in block[:-4].split("\r\n"):
        name, _, value = line.partition(": ")
        fields.append((name.lower(), value))
    return fields


def _read_line_by_line(block: str) -> Fields:
    if block != "\r\n" and not block.endswith("\r\n\r\n"):
        raise malformed("The head does not end with an empty line.")
    fields: Fields = []
    for line in block[:-2].split("\r\n")[:-1]:
        match = _LINE(line)
        if match is None:
            raise malformed(_why(line))
        name = match[1].lower()
        raw = match[2]
        value = raw.strip(" \t")
        if (name == "content-length" or name == "transfer-encoding") and raw != value and raw != " " + value:
            # S2.4, S2.5: readers differ about blanks around framing values, so one SP before is all there may be.
            raise malformed("A framing field has blanks around its value.")
        fields.append((name, value))
    return fields


def _why(line: str) -> str:
    if "\n" in line or "\r" in line:
        return "A line does not end with CRLF."
    if line[:1] in (" ", "\t"):
        return "A field line begins with a blank."
    name, colon, _ = line.partition(":")
    if not colon:
        return "A field line has no colon."
    if not re.fullmatch(rf"{TOKEN}++", name):
        return "A field name is not a token."
    return "A field value contains a control character."


def check_partial(text: str) -> None:
    """Raise if *text*, the beginning of a field block, can no longer become a valid one."""
    if _PARTIAL(text) is None:
        raise malformed("The field lines are malformed.")


def build_index(fields: Fields) -> dict[str, str]:
    """name → value, lines of one name joined (``cookie`` with ``; ``, all others with ``, ``).

    Raises ``bad_request`` when a singleton comes twice, equal or not (S2.8).
    """
    index = dict(fields)
    if len(index) != len(fields):
        index = {}
        for name, value in fields:
            if name in index:
                if name in SINGLETONS:
                    raise malformed(f"The field {name} is there twice.")
                index[name] += ("; " if name == "cookie" else ", ") + value
            else:
                index[name] = value
    return index


def check_underscores(fields: Fields) -> None:
    """Refuse a name with ``_`` that a back end which folds ``_`` and ``-`` would take for a guarded one (S2.9)."""
    for name, _ in fields:
        if "_" in name:
            folded = name.replace("_", "-")
            if folded in _GUARDED or folded.startswith(_GUARDED_PREFIXES):
                raise malformed("A field name with an underscore imitates a protected field.")


def forbidden_in_trailers(name: str) -> bool:
    """Trailers never carry what frames, routes, authenticates or describes the message (S2.7)."""
    folded = name.replace("_", "-")
    return folded in _GUARDED or folded in _TRAILER_EXTRA or folded.startswith(_GUARDED_PREFIXES)


def read_trailer_line(line: str) -> tuple[str, str]:
    """One trailer line without its CRLF as (name, value). Raises ``bad_request``."""
    match = _LINE(line)
    if match is None:
        raise malformed(_why(line))
    return match[1].lower(), match[2].strip(" \t")
