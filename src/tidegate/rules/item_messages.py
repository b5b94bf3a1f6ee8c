"""Items of a kept conversation <-> turns of the neutral one (CRP 4.1).

Of a turn nothing is lost but how its bytes looked (``raw``), what dialects called it (``id``) and where a client wanted
its cache to end: marks move from call to call, and an item that kept one would never equal the same words again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from tidegate.exchange.chat import (
    Audio,
    Cited,
    Extra,
    File,
    Image,
    Message,
    Opaque,
    Part,
    Raw,
    Refusal,
    Role,
    SealedThought,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Video,
)
from tidegate.exchange.context import Item, Provenance
from tidegate.rules.context_secrets import tokenised
from tidegate.rules.token_count import count_part
from tidegate.wire.chat_parts import read_part
from tidegate.wire.json_object import NULL, WrongShape, encode, is_array, is_string, items, members, string

DIALECT: Final = "dialect"
"""The member of an item's ``extra`` under which the ``Extra`` of its turn lies."""
NO_RESULT: Final = "[no result]"
"""Stands where a call's result is missing: dialects refuse a call without one."""
ERROR: Final = "error"
"""The status of a tool result that tells of a failure."""
SAID: Final = frozenset({"message", "tool_call", "tool_result", "reasoning", "redacted"})
"""Types that are turns, or pieces of one."""

_read_parts: Final = msgspec.json.Decoder(tuple[Part, ...]).decode
_read_extra: Final = msgspec.json.Decoder(Extra).decode
_SPOKEN: Final = (Text, Refusal, Cited, Image, Audio, Video, File, Opaque)
_TEXTS: Final = frozenset({b'"text"', b'"input_text"', b'"output_text"'})


# -- turns to items ----------------------------------------------------------------------------------------------------


def items_of(
    messages: Sequence[Message], vendor: str = "", model: str = "", by: Literal["client", "model"] = "client"
) -> tuple[Item, ...]:
    """*messages* as items without ids, which the delta stamps. *vendor* and *model* with ``by == "model"``."""
    found: list[Item] = []
    for message in messages:
        provenance = Provenance(by, vendor, model)
        if message.role in ("assistant", "tool"):
            made = _pieces(message.parts, message.role, provenance, "")
        else:
            made = [_message(message.role, message.parts, provenance)]
        if message.name and made[0].type == "message":
            made[0] = msgspec.structs.replace(made[0], name=message.name)
        if message.extra is not None and message.extra.members:
            made[0] = msgspec.structs.replace(made[0], extra={DIALECT: encode(message.extra)})
        found += made
    return tuple(found)


def items_of_answer(parts: Sequence[Part], vendor: str, model: str, dialect: str) -> tuple[Item, ...]:
    """What a model said. *vendor*: whose seals these are (``Voice.vendor``); *dialect*: in whose words it said them,
    for a seal of one may mean nothing in another of the same vendor."""
    return tuple(_pieces(parts, "assistant", Provenance("model", vendor, model), dialect)) if parts else ()


def _pieces(parts: Sequence[Part], role: Role, provenance: Provenance, dialect: str) -> list[Item]:
    """One turn in pieces: each call, each result, each run of thoughts of one maker, each run of what is said."""
    found: list[Item] = []
    run: list[Part] = []
    for part in parts:
        if isinstance(part, (ToolCall, ToolResult)):
            if run:
                _close(run, role, provenance, dialect, found)
            found.append(_call(part, provenance) if isinstance(part, ToolCall) else _result(part, provenance))
            continue
        if run and _maker(run[-1]) != _maker(part):
            _close(run, role, provenance, dialect, found)
        run.append(part)
    if run or not found:
        _close(run, role, provenance, dialect, found)
    return found


def _maker(part: Part) -> str | None:
    """Who alone may see *part* again; None for anybody."""
    if isinstance(part, (Thought, SealedThought)):
        return part.origin.vendor if part.origin is not None else ""
    return None


def _close(run: list[Part], role: Role, provenance: Provenance, dialect: str, found: list[Item]) -> None:
    maker = _maker(run[0]) if run else None
    if maker is None:
        found.append(_message(role, tuple(run), provenance))
    else:
        by = Provenance(provenance.by, maker or provenance.vendor, provenance.model, dialect)
        found.append(Item(type="reasoning", role="assistant", content=_written(run), provenance=by))
    run.clear()


def _message(role: Role, parts: tuple[Part, ...], provenance: Provenance) -> Item:
    return Item(type="message", role=role, content=_content(parts), provenance=provenance)


def _call(part: ToolCall, provenance: Provenance) -> Item:
    plain = not (part.signature or part.origin or part.custom or part.extra)
    content = encode(part.arguments) if plain else _written((part,))
    return Item(
        type="tool_call", role="assistant", content=content, call_id=part.id, name=part.name, provenance=provenance
    )


def _result(part: ToolResult, provenance: Provenance) -> Item:
    return Item(
        type="tool_result",
        role="tool",
        content=_content(part.parts) if part.extra is None else _written((part,)),
        call_id=part.call_id,
        name=part.name,
        status=ERROR if part.is_error else "",
        provenance=Provenance("tool", provenance.vendor, provenance.model),
    )


def _content(parts: tuple[Part, ...]) -> Raw:
    """A string for one plain text, else an array of parts."""
    if len(parts) == 1:
        only = parts[0]
        if type(only) is Text and only.extra is None:
            return encode(only.text)
    return _written(parts)


def _written(parts: Sequence[Part]) -> Raw:
    return encode([_bare(part) for part in parts])


def _bare(part: Part) -> Part:
    if isinstance(part, ToolResult):
        inner = tuple([_bare(each) for each in part.parts])
        return msgspec.structs.replace(part, parts=inner, raw=b"", cache=None)
    if part.raw or part.cache is not None:
        return msgspec.structs.replace(part, raw=b"", cache=None)
    return part


# -- items to turns ----------------------------------------------------------------------------------------------------


Fit = Callable[[Item, tuple[Part, ...]], tuple[Part, ...]]
"""The parts of an item that a target may see (``rules/provider_bound``)."""


def messages_of(found: Sequence[Item], fit: Fit | None = None, over: bool = False) -> tuple[Message, ...]:
    """*found* as turns. Pieces of the assistant that follow each other are one turn, and so are results; a call
    without its result gets ``NO_RESULT`` once another turn begins (*over*: one will), and a result without its call is
    told by the user. Types that are no turns (``SAID``) are left out: the renderer says where they stand."""
    turns = Turns(fit)
    for item in found:
        if item.type in SAID:
            turns.add(item)
    turns.close()
    if over:
        turns.answer()
    return tuple(turns.closed)


class Turns:
    """Turns as they are put together. Mutable state: ``closed`` ones; of the open one its role ("" for none), parts,
    name and extra; ``waiting``, calls without a result, id -> name."""

    __slots__ = ("_extra", "_fit", "_name", "_parts", "_role", "closed", "waiting")

    def __init__(self, fit: Fit | None = None) -> None:
        self._fit = fit
        self.closed: list[Message] = []
        self.waiting: dict[str, str] = {}
        self._role: Role | Literal[""] = ""
        self._parts: list[Part] = []
        self._name = ""
        self._extra: Extra | None = None

    def add(self, item: Item) -> None:
        """*item* is of a type in ``SAID``."""
        role, parts = _turn(item, self.waiting)
        if self._fit is not None and parts:
            parts = self._fit(item, parts)
            if not parts:
                return
        extra = read_extra(item)
        name = item.name if item.type == "message" else ""
        if role != self._role or role in ("user", "system") or name or extra is not None:
            self._begin(role)
            self._name, self._extra = name, extra
        self._parts += parts
        for part in parts:
            if isinstance(part, ToolCall):
                self.waiting[part.id] = part.name
            elif isinstance(part, ToolResult):
                self.waiting.pop(part.call_id, None)

    def close(self) -> None:
        """The open turn is over, and no other begins yet."""
        if self._role:
            self.closed.append(Message(self._role, tuple(self._parts), name=self._name, extra=self._extra))
        self._role = ""
        self._parts = []

    def add_message(self, message: Message) -> None:
        """A turn that is no item."""
        self._begin(message.role)
        self._role = ""
        self.closed.append(message)

    def _begin(self, role: Role) -> None:
        self.close()
        if role != "tool":
            self.answer()
        self._role = role

    def answer(self) -> None:
        """Calls that still wait get ``NO_RESULT``."""
        if self.waiting:
            missing = tuple(
                [ToolResult(call_id=id, name=name, parts=(Text(text=NO_RESULT),)) for id, name in self.waiting.items()]
            )
            self.waiting.clear()
            if self.closed[-1].role == "tool":
                last = self.closed.pop()
                self.closed.append(msgspec.structs.replace(last, parts=(*last.parts, *missing)))
            else:
                self.closed.append(Message("tool", missing))


def _turn(item: Item, waiting: dict[str, str]) -> tuple[Role, tuple[Part, ...]]:
    """The role in which *item* stands and its parts."""
    if item.type == "redacted":
        struck = Text(text=redacted_text(item))
        if item.role == "tool" and waiting:
            id = next(iter(waiting))
            return "tool", (ToolResult(call_id=id, name=waiting[id], parts=(struck,)),)
        return ("assistant" if item.role == "assistant" else "user"), (struck,)
    parts = parts_of(item)
    if item.type == "tool_result":
        result = parts[0]
        assert isinstance(result, ToolResult)
        if result.call_id in waiting:
            return "tool", parts
        return "user", (Text(text=f"[result of {result.name or result.call_id}, whose call is gone]"), *result.parts)
    if item.type != "message":
        return "assistant", parts
    if item.role == "assistant":
        return "assistant", parts
    if item.role == "system" and item.provenance.by in ("client", "gateway"):
        return "system", parts
    return "user", parts


def redacted_text(item: Item) -> str:
    """What stands for a redacted item; the same words for ever."""
    return f"[redacted {item.id}]"


def read_extra(item: Item) -> Extra | None:
    """What dialects said beside the turn; None for nothing, and for what was not written here."""
    raw = item.extra.get(DIALECT)
    if raw is None or item.privacy == "secret" or item.type not in ("message", "tool_result", "tool_call", "reasoning"):
        return None
    try:
        return _read_extra(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def parts_of(item: Item) -> tuple[Part, ...]:
    """The content of *item* as parts. Of a call it is the one ``ToolCall``, of a result the one ``ToolResult``,
    whatever a client wrote there."""
    item = tokenised(item)
    if item.type == "tool_call":
        return (_call_of(item),)
    if item.type == "tool_result":
        return (_result_of(item),)
    found = _read_content(item.content)
    if item.type == "reasoning":
        return tuple([part for part in found if isinstance(part, (Thought, SealedThought))])
    return tuple([part for part in found if isinstance(part, _SPOKEN)])


def _call_of(item: Item) -> ToolCall:
    content = item.content
    if is_array(content):
        for part in _read_content(content):
            if isinstance(part, ToolCall):
                return msgspec.structs.replace(part, id=item.call_id, name=item.name)
    if not content:
        content = item.extra.get("arguments", b"{}")
    arguments = string(content) if is_string(content) else content.decode("utf-8", "replace")
    return ToolCall(id=item.call_id, name=item.name, arguments=arguments)


def _result_of(item: Item) -> ToolResult:
    found = _read_content(item.content)
    if len(found) == 1 and isinstance(found[0], ToolResult):
        return msgspec.structs.replace(found[0], call_id=item.call_id, name=item.name)
    parts = tuple([part for part in found if isinstance(part, _SPOKEN)])
    return ToolResult(call_id=item.call_id, name=item.name, parts=parts, is_error=item.status == ERROR)


def _read_content(content: Raw) -> tuple[Part, ...]:
    """Parts as they were written here, else as a client may write them (chat's words), else the JSON as a text."""
    if not content or content == NULL:
        return ()
    if is_string(content):
        return (Text(text=string(content)),)
    if is_array(content):
        try:
            return _read_parts(content)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            pass
        try:
            return tuple([_foreign(each) for each in items(content)])
        except WrongShape:
            pass
    return (Text(text=content.decode("utf-8", "replace")),)


def _foreign(raw: Raw) -> Part:
    if is_string(raw):
        return Text(text=string(raw))
    told = members(raw)
    if told.get("type") in _TEXTS and is_string(told.get("text", b"")):
        return Text(text=string(told["text"]))
    return read_part(raw, "content")


# -- how large ---------------------------------------------------------------------------------------------------------


def estimate(item: Item) -> int:
    """Tokens of *item* as it will be rendered: four characters are one, media by rule (CRP 8.2)."""
    if item.type in SAID:
        return max(1, sum([count_part(part, quarter) for part in parts_of(item)]))
    return max(1, quarter(item.key) + quarter(text_of(item)))


def quarter(text: str) -> int:
    """Tokens of *text*: a quarter of its characters, rounded up."""
    return (len(text) + 3) >> 2


def text_of(item: Item) -> str:
    """All that is text in *item*; of an object its JSON."""
    if item.type == "tool_call":
        return item.name + " " + _call_of(tokenised(item)).arguments
    texts: list[str] = []
    for part in parts_of(item):
        inner = part.parts if isinstance(part, ToolResult) else (part,)
        texts += [each.text for each in inner if isinstance(each, (Text, Refusal, Cited, Thought, File))]
    return "\n".join(texts)
