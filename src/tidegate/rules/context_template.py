"""Context templates: text with slots, and nothing that computes (CRP 9).

``{{slot}}`` puts a value in; ``{{?slot}}...{{/slot}}`` stands where the slot has one. No loops, no code, no includes. A
template is compiled once; what could move a byte in front of the breakpoint is refused there, not at a turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from tidegate.exchange.chat import Raw
from tidegate.exchange.context import Item, Selector, View
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.context_words import fact_line, plain
from tidegate.rules.item_messages import text_of
from tidegate.rules.item_selector import fits, select
from tidegate.rules.json_patch import CannotApply, find, parse_pointer
from tidegate.wire.json_object import encode
from tidegate.wire.json_text import dumps, loads

Source = Literal["vars", "state", "items", "recall", "clock", "place"]
VOLATILE: Final = frozenset({"recall", "clock", "place"})
"""Sources that change by themselves: never in front of the breakpoint (R3)."""
UNTRUSTED: Final = frozenset({"tool", "document", "recall", "extractor"})
"""Whose items fill no slot of ``system`` or ``tools``."""
FORMATS: Final = {"iso-minute": "%Y-%m-%dT%H:%MZ", "iso-hour": "%Y-%m-%dT%HZ", "iso-date": "%Y-%m-%d"}
MEMBERS: Final = frozenset({"name", "slots", "system", "tail", "tools"})
SLOT: Final = frozenset({"type", "stable", "default", "max_bytes", "from", "limit", "format"})
NESTED: Final = 8
"""Sections inside of each other."""

_mark: Final = re.compile(r"\{\{([?/]?)([A-Za-z_][A-Za-z0-9_]{0,63})\}\}")
_stray: Final = re.compile(r"\{\{|\}\}")


@dataclass(frozen=True, slots=True)
class Slot:
    """``type`` of a value from ``vars``; ``pointer`` into the state; ``selector`` and ``limit`` of items."""

    source: Source = "vars"
    type: Literal["string", "number", "boolean", "json"] = "string"
    stable: bool = True
    default: str | None = None
    max_bytes: int = 0
    limit: int = 20
    format: str = "iso-minute"
    pointer: str = ""
    selector: Selector = field(default_factory=Selector)


Piece = str | tuple[Literal["slot", "begin", "end"], str]


@dataclass(frozen=True, slots=True)
class Template:
    """Compiled: ``system`` and ``tail`` in pieces, ``tools`` by name."""

    name: str
    slots: dict[str, Slot]
    system: tuple[Piece, ...]
    tail: tuple[Piece, ...]
    tools: tuple[str, ...] = ()


def compile_template(source: Raw, limits: ContextLimits) -> Template:
    """The template that *source* (JSON) says. Raises 422 ``delta_invalid`` with reason and pointer."""
    if len(source) > limits.template:
        raise _wrong("too_large", "")
    try:
        told = msgspec.json.decode(source)
    except msgspec.DecodeError:
        raise _wrong("not_json", "") from None
    if not isinstance(told, dict):
        raise _wrong("not_object", "")
    for name in told:
        if name not in MEMBERS:
            raise _wrong("unknown_member", "/" + name[:64])
    given = told.get("slots", {})
    if not isinstance(given, dict) or len(given) > limits.slots:
        raise _wrong("slots", "/slots")
    slots = {name: _slot(name, value, limits) for name, value in given.items()}
    system = _pieces(told.get("system", ""), "/system", slots, volatile=False)
    tail = _pieces(told.get("tail", ""), "/tail", slots, volatile=True)
    tools = told.get("tools", [])
    if not isinstance(tools, list) or not all(isinstance(tool, str) for tool in tools):
        raise _wrong("tools", "/tools")
    for at, tool in enumerate(tools):
        if any(not isinstance(piece, str) for piece in _pieces(tool, f"/tools/{at}", slots, volatile=False)):
            raise _wrong("slot_in_tools", f"/tools/{at}")
    return Template(str(told.get("name", "")), slots, system, tail, tuple(tools))


def _slot(name: str, value: Any, limits: ContextLimits) -> Slot:
    where = f"/slots/{name[:64]}"
    if not isinstance(value, dict) or _mark.fullmatch("{{" + name + "}}") is None:
        raise _wrong("bad_slot", where)
    for member in value:
        if member not in SLOT:
            raise _wrong("unknown_member", f"{where}/{member[:64]}")
    source: Source = "vars"
    pointer, selector = "", Selector()
    given = value.get("from", "vars")
    if isinstance(given, str) and given in ("vars", "recall", "clock", "place"):
        source = given  # type: ignore[assignment]
    elif isinstance(given, dict) and given.keys() == {"state"} and isinstance(given["state"], str):
        source, pointer = "state", given["state"]
        try:
            parse_pointer(pointer)
        except (CannotApply, ValueError):
            raise _wrong("bad_pointer", where + "/from/state") from None
    elif isinstance(given, dict):
        source = "items"
        try:
            selector = msgspec.convert(given, Selector)
        except msgspec.ValidationError:
            raise _wrong("bad_selector", where + "/from") from None
        if not set(given) <= {"type", "key", "about", "ids"}:
            raise _wrong("bad_selector", where + "/from")
    else:
        raise _wrong("unknown_source", where + "/from")
    kind = value.get("type", "string")
    stable = value.get("stable", source not in VOLATILE)
    most, limit = value.get("max_bytes", limits.slot), value.get("limit", 20)
    form = value.get("format", "iso-minute")
    default = value.get("default")
    right = (
        kind in ("string", "number", "boolean", "json") and isinstance(stable, bool) and form in FORMATS
        and type(most) is int and 0 < most <= limits.slot and type(limit) is int and 0 < limit <= 1000
    )  # fmt: skip
    if not right:
        raise _wrong("bad_slot", where)
    if stable and source in VOLATILE:
        raise _wrong("volatile_slot", where + "/stable")
    text = None if default is None else default if isinstance(default, str) else encode(default).decode()
    return Slot(source, kind, stable, text, most, limit, form, pointer, selector)


def _pieces(text: Any, where: str, slots: Mapping[str, Slot], *, volatile: bool) -> tuple[Piece, ...]:
    if not isinstance(text, str):
        raise _wrong("not_text", where)
    pieces: list[Piece] = []
    open_sections: list[str] = []
    at = 0
    for mark in _mark.finditer(text):
        _plain_text(text[at : mark.start()], where, pieces)
        at = mark.end()
        sign, name = mark[1], mark[2]
        slot = slots.get(name)
        if slot is None:
            raise _wrong("unknown_slot", where)
        if not volatile and (not slot.stable or slot.source in VOLATILE):
            raise _wrong("volatile_slot", where)
        if sign == "?":
            open_sections.append(name)
            pieces.append(("begin", name))
        elif sign == "/":
            if not open_sections or open_sections.pop() != name:
                raise _wrong("unbalanced_section", where)
            pieces.append(("end", name))
        else:
            pieces.append(("slot", name))
        if len(open_sections) > NESTED:
            raise _wrong("too_deep", where)
    _plain_text(text[at:], where, pieces)
    if open_sections:
        raise _wrong("unbalanced_section", where)
    return tuple(pieces)


def _plain_text(text: str, where: str, pieces: list[Piece]) -> None:
    if _stray.search(text):
        raise _wrong("bad_mark", where)
    if text:
        pieces.append(text)


def _wrong(reason: str, pointer: str) -> Fault:
    error = {"op": 0, "reason": reason, "pointer": pointer}
    return Fault("delta_invalid", f"The template cannot be used: {reason} at {pointer or 'its root'}.", reason=reason,
                 side=CLIENT, extra={"errors": [error]})  # fmt: skip


# -- filled ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Values:
    """What slots are filled from. ``vars``: a JSON object; ``now`` in milliseconds; ``recalled`` of this turn."""

    view: View
    vars: Raw = b"{}"
    now: int = 0
    recalled: Sequence[Item] = ()


def system_text(template: Template, values: Values) -> str:
    """The system text. Raises 422 ``slot_missing``."""
    return _filled(template, template.system, values, trusted=True)


def tail_text(template: Template, values: Values) -> str:
    """What stands in the tail of a turn."""
    return _filled(template, template.tail, values, trusted=False)


def _filled(template: Template, pieces: Sequence[Piece], values: Values, *, trusted: bool) -> str:
    known: dict[str, str] = {}
    out: list[str] = []
    hidden = 0
    for piece in pieces:
        if isinstance(piece, str):
            if not hidden:
                out.append(piece)
            continue
        kind, name = piece
        if kind == "end":
            hidden = max(0, hidden - 1)
            continue
        if hidden:
            hidden += kind == "begin"
            continue
        if name not in known:
            known[name] = _value(name, template.slots[name], values, trusted, needed=kind == "slot")
        if kind == "slot":
            out.append(known[name])
        elif not known[name]:
            hidden = 1
    return "".join(out)


def _value(name: str, slot: Slot, values: Values, trusted: bool, needed: bool) -> str:
    """The text of a slot, "" for none. It is data: nobody parses it again."""
    found: str | None
    if slot.source == "vars":
        found = _var(name, slot, values.vars)
    elif slot.source == "state":
        value = find(loads(values.view.state), parse_pointer(slot.pointer))
        found = None if value is None else plain(dumps(value))
    elif slot.source == "clock":
        found = datetime.fromtimestamp(values.now / 1000.0, UTC).strftime(FORMATS[slot.format])
    elif slot.source == "recall":
        found = "\n".join([text_of(item) for item in values.recalled]) or None
    else:
        found = "\n".join([fact_line(item) for item in _items(slot, values, trusted)]) or None
    if found is None:
        if slot.default is not None:
            found = slot.default
        elif slot.source in ("vars", "state") and needed:
            raise Fault("slot_missing", f"The slot {name} has no value.", reason=name, side=CLIENT)
        else:
            found = ""
    if len(found.encode("utf-8", "surrogatepass")) > slot.max_bytes:
        raise Fault("slot_missing", f"The value of slot {name} is longer than {slot.max_bytes} bytes.", reason=name,
                    side=CLIENT)  # fmt: skip
    return found


def _var(name: str, slot: Slot, vars: Raw) -> str | None:
    try:
        told = msgspec.json.decode(vars)
    except msgspec.DecodeError:
        told = None
    value = told.get(name) if isinstance(told, dict) else None
    if value is None:
        return None
    if slot.type == "string" and isinstance(value, str):
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if (
        (slot.type == "number" and number)
        or (slot.type == "boolean" and isinstance(value, bool))
        or slot.type == "json"
    ):
        return encode(value).decode()
    raise Fault("slot_missing", f"The value of slot {name} must be a {slot.type}.", reason=name, side=CLIENT)


def _items(slot: Slot, values: Values, trusted: bool) -> list[Item]:
    """By (key, id), at most ``limit``; the latest place for ``place``."""
    view = values.view
    current = [item for item in view.items if not item.key or view.by_key.get(item.key) == view.by_id[item.id]]
    if slot.source == "place":
        return select(current, Selector(type=("place",)), values.now)[-1:]
    found = [
        item for item in select(current, Selector(as_of=values.now), values.now)
        if fits(item, slot.selector) and not (trusted and item.provenance.by in UNTRUSTED)
    ]  # fmt: skip
    found.sort(key=lambda item: (item.key, item.id))
    return found[: slot.limit]
