"""The stream of a response, written: one delta in, its events out, in the exact order clients count on (LLM 5.10).

The last event holds the whole response, so this dialect alone makes us keep what was said. ``sequence_number`` counts
every event from 0.
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.exchange.chat import (
    ChatDelta,
    ChatRequest,
    Cite,
    Close,
    End,
    Failed,
    Opaque,
    Open,
    Part,
    Piece,
    Refusal,
    SealedThought,
    Sign,
    Start,
    Stop,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)  # fmt: skip
from tidegate.exchange.fault import UPSTREAM, Fault
from tidegate.rules.error_object import error_object
from tidegate.rules.response_answer import as_it_is, finish, message_item, own_id, response_object
from tidegate.rules.usage_merge import largest
from tidegate.wire.json_object import encode, raw_of
from tidegate.wire.response_item_writer import annotation, call_item, call_seal_item, output_part, reasoning_item
from tidegate.wire.response_items import RESPONSES
from tidegate.wire.sse import encode_comment

HEARTBEAT: Final = b":\n\n"


class _Item:
    """One output item while it grows. ``thoughts`` or ``content`` hold its finished parts."""

    def __init__(self, kind: str, at: int, id: str) -> None:
        self.kind = kind
        self.at = at
        self.id = id
        self.key = ""
        self.content: list[dict[str, Any]] = []
        self.thoughts: list[Thought | SealedThought] = []
        self.summaries = 0
        self.texts = 0
        self.open = 0
        self.done = False


class _Part:
    """One open part: where it stands and what was said."""

    def __init__(self, item: _Item, head: Part, number: int) -> None:
        self.item = item
        self.head = head
        self.number = number
        self.texts: list[str] = []
        self.annotations: list[dict[str, Any]] = []
        self.signature = b""
        self.frame = b""


class ResponseEventWriter:
    """Writes one stream. ``losses`` grows. Choices after the first are lost (``n``)."""

    def __init__(self, asked: ChatRequest, id: str, now: int) -> None:
        self.losses: list[str] = []
        self._asked = asked
        self._id = own_id("resp", id) if not id.startswith("resp_") else id
        self._now = now
        self._sequence = 0
        self._body: dict[str, Any] = {}
        self._items: list[_Item] = []
        self._finished: dict[int, Any] = {}
        self._current: _Item | None = None
        self._parts: dict[int, _Part] = {}
        self._usage: Usage | None = None
        self._stop: Stop = "stop"
        self._failed = False

    def comment(self, text: str) -> bytes:
        return encode_comment(text)

    def heartbeat(self) -> bytes:
        return HEARTBEAT

    def write(self, delta: ChatDelta) -> bytes:
        if isinstance(delta, Piece):
            return self._piece(delta) if delta.choice == 0 else b""
        if isinstance(delta, Used):
            self._usage = largest(self._usage, delta.usage)
        elif isinstance(delta, Start):
            return self._start(delta)
        elif isinstance(delta, Failed):
            return self._fail(Fault(delta.code, delta.detail, reason=delta.reason, side=UPSTREAM))
        elif isinstance(delta, End):
            return b"" if self._failed else self._end()
        elif isinstance(delta, (Open, Sign, Cite, Close, Stopped)):
            if delta.choice != 0:
                if "n" not in self.losses:
                    self.losses.append("n")
                return b""
            return self._of_choice(delta)
        return b""

    def _of_choice(self, delta: Open | Sign | Cite | Close | Stopped) -> bytes:
        if isinstance(delta, Open):
            return self._open(delta)
        if isinstance(delta, Close):
            return self._close(delta)
        if isinstance(delta, Stopped):
            if delta.stop == "broken":
                return self._fail(Fault("bad_upstream", "The model broke off.", side=UPSTREAM))
            self._stop = delta.stop
            if delta.stop == "pause":
                self.losses.append("pause")
            return self._end_current()
        part = self._parts.get(delta.part)
        if part is None:
            return b""
        if isinstance(delta, Sign):
            part.signature = delta.signature
            return b""
        told = annotation(delta.citation)
        part.annotations.append(told)
        return self._event(
            "response.output_text.annotation.added", part.item, content_index=part.number,
            annotation_index=len(part.annotations) - 1, annotation=told,
        )  # fmt: skip

    def _event(self, type: str, item: _Item | None, **members: Any) -> bytes:
        body: dict[str, Any] = {"type": type, "sequence_number": self._sequence}
        self._sequence += 1
        if item is not None:
            body["output_index"] = item.at
            body["item_id"] = item.id
        body |= members
        return b"event: %b\ndata: %b\n\n" % (type.encode(), encode(body))

    def _start(self, delta: Start) -> bytes:
        self._body = response_object(self._asked, self._id, delta.created or self._now, delta.model, {})
        if delta.usage is not None:
            self._usage = largest(self._usage, delta.usage)
        return self._event("response.created", None, response=self._body) + self._event(
            "response.in_progress", None, response=self._body
        )

    # -- items ---------------------------------------------------------------------------------------------------------

    def _item(self, kind: str, id: str, told: Any) -> tuple[_Item, bytes]:
        item = _Item(kind, len(self._items), id)
        self._items.append(item)
        return item, self._event_item("response.output_item.added", item, told)

    def _event_item(self, type: str, item: _Item, told: Any) -> bytes:
        body = {"type": type, "sequence_number": self._sequence, "output_index": item.at, "item": told}
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (type.encode(), encode(body))

    def _end_current(self) -> bytes:
        """The message or reasoning item that may still grow is done, or will be when its last part is."""
        item = self._current
        self._current = None
        return b"" if item is None or item.open else self._end_item(item)

    def _end_item(self, item: _Item) -> bytes:
        if item.done:
            return b""
        item.done = True
        told: dict[str, Any]
        if item.kind == "message":
            told = {"type": "message", "id": item.id, "status": "completed", "role": "assistant",
                    "content": item.content}  # fmt: skip
        else:
            told = reasoning_item(item.thoughts, item.id, own_id) | {"id": item.id}
        self._finished[item.at] = told
        return self._event_item("response.output_item.done", item, told)

    def _open(self, delta: Open) -> bytes:
        head = delta.head
        out = b""
        if isinstance(head, (Text, Refusal)):
            item = self._current
            if item is None or item.kind != "message":
                out = self._end_current()
                told = message_item(self._id, len(self._items), [], "in_progress")
                item, added = self._item("message", told["id"], told)
                out += added
                self._current = item
            part = _Part(item, head, item.texts)
            item.texts += 1
            empty = output_part(type(head)(text=""))
            out += self._event("response.content_part.added", item, content_index=part.number, part=empty)
        elif isinstance(head, (Thought, SealedThought)):
            item = self._current
            if item is None or item.kind != "reasoning" or not head.id or item.key != head.id:
                out = self._end_current()
                id = head.id if head.id.startswith("rs_") else own_id("rs", f"{self._id}:{len(self._items)}")
                item, added = self._item("reasoning", id, {"type": "reasoning", "id": id, "summary": []})
                item.key = head.id
                out += added
                self._current = item
            part = _Part(item, head, 0)
            if isinstance(head, Thought):
                if head.summary:
                    part.number = item.summaries
                    item.summaries += 1
                    empty = {"type": "summary_text", "text": ""}
                    out += self._event(
                        "response.reasoning_summary_part.added", item, summary_index=part.number, part=empty
                    )
                else:
                    part.number = item.texts
                    item.texts += 1
        elif isinstance(head, ToolCall):
            out = self._end_current()
            told = call_item(head, head.name, as_it_is, own_id)
            told["input" if head.custom else "arguments"] = ""
            if not head.custom:
                told["status"] = "in_progress"
            id = told["id"] if isinstance(told["id"], str) else own_id("fc", head.id)
            item, added = self._item("call", id, told | {"id": id})
            out += added
            part = _Part(item, head, 0)
        elif isinstance(head, Opaque) and head.dialect == RESPONSES:
            out = self._end_current()
            value = raw_of(head.value)
            item, added = self._item("opaque", "", value)
            self._finished[item.at] = value
            return out + added + self._event_item("response.output_item.done", item, value)
        else:
            self.losses.append(head.kind if isinstance(head, Opaque) else delta.kind)
            return b""
        self._parts[delta.part] = part
        part.item.open += 1
        text = head.text if isinstance(head, (Text, Refusal, Thought)) else ""
        if isinstance(head, ToolCall):
            text = head.arguments
        return out + self._text(part, text) if text and text != "{}" else out

    def _piece(self, delta: Piece) -> bytes:
        part = self._parts.get(delta.part)
        if delta.logprobs and "logprobs" not in self.losses:
            self.losses.append("logprobs")
        return b"" if part is None or not delta.text else self._text(part, delta.text)

    def _text(self, part: _Part, text: str) -> bytes:
        part.texts.append(text)
        head, item = part.head, part.item
        if isinstance(head, Text):
            if not part.frame:
                part.frame = b',"output_index":%d,"item_id":"%b","content_index":%d,"logprobs":[],"delta":' % (
                    item.at, item.id.encode(), part.number,
                )  # fmt: skip
            sequence = self._sequence
            self._sequence = sequence + 1
            return (
                b"event: response.output_text.delta\n"
                b'data: {"type":"response.output_text.delta","sequence_number":%d%b%b}\n\n'
            ) % (sequence, part.frame, encode(text))
        if isinstance(head, ToolCall):
            name = "custom_tool_call_input" if head.custom else "function_call_arguments"
            return self._event(f"response.{name}.delta", item, delta=text)
        if isinstance(head, Refusal):
            return self._event("response.refusal.delta", item, content_index=part.number, delta=text)
        if isinstance(head, Thought):
            if head.summary:
                return self._event("response.reasoning_summary_text.delta", item, summary_index=part.number, delta=text)
            out = b""
            if len(part.texts) == 1:  # a thought that is only sealed has no part
                empty = {"type": "reasoning_text", "text": ""}
                out = self._event("response.content_part.added", item, content_index=part.number, part=empty)
            return out + self._event("response.reasoning_text.delta", item, content_index=part.number, delta=text)
        return b""

    def _close(self, delta: Close) -> bytes:
        part = self._parts.pop(delta.part, None)
        if part is None:
            return b""
        item = part.item
        item.open -= 1
        out = self._close_part(part)
        if item is not self._current and not item.open and item.kind in ("message", "reasoning"):
            out += self._end_item(item)
        return out

    def _close_part(self, part: _Part) -> bytes:
        head, item = part.head, part.item
        text = "".join(part.texts)
        if isinstance(head, Text):
            whole = output_part(head) | {"text": text, "annotations": part.annotations}
            item.content.append(whole)
            return self._event(
                "response.output_text.done", item, content_index=part.number, text=text, logprobs=[]
            ) + self._event("response.content_part.done", item, content_index=part.number, part=whole)
        if isinstance(head, Refusal):
            whole = {"type": "refusal", "refusal": text}
            item.content.append(whole)
            return self._event("response.refusal.done", item, content_index=part.number, refusal=text) + self._event(
                "response.content_part.done", item, content_index=part.number, part=whole
            )
        if isinstance(head, SealedThought):
            item.thoughts.append(
                SealedThought(data=head.data + text.encode(), origin=head.origin, id=head.id, extra=head.extra)
            )
            return b""
        if isinstance(head, Thought):
            return self._close_thought(part, head, text)
        if isinstance(head, ToolCall):
            return self._close_call(part, head, text)
        return b""

    def _close_thought(self, part: _Part, head: Thought, text: str) -> bytes:
        item = part.item
        item.thoughts.append(
            Thought(text=text, signature=part.signature or head.signature, origin=head.origin, summary=head.summary,
                    id=head.id)
        )  # fmt: skip
        if head.summary:
            whole = {"type": "summary_text", "text": text}
            return self._event(
                "response.reasoning_summary_text.done", item, summary_index=part.number, text=text
            ) + self._event("response.reasoning_summary_part.done", item, summary_index=part.number, part=whole)
        if not text:
            return b""
        whole = {"type": "reasoning_text", "text": text}
        return self._event("response.reasoning_text.done", item, content_index=part.number, text=text) + self._event(
            "response.content_part.done", item, content_index=part.number, part=whole
        )

    def _close_call(self, part: _Part, head: ToolCall, text: str) -> bytes:
        item = part.item
        whole = ToolCall(id=head.id, name=head.name, arguments=text or ("" if head.custom else "{}"),
                         signature=part.signature or head.signature, origin=head.origin, custom=head.custom,
                         extra=head.extra)  # fmt: skip
        told = call_item(whole, head.name, as_it_is, own_id) | {"id": item.id}
        self._finished[item.at] = told
        if head.custom:
            out = self._event("response.custom_tool_call_input.done", item, input=whole.arguments)
        else:
            out = self._event("response.function_call_arguments.done", item, name=head.name, arguments=whole.arguments)
        out += self._event_item("response.output_item.done", item, told)
        if whole.signature:
            seal = call_seal_item(whole, own_id)
            other, added = self._item("seal", seal["id"], seal)
            self._finished[other.at] = seal
            out += added + self._event_item("response.output_item.done", other, seal)
        return out

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end(self) -> bytes:
        if not self._body:
            return self._fail(Fault("bad_upstream", "The answer was empty.", side=UPSTREAM))
        out = self._end_current()
        output = [self._finished[at] for at in sorted(self._finished)]
        status = finish(self._body, output, self._stop, self._usage, "")
        return out + self._event(f"response.{status}", None, response=self._body)

    def _fail(self, fault: Fault) -> bytes:
        """``response.failed`` with what was said so far; ``error`` when nothing has begun."""
        if self._failed:
            return b""
        self._failed = True
        told = error_object(fault)
        if not self._body:
            return self._event("error", None, code=told["code"] or fault.code, message=told["message"], param=None)
        self._body["output"] = [self._finished[at] for at in sorted(self._finished)]
        self._body["status"] = "failed"
        word = "rate_limit_exceeded" if fault.code == "rate_limited" else "server_error"
        if fault.code in ("invalid_request", "context_length", "content_policy"):
            word = "invalid_prompt"
        self._body["error"] = {"code": word, "message": told["message"]}
        return self._event("response.failed", None, response=self._body)
