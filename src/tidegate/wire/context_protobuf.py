"""CRP/1 in protobuf, package ``crp.v1`` (CRP 6.3): a small codec over one table, from which the published ``.proto`` is
written too, so that neither can drift from the other.

A message becomes the value that JSON would have given, and goes through the same readers. Content of unknown shape
travels as JSON bytes. Every field has presence; of an item, fields that are not known here come back as they came.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from math import isfinite
from struct import pack, unpack_from
from typing import Any, Final, NamedTuple

from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.wire.json_scan import scan
from tidegate.wire.json_text import dumps, loads


class Field(NamedTuple):
    """``kind``: ``string int64 bool double json`` (bytes that hold JSON), ``map`` (names to JSON), or a message."""

    number: int
    name: str
    kind: str
    many: bool = False


UNKNOWN: Final = "@protobuf"
"""Member of an item under which fields that are not known here are kept, base64."""


def _fields(*rows: str) -> tuple[Field, ...]:
    """``"string id = 1"``, as the published file has it; numbers are never used again for another thing."""
    found = []
    for row in rows:
        kind, name, _, number = row.removeprefix("repeated ").split(" ")
        found.append(Field(int(number), name, kind, row.startswith("repeated ")))
    return tuple(found)


MESSAGES: Final[dict[str, tuple[Field, ...]]] = {
    "Geo": _fields("repeated double point = 1", "repeated double bbox = 2"),
    "Provenance": _fields("string by = 1", "string vendor = 2", "string model = 3", "string source = 4"),
    "Item": _fields(
        "string id = 1", "string type = 2", "string key = 3", "string role = 4", "json content = 5",
        "string status = 6", "bool pinned = 7", "int64 priority = 8", "string elide = 9", "int64 ttl = 10",
        "string valid_from = 11", "string valid_to = 12", "string at = 13", "Geo geo = 14",
        "repeated string about = 15", "string privacy = 16", "string schema = 17", "bool must_understand = 18",
        "Provenance provenance = 19", "string supersedes = 20", "string call_id = 21", "string name = 22",
        "repeated string covers = 23", "int64 rev = 24", "int64 tokens = 25", "string recorded = 26",
        "string digest = 27", "json arguments = 28", "map more = 29",
    ),
    "Op": _fields(
        "string op = 1", "repeated Item items = 2", "Item item = 3", "string id = 4", "string key = 5",
        "string on = 6", "json patch = 7", "json value = 8", "string path = 9", "int64 at = 10", "int64 del = 11",
        "string ins = 12", "string was = 13", "bool pinned = 14", "int64 priority = 15", "string elide = 16",
        "string privacy = 17", "string from = 18", "string to = 19", "Item summary = 20", "json policy = 21",
    ),
    "Delta": _fields(
        "repeated Op delta_updates = 1", "string parent = 2", "string branch = 3", "string on_conflict = 4",
    ),
    "Create": _fields(
        "string session_id = 1", "repeated Item items = 2", "repeated Op delta_updates = 3", "json state = 4",
        "json policy = 5", "int64 ttl = 6", "string access = 7", "string privacy = 8", "string store = 9",
        "json messages = 10",
    ),
    "Move": _fields("string to = 1", "string branch = 2"),
    "Fork": _fields("string from = 1", "string branch = 2", "bool new = 3"),
    "Join": _fields("string from = 1", "string branch = 2", "string strategy = 3"),
    "Redact": _fields("json selector = 1", "string reason = 2"),
    "Receipt": _fields(
        "string object = 1", "string id = 2", "string version = 3", "string parent = 4", "string branch = 5",
        "string status = 6", "string digest = 7", "repeated string warnings = 8", "repeated string added = 9",
    ),
    "View": _fields(
        "string object = 1", "string id = 2", "string version = 3", "repeated Item items = 4", "json state = 5",
        "string template = 6", "json policy = 7", "string privacy = 8", "string digest = 9",
    ),
}  # fmt: skip

_BY_NUMBER: Final = {name: {field.number: field for field in fields} for name, fields in MESSAGES.items()}
_BY_NAME: Final = {name: {field.name: field for field in fields} for name, fields in MESSAGES.items()}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SCALARS: Final = {"string": "string", "int64": "int64", "bool": "bool", "double": "double", "json": "bytes"}


# -- reading -----------------------------------------------------------------------------------------------------------


def read_message(name: str, body: bytes, limits: ContextLimits) -> dict[str, Any]:
    """The message *name* in *body*, as the value JSON would have given. Raises 400 ``invalid_body``."""
    return _Reader(limits).message(name, body, 0, len(body), 1)


class _Reader:
    __slots__ = ("depth", "limits")

    def __init__(self, limits: ContextLimits) -> None:
        self.limits: ContextLimits = limits
        self.depth: int = limits.depth

    def message(self, name: str, body: bytes, at: int, end: int, depth: int) -> dict[str, Any]:
        if depth > self.depth:
            raise invalid("The message is nested too deeply.", "depth_exceeded")
        fields = _BY_NUMBER[name]
        found: dict[str, Any] = {}
        unknown = b""
        while at < end:
            start = at
            tag, at = varint(body, at, end)
            wire = tag & 7
            value: Any
            if wire == _VARINT:
                value, at = varint(body, at, end)
            elif wire == _BYTES:
                size, at = varint(body, at, end)
                if size > end - at:
                    raise invalid("The message ends too early.")
                value, at = (at, at + size), at + size
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
                if size > end - at:
                    raise invalid("The message ends too early.")
                value, at = (at, at + size), at + size
            else:
                raise invalid("Groups are not used.")
            field = fields.get(tag >> 3)
            if field is None:
                unknown += body[start:at]
                continue
            self.take(field, wire, value, body, found, depth)
        if unknown and name == "Item":
            found[UNKNOWN] = b64encode(unknown).decode("ascii")
        return found

    def take(self, field: Field, wire: int, value: Any, body: bytes, found: dict[str, Any], depth: int) -> None:
        """Put one field where JSON has it."""
        kind, name = field.kind, field.name
        if kind == "int64" or kind == "bool":
            if wire != _VARINT:
                raise invalid(f"{name} has another wire type.")
            found[name] = bool(value) if kind == "bool" else value - (1 << 64) if value >> 63 else value
            return
        if kind == "double":
            found.setdefault(name, []).extend(doubles(wire, value, body, name))
            return
        if wire != _BYTES:
            raise invalid(f"{name} has another wire type.")
        start, end = value
        if kind == "string":
            self.put(field, found, text(body[start:end]))
        elif kind == "json":
            found[name] = self.json(body[start:end])
        elif kind == "map":
            key, told = self.pair(body, start, end)
            if key in found or key == UNKNOWN or key in _BY_NAME["Item"]:
                raise invalid("The message names a key twice.", "duplicate_key")
            found[key] = told
        else:
            self.put(field, found, self.message(kind, body, start, end, depth + 1))

    def put(self, field: Field, found: dict[str, Any], value: Any) -> None:
        if not field.many:
            found[field.name] = value
            return
        kept = found.setdefault(field.name, [])
        if len(kept) >= self.limits.members:
            raise invalid("A list has too many members.")
        kept.append(value)

    def json(self, body: bytes) -> Any:
        """JSON within a message passes the gate of JSON."""
        limits = self.limits
        try:
            scan(body, max_size=limits.body, depth=limits.depth, keys=limits.members)
        except Fault as fault:
            raise invalid(fault.detail or "A value is not JSON.", fault.code) from None
        return loads(body)

    def pair(self, body: bytes, at: int, end: int) -> tuple[str, Any]:
        """An entry of a map: key 1, value 2."""
        key, told = "", b"null"
        while at < end:
            tag, at = varint(body, at, end)
            size, at = varint(body, at, end)
            if tag not in (10, 18) or size > end - at:
                raise invalid("A map entry is broken.")
            if tag == 10:
                key = text(body[at : at + size])
            else:
                told = body[at : at + size]
            at += size
        return key, self.json(told)


def varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at *at*, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
        shift += 7
    raise invalid("A number is broken.")


def doubles(wire: int, value: Any, body: bytes, name: str) -> list[float]:
    """One double, or a packed run of them."""
    if wire in (_VARINT, _FIXED32) or (value[1] - value[0]) % 8:
        raise invalid(f"{name} has another wire type.")
    found = list(unpack_from(f"<{(value[1] - value[0]) // 8}d", body, value[0]))
    if not all(map(isfinite, found)):
        raise invalid("A number is not finite.")
    return found


def text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise invalid("A text is not UTF-8.") from None


def invalid(detail: str, reason: str = "bad_encoding") -> Fault:
    return Fault("invalid_body", detail, reason=reason, side=CLIENT)


# -- writing -----------------------------------------------------------------------------------------------------------


def write_message(name: str, value: dict[str, Any]) -> bytes:
    """*value*, as JSON would have it, as the message *name*. What an item has no field for goes to ``more``; what
    another message has none for is left out."""
    fields = _BY_NAME[name]
    written: list[bytes] = []
    for member, told in value.items():
        if told is None:
            continue
        field = fields.get(member)
        if field is not None:
            written.append(_field(field, told))
        elif name == "Item":
            if member == UNKNOWN and isinstance(told, str):
                try:
                    written.append(b64decode(told, validate=True))
                except BadBase64:
                    continue
            else:
                entry = _chunk(1, member.encode()) + _chunk(2, dumps(told))
                written.append(_chunk(29, entry))
    return b"".join(written)


def _field(field: Field, told: Any) -> bytes:
    number, kind = field.number, field.kind
    if kind == "json":
        return _chunk(number, dumps(told))
    if kind == "double":
        return _chunk(number, pack(f"<{len(told)}d", *told))
    if field.many:
        return b"".join([_single(number, kind, each) for each in told])
    return _single(number, kind, told)


def _single(number: int, kind: str, told: Any) -> bytes:
    if kind == "string":
        return _chunk(number, str(told).encode())
    if kind == "bool" or kind == "int64":
        return _varint(number << 3) + _varint(int(told) & 0xFFFFFFFFFFFFFFFF)
    return _chunk(number, write_message(kind, told))


def _chunk(number: int, raw: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


# -- the published file ------------------------------------------------------------------------------------------------


def proto_text() -> str:
    """``docs/crp/crp.proto``: the same table in protobuf's own words."""
    lines = [
        "// CRP/1 (Context Repository Protocol). Written by `make docs`; numbers are never used again.",
        "// Fields of type bytes hold JSON.",
        'syntax = "proto3";', "", "package crp.v1;",
    ]  # fmt: skip
    for name, fields in MESSAGES.items():
        lines += ["", f"message {name} {{"]
        for field in fields:
            if field.kind == "map":
                kind = "map<string, bytes> "
            elif field.many or field.kind == "double":
                kind = f"repeated {_SCALARS.get(field.kind, field.kind)} "
            else:
                kind = f"optional {_SCALARS.get(field.kind, field.kind)} "
            lines.append(f"  {kind}{field.name} = {field.number};")
        lines.append("}")
    return "\n".join(lines) + "\n"
