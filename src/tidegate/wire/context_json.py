"""Items, ops and selectors as CRP/1 writes them in JSON <-> their values (CRP 1.5, 3, 4).

Values are those of ``wire/json_text`` (a number is a ``msgspec.Raw`` of its digits) or plain Python: whoever decodes a
body has passed it through the gate. Only the shape is judged here; whether an op applies is for the rules. Objects that
go out hold content as ``msgspec.Raw``, so not a byte of it is made anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args

import msgspec

from tidegate.exchange.context import (
    PRIVACY,
    Append,
    Compact,
    Elide,
    Geo,
    Item,
    Mark,
    Merge,
    Op,
    OpError,
    Patch,
    Provenance,
    Put,
    Remove,
    Rollback,
    Selector,
    SetPolicy,
    Splice,
)
from tidegate.exchange.context_ids import is_item_id, is_key
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.wire.json_text import dumps

NAME: Final = 256
"""Characters of a name: a role, a status, a tool's name, a call's id."""
URI: Final = 2048
TAGS: Final = 16
"""Of ``about``."""
IDS: Final = 1024
"""In a selector."""

_ELIDE: Final = frozenset(get_args(Elide)) - {""}
_PRIVACY: Final = frozenset(PRIVACY)
_BY: Final = frozenset({"client", "tool", "document", "extractor"})
"""What a client may say of an item's origin: never more trust than its own."""
_TOLD: Final = frozenset({"rev", "tokens", "recorded", "digest"})
"""Told by the gateway, and passed over where a client sends an item back."""
_HEX: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class _Bad(Exception):
    """Why a value is refused: *reason* as CRP 4.2 names it, *pointer* within the op."""

    def __init__(self, pointer: str, reason: str = "bad_item") -> None:
        super().__init__(reason, pointer)
        self.reason: str = reason
        self.pointer: str = pointer


# -- times -------------------------------------------------------------------------------------------------------------


def read_time(text: str) -> int:
    """RFC 3339 as milliseconds since the epoch. ``ValueError`` for anything else, a time without a zone included."""
    found = _TIME(text)
    if found is None:
        raise ValueError("a time is written as RFC 3339 has it: 2026-11-22T09:02:00Z")
    date, time, fraction, zone = found[1], found[2], found[3] or "", found[4]
    moment = datetime.fromisoformat(f"{date}T{time}{'+00:00' if zone in 'Zz' else zone}")
    return (moment - _EPOCH) // _MILLISECOND + int(fraction[:3].ljust(3, "0"))


def write_time(ms: int) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC; what lies outside the years 1 to 9999 as the nearest within."""
    try:
        moment = _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC) if ms > 0 else datetime.min.replace(tzinfo=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- items -------------------------------------------------------------------------------------------------------------


def read_item(value: Any, limits: ContextLimits) -> Item:
    """One item as a client writes it (CRP 4.1); unknown members are kept in ``extra``. Raises 422 ``delta_invalid``
    with reason ``bad_item`` and a pointer into *value*, and 413 ``too_large`` for a content beyond the limit."""
    try:
        return _item(value, limits, "")
    except _Bad as bad:
        raise delta_invalid(0, bad.reason, bad.pointer) from None


def _item(value: Any, limits: ContextLimits, at: str) -> Item:
    if not isinstance(value, dict):
        raise _Bad(at)
    type_ = value.get("type")
    if not isinstance(type_, str) or not 0 < len(type_) <= NAME:
        raise _Bad(at + "/type")
    members: dict[str, Any] = {"type": type_}
    extra: dict[str, bytes] = {}
    size = 0
    for name, told in value.items():
        if name == "type" or name in _TOLD:
            continue
        if name == "content":
            content = dumps(told)
            size += len(content)
            members["content"] = content
            continue
        read = _MEMBERS.get(name)
        if read is None:
            if name == "arguments" and type_ == "tool_call" and "content" not in value:
                members["content"] = dumps(told if isinstance(told, str) else dumps(told).decode())
                size += len(members["content"])
                continue
            extra[name] = kept = dumps(told)
            size += len(kept) + len(name)
            continue
        if told is None:
            continue
        members[name] = read(told, f"{at}/{name}")
    if size > limits.content:
        raise Fault("too_large", f"An item holds at most {limits.content} bytes.", side=CLIENT)
    if extra:
        members["extra"] = extra
    return Item(**members)


def item_object(item: Item) -> dict[str, Any]:
    """*item* as a client reads it: what it may send back, and what only the gateway says (``rev tokens recorded
    digest``)."""
    made: dict[str, Any] = {"id": item.id, "type": item.type} if item.id else {"type": item.type}
    if item.rev:
        made["rev"] = item.rev
    if item.key:
        made["key"] = item.key
    if item.role:
        made["role"] = item.role
    if item.call_id:
        made["call_id"] = item.call_id
    if item.name:
        made["name"] = item.name
    if item.content:
        as_arguments = item.type == "tool_call" and item.content.startswith(b'"')
        made["arguments" if as_arguments else "content"] = msgspec.Raw(item.content)
    if item.status:
        made["status"] = item.status
    if item.pinned:
        made["pinned"] = True
    if item.priority != 5:
        made["priority"] = item.priority
    if item.elide:
        made["elide"] = item.elide
    if item.ttl:
        made["ttl"] = item.ttl
    if item.valid_from is not None:
        made["valid_from"] = write_time(item.valid_from)
    if item.valid_to is not None:
        made["valid_to"] = write_time(item.valid_to)
    if item.at is not None:
        made["at"] = write_time(item.at)
    if item.geo is not None:
        made["geo"] = {"point": item.geo.point} if item.geo.point is not None else {"bbox": item.geo.bbox}
    if item.about:
        made["about"] = item.about
    if item.privacy != "internal":
        made["privacy"] = item.privacy
    if item.schema:
        made["schema"] = item.schema
    if item.must_understand:
        made["must_understand"] = True
    provenance = item.provenance
    if provenance != _CLIENT:
        made["provenance"] = {
            name: told
            for name, told in (("by", provenance.by), ("vendor", provenance.vendor), ("model", provenance.model),
                               ("source", provenance.source))
            if told
        }  # fmt: skip
    if item.supersedes:
        made["supersedes"] = item.supersedes
    if item.covers is not None:
        made["covers"] = item.covers
    for name, kept in item.extra.items():
        made[name] = msgspec.Raw(kept)
    if item.tokens:
        made["tokens"] = item.tokens
    if item.recorded:
        made["recorded"] = write_time(item.recorded)
    if item.digest:
        made["digest"] = write_digest(item.digest)
    return made


def write_digest(digest: bytes) -> str:
    return "sha256:" + digest.hex()


# -- members of an item ------------------------------------------------------------------------------------------------


def _text(value: Any, at: str, longest: int = NAME) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise _Bad(at)
    return value


def _id(value: Any, at: str) -> str:
    if not isinstance(value, str) or not is_item_id(value):
        raise _Bad(at)
    return value


def _key(value: Any, at: str) -> str:
    if not isinstance(value, str) or not is_key(value):
        raise _Bad(at)
    return value


def _role(value: Any, at: str) -> str:
    if value == "developer":
        return "system"
    if value not in ("user", "assistant", "system", "tool"):
        raise _Bad(at)
    return value  # type: ignore[no-any-return]


def _flag(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise _Bad(at)
    return value


def number(value: Any) -> int | None:
    """*value* as a whole number that a 53-bit reader knows; None for anything else."""
    if isinstance(value, msgspec.Raw):
        digits = bytes(value)
        if len(digits) > 16 or not digits.lstrip(b"-").isdigit():
            return None
        value = int(digits)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**53:
        return None
    return value


def _degrees(value: Any, at: str) -> float:
    if isinstance(value, msgspec.Raw):
        value = float(bytes(value))
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not -1e9 < value < 1e9:
        raise _Bad(at)
    return float(value)


def _priority(value: Any, at: str) -> int:
    found = number(value)
    if found is None or not 0 <= found <= 9:
        raise _Bad(at)
    return found


def _ttl(value: Any, at: str) -> int:
    found = number(value)
    if found is None or found < 0:
        raise _Bad(at)
    return found


def _elide(value: Any, at: str) -> str:
    if not isinstance(value, str) or value not in _ELIDE:
        raise _Bad(at)
    return value


def _privacy(value: Any, at: str) -> str:
    if not isinstance(value, str) or value not in _PRIVACY:
        raise _Bad(at)
    return value


def _time(value: Any, at: str) -> int:
    if not isinstance(value, str):
        raise _Bad(at)
    try:
        return read_time(value)
    except ValueError:
        raise _Bad(at) from None


def _place(value: Any, at: str, size: int) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != size:
        raise _Bad(at)
    found = tuple([_degrees(each, at) for each in value])
    for place, degrees in enumerate(found):
        if abs(degrees) > (90.0 if place % 2 else 180.0):
            raise _Bad(at)
    return found


def _geo(value: Any, at: str) -> Geo:
    """``{"point": [lon, lat]}``, ``{"bbox": [...]}``, or RFC 7946's own ``{"type": "Point", "coordinates": [...]}``."""
    if not isinstance(value, dict):
        raise _Bad(at)
    point = value.get("point")
    if point is None and value.get("type") == "Point":
        point = value.get("coordinates")
    bbox = value.get("bbox")
    if (point is None) == (bbox is None):
        raise _Bad(at)
    if point is not None:
        if isinstance(point, list) and len(point) == 3:
            point = point[:2]  # RFC 7946 allows an altitude, which nobody here asks for
        return Geo(point=_place(point, at + "/point", 2))  # type: ignore[arg-type]
    found = _place(bbox, at + "/bbox", 4)
    if found[1] > found[3]:
        raise _Bad(at + "/bbox")
    return Geo(bbox=found)  # type: ignore[arg-type]


def _about(value: Any, at: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > TAGS:
        raise _Bad(at)
    return tuple([_text(each, at, URI) for each in value])


def _uri(value: Any, at: str) -> str:
    return _text(value, at, URI)


def _covers(value: Any, at: str) -> tuple[str, str]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise _Bad(at)
    return _id(value[0], at), _id(value[1], at)


def _provenance(value: Any, at: str) -> Provenance:
    """Only what lowers trust is taken from a client; the rest the gateway says itself."""
    if not isinstance(value, dict):
        raise _Bad(at)
    by = value.get("by", "client")
    return Provenance(by if isinstance(by, str) and by in _BY else "client",  # type: ignore[arg-type]
                      source=_text(value.get("source", ""), at + "/source", URI))  # fmt: skip


_CLIENT: Final = Provenance()
_MEMBERS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "id": _id, "key": _key, "role": _role, "status": _text, "pinned": _flag, "priority": _priority, "elide": _elide,
    "ttl": _ttl, "valid_from": _time, "valid_to": _time, "at": _time, "geo": _geo, "about": _about,
    "privacy": _privacy, "schema": _uri, "must_understand": _flag, "provenance": _provenance, "supersedes": _id,
    "call_id": _text, "name": _text, "covers": _covers,
}  # fmt: skip


# -- ops ---------------------------------------------------------------------------------------------------------------


def read_ops(value: Any, limits: ContextLimits) -> tuple[Op, ...]:
    """``delta_updates`` (CRP 4.2): a list of ops. Raises 422 ``delta_invalid`` with ``errors`` for the first op that is
    none, 413 ``too_large`` for too many items or too large a content, 400 ``invalid_body`` for what is no list."""
    if not isinstance(value, list):
        raise Fault("invalid_body", "delta_updates is a list of operations.", side=CLIENT)
    if len(value) > limits.ops:
        raise delta_invalid(limits.ops, "too_many_ops", "")
    found: list[Op] = []
    items = patches = 0
    for number_, told in enumerate(value):
        try:
            name = told.get("op") if isinstance(told, dict) else None
            read = _OPS.get(name) if isinstance(name, str) else None
            if read is None:
                raise _Bad("/op", "unknown_op")
            op = read(told, limits)
        except _Bad as bad:
            raise delta_invalid(number_, bad.reason, bad.pointer) from None
        if isinstance(op, Append):
            items += len(op.items)
        elif isinstance(op, (Put, Compact)):
            items += 1
        elif isinstance(op, Patch):
            patches += len(told["patch"])
            if patches > limits.patch_ops:
                raise delta_invalid(number_, "too_many_ops", "/patch")
        if items > limits.items_per_request:
            raise Fault("too_large", f"A request brings at most {limits.items_per_request} items.", side=CLIENT)
        found.append(op)
    return tuple(found)


def delta_invalid(op: int, reason: str, pointer: str) -> Fault:
    """422, saying which op, why, and where in it."""
    return Fault(
        "delta_invalid", f"Operation {op}: {reason}.", reason=reason, side=CLIENT,
        extra={"errors": [{"op": op, "reason": reason, "pointer": pointer}]},
    )  # fmt: skip


def error_object(error: OpError) -> dict[str, Any]:
    return {"op": error.op, "reason": error.reason, "pointer": error.pointer}


def _append(told: dict[str, Any], limits: ContextLimits) -> Op:
    items = told.get("items")
    if not isinstance(items, list):
        raise _Bad("/items")
    if len(items) > limits.items_per_request:
        raise Fault("too_large", f"A request brings at most {limits.items_per_request} items.", side=CLIENT)
    return Append(items=tuple([_item(each, limits, f"/items/{place}") for place, each in enumerate(items)]))


def _put(told: dict[str, Any], limits: ContextLimits) -> Op:
    item = _item(told.get("item"), limits, "/item")
    if not item.key:
        raise _Bad("/item/key", "key_missing")
    return Put(item=item)


def _remove(told: dict[str, Any], limits: ContextLimits) -> Op:
    id, key = told.get("id"), told.get("key")
    if (id is None) == (key is None):
        raise _Bad("/id", "target_missing")
    if key is not None:
        if not isinstance(key, str) or not is_key(key):
            raise _Bad("/key", "target_missing")
        return Remove(key=key)
    return Remove(id=_target(id, "/id"))


def _target(value: Any, at: str) -> str:
    if not isinstance(value, str) or not is_item_id(value):
        raise _Bad(at, "target_missing")
    return value


def _patch(told: dict[str, Any], limits: ContextLimits) -> Op:
    patch = told.get("patch")
    if not isinstance(patch, list):
        raise _Bad("/patch", "patch_failed")
    return Patch(on=_target(told.get("on"), "/on"), patch=_bounded(patch, limits))


def _merge(told: dict[str, Any], limits: ContextLimits) -> Op:
    if "value" not in told:
        raise _Bad("/value", "not_object")
    return Merge(on=_target(told.get("on"), "/on"), value=_bounded(told["value"], limits))


def _bounded(value: Any, limits: ContextLimits) -> bytes:
    found = dumps(value)
    if len(found) > limits.content:
        raise Fault("too_large", f"A value holds at most {limits.content} bytes.", side=CLIENT)
    return found


def _splice(told: dict[str, Any], limits: ContextLimits) -> Op:
    at, delete, insert = number(told.get("at")), number(told.get("del", 0)), told.get("ins", "")
    path, was = told.get("path", ""), told.get("was", "")
    if at is None or at < 0:
        raise _Bad("/at", "out_of_range")
    if delete is None or delete < 0:
        raise _Bad("/del", "out_of_range")
    if not isinstance(insert, str):
        raise _Bad("/ins", "not_text")
    if not isinstance(path, str):
        raise _Bad("/path", "not_text")
    if not isinstance(was, str) or (was and _HEX(was) is None):
        raise _Bad("/was", "was_mismatch")
    if len(insert) > limits.content:
        raise Fault("too_large", f"A value holds at most {limits.content} bytes.", side=CLIENT)
    return Splice(id=_target(told.get("id"), "/id"), at=at, delete=delete, insert=insert, path=path, was=was)


def _mark(told: dict[str, Any], limits: ContextLimits) -> Op:
    id = _target(told.get("id"), "/id")
    try:
        return Mark(
            id=id,
            pinned=_flag(told["pinned"], "/pinned") if "pinned" in told else None,
            priority=_priority(told["priority"], "/priority") if "priority" in told else None,
            elide=_elide(told["elide"], "/elide") if "elide" in told else None,  # type: ignore[arg-type]
            privacy=_privacy(told["privacy"], "/privacy") if "privacy" in told else None,  # type: ignore[arg-type]
        )
    except _Bad as bad:
        raise _Bad(bad.pointer, "bad_value") from None


def _compact(told: dict[str, Any], limits: ContextLimits) -> Op:
    try:
        first, last = _id(told.get("from"), "/from"), _id(told.get("to"), "/to")
    except _Bad as bad:
        raise _Bad(bad.pointer, "bad_range") from None
    summary = told.get("summary")
    if isinstance(summary, str):
        summary = {"type": "summary", "content": summary}
    elif isinstance(summary, dict) and "type" not in summary:
        summary = {"type": "summary", **summary}
    item = _item(summary, limits, "/summary")
    if item.type != "summary":
        raise _Bad("/summary/type")
    return Compact(first=first, last=last, summary=item)


def _rollback(told: dict[str, Any], limits: ContextLimits) -> Op:
    to = told.get("to")
    if not isinstance(to, str) or len(to) > NAME:
        raise _Bad("/to", "not_ancestor")
    return Rollback(to=to)


def _set_policy(told: dict[str, Any], limits: ContextLimits) -> Op:
    policy = told.get("policy")
    if not isinstance(policy, (str, dict)):
        raise _Bad("/policy", "policy_forbidden")
    return SetPolicy(policy=dumps(policy))


_OPS: Final[dict[str, Callable[[dict[str, Any], ContextLimits], Op]]] = {
    "append": _append, "put": _put, "remove": _remove, "patch": _patch, "merge": _merge, "splice": _splice,
    "mark": _mark, "compact": _compact, "rollback": _rollback, "set_policy": _set_policy,
}  # fmt: skip

OPS: Final = tuple(_OPS)
"""Their names, as discovery lists them."""


def op_object(op: Op) -> dict[str, Any]:
    """*op* as a client may send it."""
    if isinstance(op, Append):
        return {"op": "append", "items": [item_object(item) for item in op.items]}
    if isinstance(op, Put):
        return {"op": "put", "item": item_object(op.item)}
    if isinstance(op, Remove):
        return {"op": "remove", "id": op.id} if op.id else {"op": "remove", "key": op.key}
    if isinstance(op, Patch):
        return {"op": "patch", "on": op.on, "patch": msgspec.Raw(op.patch)}
    if isinstance(op, Merge):
        return {"op": "merge", "on": op.on, "value": msgspec.Raw(op.value)}
    if isinstance(op, Splice):
        made: dict[str, Any] = {"op": "splice", "id": op.id, "at": op.at, "del": op.delete, "ins": op.insert}
        if op.path:
            made["path"] = op.path
        if op.was:
            made["was"] = op.was
        return made
    if isinstance(op, Mark):
        made = {"op": "mark", "id": op.id}
        for name, told in (("pinned", op.pinned), ("priority", op.priority), ("elide", op.elide),
                           ("privacy", op.privacy)):  # fmt: skip
            if told is not None:
                made[name] = told
        return made
    if isinstance(op, Compact):
        return {"op": "compact", "from": op.first, "to": op.last, "summary": item_object(op.summary)}
    if isinstance(op, Rollback):
        return {"op": "rollback", "to": op.to}
    return {"op": "set_policy", "policy": msgspec.Raw(op.policy)}


# -- selectors ---------------------------------------------------------------------------------------------------------


def read_selector(value: Any) -> Selector:
    """A selector (CRP 1.5). Raises 400 ``invalid_body`` for a member that is none or has the wrong shape: a selector
    that is misread would show, or redact, the wrong items."""
    if not isinstance(value, dict):
        raise _no_selector("A selector is an object")
    members: dict[str, Any] = {}
    for name, told in value.items():
        if told is None:
            continue
        try:
            members[name] = _SELECTOR[name](told, "/" + name)
        except KeyError:
            raise _no_selector("A selector has no such member") from None
        except _Bad as bad:
            raise _no_selector(f"{bad.pointer} of the selector has the wrong form") from None
    return Selector(**members)


def _no_selector(what: str) -> Fault:
    return Fault("invalid_body", what + ".", side=CLIENT)


def _ids(value: Any, at: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > IDS:
        raise _Bad(at)
    return tuple([_text(each, at) for each in value])


def _types(value: Any, at: str) -> tuple[str, ...]:
    return _ids([value] if isinstance(value, str) else value, at)


def _pattern(value: Any, at: str) -> str:
    if not isinstance(value, str) or not (is_key(value) or value == "*" or is_key(value.removesuffix(".*"))
                                          or is_key(value.removesuffix("*"))):  # fmt: skip
        raise _Bad(at)
    return value


def _between(value: Any, at: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise _Bad(at)
    return _time(value[0], at), _time(value[1], at)


def _near(value: Any, at: str) -> tuple[float, float, float]:
    if not isinstance(value, dict):
        raise _Bad(at)
    point = _place(value.get("point"), at + "/point", 2)
    radius = _degrees(value.get("radius_m"), at + "/radius_m")
    if radius < 0.0:
        raise _Bad(at + "/radius_m")
    return point[0], point[1], radius


def _bbox(value: Any, at: str) -> tuple[float, ...]:
    found = _place(value, at, 4)
    if found[1] > found[3]:
        raise _Bad(at)
    return found


def _words(value: Any, at: str) -> str:
    return _text(value, at, URI)


_SELECTOR: Final[dict[str, Callable[[Any, str], Any]]] = {
    "ids": _ids, "type": _types, "key": _pattern, "about": _about, "as_of": _time, "between": _between, "near": _near,
    "bbox": _bbox, "text": _words,
}  # fmt: skip
