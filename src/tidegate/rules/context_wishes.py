"""What a model call says about its conversation, from members and ``Context-*`` fields together (CRP 1.3, 3.1, 6.2)."""

from __future__ import annotations

import re
from typing import Any, Final, cast

import msgspec

from tidegate.exchange.chat import Raw
from tidegate.exchange.context import Budget, Kept, Level, Op, TemplateWish, Wishes
from tidegate.exchange.context_ids import Address, is_branch, read_id, read_session
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.wire.context_json import read_ops

MEMBERS: Final = frozenset({"context_id", "session_id", "delta_updates", "parent", "context"})
"""Top-level members of CRP itself: no provider sees them."""

PREVIOUS: Final = ("previous_response_id", "previous_message_id", "previous_interaction_id")
"""How dialects name the answer that a call continues."""

STATE: Final = frozenset((*PREVIOUS, "conversation", "store"))
"""Top-level members of dialects that speak of a kept conversation."""

LISTS: Final[dict[str, str]] = {
    "openai_chat": "messages", "anthropic_messages": "messages", "openai_responses": "input",
    "gemini_generate": "contents",
}  # fmt: skip
"""Dialect -> the member that holds its messages, which may be missing beside ``delta_updates``."""

FIELD: Final = 256
"""Characters of a ``Context-*`` field (CRP 14)."""

_FIELDS: Final = ("context-id", "context-parent", "context-level", "context-policy", "context-branch")

_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "level": ("implicit", "id", "delta", "merge"),
    "on_conflict": ("reject", "rebase", "fork"),
    "on_busy": ("queue", "reject", "supersede", "fork"),
    "on_disconnect": ("finish", "cancel"),
    "on_resend": ("dedupe", "reject"),
    "store": ("durable", "session", "none"),
    "return": ("none", "minimal", "full"),
}

_TOKENS: Final = 1 << 31
_is_tag: Final = re.compile(r'"(cv_[0-9A-Z]{26})[.0-9A-Za-z]*"').fullmatch

NONE: Final = Wishes()
"""Of a call that says nothing."""


def read_wishes(
    members: dict[str, Any], fields: dict[str, str], dialect: str, levels: tuple[Level, ...], limits: ContextLimits
) -> Wishes:  # fmt: skip
    """The wishes of a call whose body has the top level *members* and whose request fields are *fields* (lower-case
    names). *levels* are those of the route. Raises 400 ``context_ambiguous``, ``level_mismatch``,
    ``unsupported_level``, ``unsupported_protocol``, ``invalid_body``, and what a broken delta is."""
    if "context-protocol" in fields:
        _check_protocol(fields["context-protocol"])
    told = members.get("context")
    if told is None:
        told = {}
    elif not isinstance(told, dict):
        raise _invalid("context must be an object.", "context")
    asked = _Asked(members, told, fields)
    context, session = asked.reference()
    version, spelling = asked.previous()
    parent = asked.parent()
    by_ref = bool(context or session)
    if version and parent and version != parent:
        raise _ambiguous(f"{spelling} and parent name two versions.", "parent")
    if not by_ref and parent and not version:
        version, parent, spelling = parent, "", "parent"
    elif version:
        parent = ""
    ops: tuple[Op, ...] = ()
    if "delta_updates" in members:
        ops = read_ops(members["delta_updates"], limits)
    stated = frozenset(name for name in MEMBERS if name in members) | frozenset(told)
    if asked.condition is not None:
        stated |= {"if-match"}
    if version:
        addressed = "version"
    else:
        addressed = "ref" if by_ref else "none"
    store = _store(members, told, dialect)
    template = _template(told.get("template"))
    level = _level(asked.choice("level", fields.get("context-level", "")), levels, addressed != "none",
                   "delta_updates" in members, template is not None, kept(members, told, dialect, store))  # fmt: skip
    return Wishes(
        context=context,
        session=session,
        version=version,
        parent=parent,
        addressed=addressed,  # type: ignore[arg-type]
        branch=asked.branch(),
        level=level,
        ops=ops,
        on_conflict=asked.choice("on_conflict", "") or "reject",  # type: ignore[arg-type]
        on_busy=asked.choice("on_busy", "") or "queue",  # type: ignore[arg-type]
        on_disconnect=asked.choice("on_disconnect", ""),  # type: ignore[arg-type]
        on_resend=asked.choice("on_resend", "") or "dedupe",  # type: ignore[arg-type]
        policy=asked.policy(),
        template=template,
        budget=_budget(told.get("budget")),
        inherit=_inherits(told, members),
        store=store,
        returned=asked.choice("return", "") or "minimal",  # type: ignore[arg-type]
        previous_spelling=spelling,
        stated=stated,
    )


def strip(body: bytes, dialect: str, model: str) -> bytes:
    """*body* without what a conversation is named by, ready to be read in *dialect*: an empty list of messages and the
    inherited *model* stand where the client left them out."""
    left: dict[str, msgspec.Raw] = {
        name: value for name, value in _members(body).items() if name not in MEMBERS and name not in STATE
    }
    name = LISTS.get(dialect, "")
    if name and name not in left:
        left[name] = msgspec.Raw(b"[]")
    if model and "model" not in left:
        left["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(left)


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Asked:
    """One call while it is read: the same thing may be said by a member and by a field, and both must agree."""

    def __init__(self, members: dict[str, Any], told: dict[str, Any], fields: dict[str, str]) -> None:
        self.members = members
        self.told = told
        self.fields: dict[str, str] = {}
        for name in _FIELDS:
            value = fields.get(name)
            if value is None:
                continue
            if not 0 < len(value) <= FIELD:
                raise _invalid(f"{name} has at most {FIELD} characters.", name)
            self.fields[name] = value
        tag = _is_tag(fields.get("if-match", ""))
        self.condition: str | None = tag[1] if tag is not None else None
        """The version of an ``If-Match``."""

    def reference(self) -> tuple[str, str]:
        """(context, session name); "" for not named."""
        found: list[tuple[str, Address]] = []
        for name, value in (
            ("context_id", self.members.get("context_id")),
            ("context.id", self.told.get("id")),
            ("session_id", self.members.get("session_id")),
            ("conversation", self._conversation()),
            ("Context-Id", self.fields.get("context-id")),
        ):
            if value is None:
                continue
            address = read_session(value) if isinstance(value, str) else None
            if address is None or (address.kind == "name" and name not in ("session_id", "Context-Id")):
                raise Fault("context_not_found", "No context has this id.", reason=name, side=CLIENT)
            found.append((name, address))
        for name, address in found[1:]:
            if address != found[0][1]:
                raise _ambiguous(f"{found[0][0]} and {name} name two contexts.", name)
        if not found:
            return "", ""
        address = found[0][1]
        return (address.id, "") if address.kind == "context" else ("", address.id)

    def _conversation(self) -> object:
        value = self.members.get("conversation")
        return value.get("id") if isinstance(value, dict) else value

    def previous(self) -> tuple[str, str]:
        """(version, the member that names it)."""
        version = spelling = ""
        for name in PREVIOUS:
            value = self.members.get(name)
            if value is None:
                continue
            address = read_id(value) if isinstance(value, str) else None
            if address is None or address.kind != "version":
                raise not_found(name)
            if version and version != address.id:
                raise _ambiguous(f"{spelling} and {name} name two versions.", name)
            version, spelling = address.id, name
        return version, spelling

    def parent(self) -> str:
        found: list[tuple[str, str]] = []
        for name, value in (
            ("parent", self.members.get("parent")),
            ("context.parent", self.told.get("parent")),
            ("Context-Parent", self.fields.get("context-parent")),
            ("If-Match", self.condition),
        ):
            if value is None:
                continue
            address = read_id(value) if isinstance(value, str) else None
            if address is None or address.kind != "version":
                raise not_found("parent")
            found.append((name, address.id))
        for name, id in found[1:]:
            if id != found[0][1]:
                raise _ambiguous(f"{found[0][0]} and {name} name two versions.", name)
        return found[0][1] if found else ""

    def branch(self) -> str:
        value = self._either("branch", "context-branch")
        if value and not is_branch(value):
            raise _invalid("context.branch is no name of a branch.", "context.branch")
        return value

    def policy(self) -> Raw:
        value = self.told.get("policy")
        field = self.fields.get("context-policy", "")
        if value is None:
            return msgspec.json.encode(field) if field else b""
        if not isinstance(value, (str, dict)):
            raise _invalid("context.policy is a name or a patch.", "context.policy")
        if field and value != field:
            raise _ambiguous("context.policy and Context-Policy differ.", "context.policy")
        return msgspec.json.encode(value)

    def choice(self, name: str, field: str) -> str:
        """One of a few words, "" for not said."""
        value = self.told.get(name)
        if value is None:
            value = field or None
        elif field and field != value:
            raise _ambiguous(f"context.{name} and Context-{name.capitalize()} differ.", f"context.{name}")
        if value is None:
            return ""
        if value not in _CHOICES[name]:
            raise _invalid(f"context.{name} is one of {', '.join(_CHOICES[name])}.", f"context.{name}")
        return cast(str, value)

    def _either(self, member: str, field: str) -> str:
        value = self.told.get(member)
        told = self.fields.get(field, "")
        if value is None:
            return told
        if not isinstance(value, str):
            raise _invalid(f"context.{member} must be text.", f"context.{member}")
        if told and told != value:
            raise _ambiguous(f"context.{member} and its field differ.", f"context.{member}")
        return value


def kept(members: dict[str, Any], told: dict[str, Any], dialect: str, store: Kept) -> bool:
    """Is a call that addresses nothing to be kept all the same (CRP 6.2)? Responses are by default, chat when it says
    ``store: true``, any dialect when ``context`` says so."""
    if store == "none":
        return False
    if told.get("store") is not None or told.get("template") is not None:
        return True
    if dialect == "openai_responses":
        return True
    return dialect == "openai_chat" and members.get("store") is True


def not_found(spelling: str) -> Fault:
    """No version of this id, told in the words of the member that named it (CRP 3.7)."""
    if spelling == "previous_response_id":
        return Fault("previous_response_not_found", "The previous response was not found.", reason=spelling,
                     side=CLIENT)  # fmt: skip
    return Fault("version_not_found", "No version has this id.", reason=spelling, side=CLIENT)


def _check_protocol(text: str) -> None:
    major = text.strip().partition(".")[0]
    if major != "1":
        raise Fault("unsupported_protocol", "This gateway speaks Context-Protocol 1.", side=CLIENT,
                    extra={"supported": ["1"]})  # fmt: skip


def _store(members: dict[str, Any], told: dict[str, Any], dialect: str) -> Kept:
    value = told.get("store")
    if value is None:
        return "none" if members.get("store") is False else "durable"
    if value not in _CHOICES["store"]:
        raise _invalid(f"context.store is one of {', '.join(_CHOICES['store'])}.", "context.store")
    return cast(Kept, value)


def _level(stated: str, levels: tuple[Level, ...], addressed: bool, delta: bool, template: bool, keep: bool) -> Level:
    """The level, inferred where it was not *stated* (CRP 6.2)."""
    inferred: Level
    if delta:
        inferred = "delta"
    elif addressed or (keep and "id" in levels):
        inferred = "id"
    else:
        inferred = "implicit"
    level: Level = inferred
    if stated:
        level = cast(Level, stated)
        if level == "implicit":
            wrong = addressed or delta
        elif level == "id":
            wrong = delta
        elif level == "delta":
            wrong = not delta and not template
        else:
            wrong = not addressed
        if wrong:
            raise Fault("level_mismatch", f"The body is not of level {level}.", reason="context.level", side=CLIENT)
    if level not in levels and (stated or addressed or delta):
        raise Fault("unsupported_level", f"This route serves the levels {', '.join(levels) or 'none'}.", side=CLIENT,
                    extra={"levels": list(levels)})  # fmt: skip
    return level


def _template(value: Any) -> TemplateWish | None:
    if value is None:
        return None
    ref = value.get("ref") if isinstance(value, dict) else None
    if not isinstance(ref, str) or not 0 < len(ref) <= FIELD:
        raise _invalid("context.template names a ref.", "context.template")
    given = value.get("vars", {})
    if not isinstance(given, dict):
        raise _invalid("context.template.vars must be an object.", "context.template.vars")
    return TemplateWish(ref, msgspec.json.encode(given))


def _budget(value: Any) -> Budget:
    if value is None:
        return Budget()
    if not isinstance(value, dict):
        raise _invalid("context.budget must be an object.", "context.budget")
    return Budget(_tokens(value, "max_input"), _tokens(value, "reserve_output"))


def _tokens(value: dict[str, Any], name: str) -> int:
    count = value.get(name, 0)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < _TOKENS:
        raise _invalid(f"context.budget.{name} counts tokens.", f"context.budget.{name}")
    return count


def _inherits(told: dict[str, Any], members: dict[str, Any]) -> bool:
    """May what the call leaves out be that of the last turn (CRP 3.1)? Of a client that only sends fields, no: it has
    no way to say that leaving out means leaving out."""
    value = told.get("inherit")
    if value is not None:
        if not isinstance(value, bool):
            raise _invalid("context.inherit must be true or false.", "context.inherit")
        return value
    return "context_id" in members or "session_id" in members or "parent" in members or bool(
        "parent" in told or "id" in told
    )  # fmt: skip


def _invalid(detail: str, pointer: str) -> Fault:
    return Fault("invalid_body", detail, reason=pointer, side=CLIENT)


def _ambiguous(detail: str, pointer: str) -> Fault:
    return Fault("context_ambiguous", detail, reason=pointer, side=CLIENT)
