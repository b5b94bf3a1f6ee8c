"""The stream of a response, read: one event in, deltas out (LLM 5.10).

An event says its type itself, so the name of the SSE event is not needed; types nobody here knows are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tidegate.exchange.chat import (
    END,
    ChatDelta,
    Cite,
    Close,
    Failed,
    Open,
    Origin,
    Part,
    PartKind,
    Piece,
    Refusal,
    SealedThought,
    Sign,
    Start,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Used,
)  # fmt: skip
from tidegate.exchange.fault import Fault
from tidegate.rules.error_object import error_status, error_words
from tidegate.rules.response_answer import check_failed, stop_of, tier_of
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.json_object import NULL, WrongShape, is_object, members, number
from tidegate.wire.openai_frames import ResponseEvent, decode_response_event
from tidegate.wire.response_items import item_parts, optional, read_annotation, read_content
from tidegate.wire.token_usage import read_usage

MOST_PARTS: Final = 512


Key = tuple[int, str, int]
"""Output index, kind, index within the item."""

_DELTAS: Final[dict[str, PartKind]] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "thought",
    "response.reasoning_text.delta": "thought",
    "response.function_call_arguments.delta": "tool_call",
    "response.custom_tool_call_input.delta": "tool_call",
}
_SUMMARY: Final = "response.reasoning_summary_text.delta"
_DONE: Final[dict[str, str]] = {
    "response.content_part.done": "content",
    "response.reasoning_summary_part.done": "summary",
    "response.reasoning_text.done": "reasoning",
}
_LAST: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponseEventReader:
    """Reads one stream of *vendor*; *renames* and *aliases* as in ``ChatEventReader``."""

    def __init__(self, vendor: str, renames: Mapping[str, str], aliases: Mapping[str, str]) -> None:
        self._vendor = vendor
        self._origin = Origin(vendor)
        self._renames = renames
        self._aliases = aliases
        self._begun = False
        self._ended = False
        self._parts = 0
        self._open: dict[Key, int] = {}
        self._seen: set[int] = set()
        """Output indices whose content has come in pieces."""
        self._told: list[Part] = []
        self._ids: dict[int, str] = {}

    def feed(self, event: str, data: bytes) -> list[ChatDelta]:
        out: list[ChatDelta] = []
        if self._ended or not data.strip() or data == b"[DONE]":
            return out
        try:
            told = decode_response_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._failed(out, Failed("bad_upstream", "bad_event", "An event of the stream is no event."))
        try:
            self._take(told, data, out)
        except WrongShape as wrong:
            return self._failed(out, Failed("bad_upstream", "bad_event", str(wrong)))
        except Fault as fault:
            return self._failed(out, Failed(fault.code, fault.reason, fault.detail, fault.retry_after))
        return out

    def close(self) -> list[ChatDelta]:
        if self._ended:
            return []
        return self._failed([], Failed("bad_upstream", "incomplete_stream", "The stream ended before its end."))

    def _failed(self, out: list[ChatDelta], failed: Failed) -> list[ChatDelta]:
        self._ended = True
        out.append(failed)
        out.append(END)
        return out

    def _take(self, event: ResponseEvent, data: bytes, out: list[ChatDelta]) -> None:
        type = event.type
        kind = _DELTAS.get(type)
        if kind is not None:
            self._piece(event, kind, out)
        elif type == "response.content_part.added":
            self._added(event, out)
        elif type == "response.output_item.added":
            self._item_added(event, out)
        elif type == "response.output_item.done":
            self._item_done(event, out)
        elif type in _DONE:
            self._part_done(event, _DONE[type], out)
        elif type == "response.reasoning_summary_part.added":
            self._place(event, "thought", "summary", event.summary_index, out)
        elif type == "response.output_text.annotation.added":
            at = self._place(event, "text", "content", event.content_index, out)
            if event.annotation:
                out.append(Cite(0, at, read_annotation(bytes(event.annotation), "annotation")))
        elif type in _LAST:
            self._last(event, out)
        elif type in ("response.created", "response.in_progress", "response.queued"):
            self._start(event, out)
        elif type == "error" or not type:
            self._refused(data, out)

    def _start(self, event: ResponseEvent, out: list[ChatDelta]) -> None:
        if self._begun:
            return
        self._begun = True
        raw = bytes(event.response)
        told = members(raw, "response") if is_object(raw) else {}
        created = told.get("created_at", NULL)
        out.append(
            Start(
                id=optional(told, "id", "response"),
                model=optional(told, "model", "response"),
                created=0 if created == NULL else int(number(created, "response.created_at")),
            )
        )

    def _new(self, kind: PartKind, head: Part, out: list[ChatDelta]) -> int:
        if not self._begun:
            self._begun = True
            out.append(Start())
        at = self._parts
        if at >= MOST_PARTS:
            raise WrongShape("output", "shorter")
        self._parts += 1
        self._told.append(head)
        out.append(Open(0, at, kind, head))
        return at

    def _place(self, event: ResponseEvent, kind: PartKind, where: str, index: int, out: list[ChatDelta]) -> int:
        """The part an event is about, opened if it is new."""
        key = (event.output_index, where, index)
        at = self._open.get(key)
        if at is None:
            head: Part
            if kind == "text":
                head = Text(text="")
            elif kind == "refusal":
                head = Refusal(text="")
            else:
                id = self._ids.get(event.output_index) or event.item_id or ""
                head = Thought(text="", origin=self._origin, summary=where == "summary", id=id)
            at = self._open[key] = self._new(kind, head, out)
            self._seen.add(event.output_index)
        return at

    def _piece(self, event: ResponseEvent, kind: PartKind, out: list[ChatDelta]) -> None:
        text = event.delta
        if not isinstance(text, str) or not text:
            return
        if kind == "tool_call":
            at = self._open.get((event.output_index, "call", 0), -1)
            if at < 0:
                return  # its item will tell it whole
            self._seen.add(event.output_index)
        elif kind == "thought":
            if event.type == _SUMMARY:
                at = self._place(event, kind, "summary", event.summary_index, out)
            else:
                at = self._place(event, kind, "reasoning", event.content_index, out)
        else:
            at = self._place(event, kind, "content", event.content_index, out)
        out.append(Piece(0, at, text))

    def _added(self, event: ResponseEvent, out: list[ChatDelta]) -> None:
        kind = optional(members(bytes(event.part)), "type", "part") if event.part else "output_text"
        if kind == "refusal":
            self._place(event, "refusal", "content", event.content_index, out)

    def _item_added(self, event: ResponseEvent, out: list[ChatDelta]) -> None:
        if (event.output_index, "call", 0) in self._open:
            return
        told = members(bytes(event.item), "item")
        kind = optional(told, "type", "item")
        self._ids[event.output_index] = optional(told, "id", "item")
        if kind in ("function_call", "custom_tool_call"):
            found = item_parts(told, kind, bytes(event.item), "item", self._vendor, self._aliases)
            for part in found:
                if isinstance(part, ToolCall):
                    head = msgspec.structs.replace(part, arguments="")
                    self._open[event.output_index, "call", 0] = self._new("tool_call", head, out)

    def _close(self, key: Key, out: list[ChatDelta]) -> None:
        at = self._open.pop(key, -1)
        if at >= 0:
            out.append(Close(0, at))

    def _part_done(self, event: ResponseEvent, where: str, out: list[ChatDelta]) -> None:
        index = event.summary_index if where == "summary" else event.content_index
        key = (event.output_index, where, index)
        if where == "content" and event.part and event.output_index not in self._seen:
            for part in read_content(b"[" + bytes(event.part) + b"]", "part"):
                self._whole(part, out)
            self._seen.add(event.output_index)
        if where != "reasoning":  # a signature may follow with the item
            self._close(key, out)

    def _whole(self, part: Part, out: list[ChatDelta]) -> None:
        """A part that came in no pieces."""
        if isinstance(part, Text):
            if part.text:
                at = self._new("text", Text(text="", extra=None), out)
                out += [Piece(0, at, part.text), Close(0, at)]
        elif isinstance(part, Refusal):
            at = self._new("refusal", Refusal(text=""), out)
            out += [Piece(0, at, part.text), Close(0, at)]
        elif isinstance(part, Thought):
            at = self._new("thought", msgspec.structs.replace(part, text="", signature=b""), out)
            if part.text:
                out.append(Piece(0, at, part.text))
            if part.signature:
                out.append(Sign(0, at, part.signature))
            out.append(Close(0, at))
        elif isinstance(part, ToolCall):
            at = self._new("tool_call", msgspec.structs.replace(part, arguments=""), out)
            out += [Piece(0, at, part.arguments), Close(0, at)]
        elif isinstance(part, SealedThought):
            out.append(Close(0, self._new("sealed_thought", part, out)))
        else:
            text = getattr(part, "text", None)
            if text is not None:
                at = self._new("text", Text(text=""), out)
                out.append(Piece(0, at, text))
                out += [Cite(0, at, citation) for citation in getattr(part, "citations", ())]
                out.append(Close(0, at))
            else:
                out.append(Close(0, self._new("opaque", part, out)))

    def _item_done(self, event: ResponseEvent, out: list[ChatDelta]) -> None:
        index = event.output_index
        raw = bytes(event.item)
        told = members(raw, "item")
        kind = optional(told, "type", "item")
        call = self._open.get((index, "call", 0), -1)
        if kind in ("function_call", "custom_tool_call") and call >= 0:
            if index not in self._seen:
                text = optional(told, "input" if kind == "custom_tool_call" else "arguments", "item")
                if text:
                    out.append(Piece(0, call, text))
        elif kind == "reasoning":
            self._reasoning_done(index, told, out)
        elif index not in self._seen:
            for part in item_parts(told, kind, raw, "item", self._vendor, self._aliases):
                self._whole(part, out)
        for key in [key for key in self._open if key[0] == index]:
            self._close(key, out)
        self._seen.add(index)

    def _reasoning_done(self, index: int, told: dict[str, bytes], out: list[ChatDelta]) -> None:
        for part in item_parts(told, "reasoning", b"", "item", self._vendor, self._aliases):
            if isinstance(part, SealedThought):
                for key in [key for key in self._open if key[0] == index]:
                    self._close(key, out)
                self._whole(part, out)
            elif index not in self._seen:
                self._whole(part, out)
            elif isinstance(part, Thought) and part.signature:
                for key, at in list(self._open.items()):
                    if key[0] == index:
                        out.append(Sign(0, at, part.signature))
                        break

    def _last(self, event: ResponseEvent, out: list[ChatDelta]) -> None:
        self._start(event, out)
        told = members(bytes(event.response), "response")
        check_failed(told)
        usage = told.get("usage", NULL)
        for key in list(self._open):
            self._close(key, out)
        out.append(Stopped(0, stop_of(told, self._told)))
        if usage != NULL:
            found = read_usage(usage, self._renames, tier_of(told))
            if found is not None:
                out.append(Used(found))
        self._ended = True
        out.append(END)

    def _refused(self, data: bytes, out: list[ChatDelta]) -> None:
        told = members(data)
        if "error" not in told and told.get("type") != b'"error"':
            return
        inner = told.get("error", data)
        words, message = error_words(data)
        status = error_status(inner, 500) if is_object(inner) else 500
        if status == 500 and "rate_limit" in words:
            status = 429
        raise upstream_fault(status, words, message, {}, 0.0)
