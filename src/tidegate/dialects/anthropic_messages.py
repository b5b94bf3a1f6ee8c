"""Anthropic's Messages API (LLM 5, column anth): requests, answers, streams and faults, read and written.

Blocks, their usage and their events are rules of their own (``rules/content_blocks``, ``content_block_usage``,
``content_block_events``); here is what stands around them.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

import msgspec

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Extra,
    Failed,
    File,
    Message,
    Part,
    Raw,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from tidegate.exchange.fault import CLIENT, CODES, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import EventReader, EventWriter, Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options
from tidegate.rules.content_block_events import (
    BlockEventReader,
    BlockEventWriter,
    error_object,
    message_id,
    read_stop,
    stop_members,
)
from tidegate.rules.content_block_request import read_request
from tidegate.rules.content_block_usage import read_usage, usage_object
from tidegate.rules.content_blocks import NAME, BlockWriter, bag, read_content, take_string
from tidegate.rules.losses import state_wishes
from tidegate.rules.sealed_turns import lacks_seals
from tidegate.rules.thinking_budget import budget_of, effort_of, fit_budget
from tidegate.rules.tool_names import name_aliases
from tidegate.rules.turns import alternating, leading_system
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    encode,
    is_string,
    members,
    raw_of,
    string,
)
from tidegate.wire.json_splice import replaced, spans, with_member

NEWEST: Final = "2026-10-21"
"""The API version we name; from it on sampling is refused (LLM 5.1)."""
MARKS: Final = 4
"""Cache marks a request may hold (LLM 5.7)."""
OUTPUT_TOOL: Final = "structured_output"
"""The tool whose arguments stand for structured output where the model cannot promise any (LLM 5.5)."""

_NESTED: Final = frozenset(("metadata", "output_config"))
_DISPLAYS: Final = {"summary": "summarized", "none": "omitted", "full": "summarized"}
_EFFORTS: Final = frozenset(("low", "medium", "high", "xhigh", "max"))
_TIERS: Final = {"standard": "standard_only", "default": "standard_only", "auto": "auto", "priority": "auto"}
_ANY_OBJECT: Final = b'{"type":"object","properties":{}}'
_JSON_WANTED: Final = "Answer with one JSON object and nothing else."
_NO_ANSWER: Final = frozenset(("image", "file"))
"""Parts that no client of this dialect expects in an answer."""
_TYPES: Final = {
    401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error",
}  # fmt: skip
_STATUSES: Final = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip


class _Answer(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"")


class _MessageStart(msgspec.Struct):
    message: _Answer


_first_type: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"([a-z_]+)"').match
_answer: Final = msgspec.json.Decoder(_Answer).decode
_message_start: Final = msgspec.json.Decoder(_MessageStart).decode


class AnthropicMessages:
    """``POST /v1/messages`` (``ports.dialect.Dialect``)."""

    name = NAME
    framing: Framing = "sse"
    model_in_path = False

    def path(self, door: str, model: str, stream: bool) -> str:
        """*door* itself; clouds that serve the dialect have the model and a verb in theirs."""
        action = "streamRawPredict" if stream else "rawPredict"
        return door.replace("{model}", quote(model, safe="")).replace("{action}", action)

    # as the client speaks it

    def read_request(self, body: bytes, hints: Hints) -> ChatRequest:
        try:
            return read_request(body, hints.model, hints.fields)
        except (WrongShape, UnicodeDecodeError) as wrong:
            detail = str(wrong) if isinstance(wrong, WrongShape) else "The body must be UTF-8."
            raise Fault("invalid_request", detail, side=CLIENT) from None

    def write_answer(self, answer: ChatAnswer, asked: ChatRequest, now: int) -> Written:
        choice = answer.choices[0] if answer.choices else Choice()
        if choice.stop == "broken":
            return self.write_fault(Fault("bad_upstream", reason="broken_answer", side=UPSTREAM), "")
        writer = BlockWriter(None, {}, frozenset(), _NO_ANSWER)
        if len(answer.choices) > 1:
            writer.lose("n")
        if choice.logprobs:
            writer.lose("logprobs")
        written: dict[str, object] = {
            "id": message_id(answer.id), "type": "message", "role": "assistant", "model": answer.model or asked.model,
            "content": [block for part in choice.parts if (block := writer.block(part, "answer")) is not None],
        }  # fmt: skip
        written.update(stop_members(choice.stop, choice.stop_sequence, choice.extra))
        written["usage"] = usage_object(answer.usage or Usage())
        writer.extras(written, answer.extra, "")
        return Written(encode(written), tuple(writer.losses))

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        return BlockEventWriter(asked, id, _failed_body)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        status, word = _error_words(fault.code, fault.status, fault.side == UPSTREAM)
        fields = (("request-id", request_id),) if request_id else ()
        return Written(_error_body(word, fault.code, fault.detail, request_id), status=status, fields=fields)

    # as the provider speaks it

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        return _RequestWriter(request, voice).write()

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        try:
            found = members(body)
            if found.get("type") == b'"error"':
                raise _fault_of(found.get("error", b""))
            return _read_answer(found, voice, aliases)
        except (WrongShape, UnicodeDecodeError):
            raise Fault("bad_upstream", "The provider's answer is not in its own words.", reason="protocol",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def events_reader(self, voice: Voice, aliases: dict[str, str]) -> EventReader:
        return BlockEventReader(voice.vendor, aliases, voice.usage, _fault_of)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        error = error_object(error_object(body).get("error", b""))
        return upstream_fault(status, _words(error), _text(error.get("message")), fields, now)

    # passing bytes through

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        span = spans(body, ("model",)).get("model")
        if span is None:
            return with_member(body, "model", encode(model))
        return replaced(body, [(span[0], span[1], encode(model))])

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        try:
            return read_usage(bytes(_answer(body).usage), voice.usage)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def usage_of_event(self, event: str, data: bytes, voice: Voice) -> tuple[Usage | None, bool, bool]:
        kind = event or _kind_of(data)
        if kind == "content_block_delta":
            return None, True, False
        try:
            if kind == "message_start":
                return read_usage(bytes(_message_start(data).message.usage), voice.usage), False, False
            if kind == "message_delta":
                return read_usage(bytes(_answer(data).usage), voice.usage), False, False
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None, False, False
        return None, False, kind == "message_stop" or kind == "error"


def _kind_of(data: bytes) -> str:
    """The type of an event whose name was not sent, when it stands first as every vendor writes it."""
    found = _first_type(data)
    return found[1].decode("latin-1") if found is not None else ""


# -- faults ------------------------------------------------------------------------------------------------------------


def _words(error: dict[str, bytes]) -> str:
    details = error_object(error.get("details", b""))
    told = [_text(value) for value in (error.get("type"), error.get("code"), details.get("error_code"))]
    return " ".join([word for word in told if word]).lower()


def _text(value: bytes | None) -> str:
    try:
        return string(value) if value is not None and is_string(value) else ""
    except WrongShape:
        return ""


def _fault_of(raw: bytes) -> Fault:
    """The fault of an ``error`` object that came without a status."""
    error = error_object(raw)
    words = _words(error)
    status = _STATUSES.get(words.partition(" ")[0], 500)
    return upstream_fault(status, words, _text(error.get("message")), {}, 0.0)


def _error_words(code: str, status: int, upstream: bool) -> tuple[int, str]:
    if code == "overloaded":
        return 529 if upstream else 503, "overloaded_error"
    return status, _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def _error_body(word: str, code: str, detail: str, request_id: str) -> bytes:
    error = {"type": word, "message": detail or CODES[code].title}
    body: dict[str, object] = {"type": "error", "error": error}
    if request_id:
        body["request_id"] = request_id
    return encode(body)


def _failed_body(failed: Failed) -> bytes:
    code = failed.code if failed.code in CODES else "bad_upstream"
    return _error_body(_error_words(code, CODES[code].status, True)[1], code, failed.detail, "")


# -- writing a request -------------------------------------------------------------------------------------------------


class _RequestWriter:
    """One request on its way to one target. Mutable: ``_body`` and the losses of ``_blocks``."""

    def __init__(self, request: ChatRequest, voice: Voice) -> None:
        self._request = request
        self._voice = voice
        self._version = request.fields.get("anthropic-version") or voice.version or NEWEST
        self._sampled = self._version[-10:] < NEWEST
        self._max_output = request.max_output or voice.max_output
        self._aliases = name_aliases([tool.name for tool in request.tools if tool.kind == "function"])
        self._answers: dict[str, str] = {alias: name for name, alias in self._aliases.items()}
        self._blocks = BlockWriter(voice.vendor, self._aliases, voice.accepts, voice.lacks)
        self._body: dict[str, object] = {}

    def write(self) -> Outgoing:
        request, voice, body, blocks = self._request, self._voice, self._body, self._blocks
        body["model"] = voice.model or request.model
        body["max_tokens"] = self._max_output
        tools = self._tools()
        leading, rest = leading_system(request.messages)
        system = [part for message in leading for part in message.parts]
        if tools:
            body["tools"] = tools
            self._choice()
        self._output(tools, system)
        if system:
            body["system"] = self._system(system)
        body["messages"] = self._turns(len(leading), rest)
        self._thinking()
        self._sampling()
        if request.stop:
            body["stop_sequences"] = request.stop
        if request.stream:
            body["stream"] = True
        if request.user:
            self._nested("metadata")["user_id"] = request.user
        self._tier()
        self._unsayable()
        blocks.mark(body, request.cache)
        blocks.settle_marks(0 if "cache" in voice.lacks else MARKS)
        self._extras()
        for name, renamed in voice.rename.items():
            if name in body:
                value = body.pop(name)
                if renamed:
                    body[renamed] = value
        losses = [*blocks.losses, *merge_options(body, request.options, voice.addressed)]
        fields = [("anthropic-version", self._version)]
        beta = request.fields.get("anthropic-beta")
        if beta:
            fields.append(("anthropic-beta", beta))
        return Outgoing(encode(body), tuple(losses), tuple(fields), self._answers)

    def _says(self, feature: str) -> bool:
        """The target takes *feature*; else it is a loss."""
        if feature in self._voice.lacks:
            self._blocks.lose(feature)
            return False
        return True

    def _nested(self, name: str) -> dict[str, object]:
        found = self._body.setdefault(name, {})
        assert isinstance(found, dict)
        return found

    def _tools(self) -> list[dict[str, object]]:
        request, blocks = self._request, self._blocks
        if not request.tools or not self._says("tools"):
            return []
        chosen = request.tool_choice
        written: list[dict[str, object]] = []
        for at, tool in enumerate(request.tools):
            if chosen.mode == "subset" and tool.name not in chosen.names:
                continue
            if tool.kind == "server" and tool.dialect == NAME:
                written.append(blocks.whole(tool.value))
                continue
            if tool.kind != "function":
                blocks.lose(f"tools[{at}]")
                continue
            said: dict[str, object] = {"name": self._aliases.get(tool.name, tool.name)}
            if tool.description:
                said["description"] = tool.description
            said["input_schema"] = raw_of(tool.schema or _ANY_OBJECT)
            if tool.strict is not None:
                if "strict" not in self._voice.lacks:
                    said["strict"] = tool.strict
                elif tool.strict:
                    blocks.lose(f"tools[{at}].strict")
            blocks.extras(said, tool.extra, f"tools[{at}]")
            blocks.mark(said, tool.cache)
            written.append(said)
        return written

    def _choice(self) -> None:
        chosen, parallel = self._request.tool_choice, self._request.parallel_tools
        kind = {"required": "any", "one": "tool", "none": "none"}.get(chosen.mode, "auto")
        if chosen.mode == "subset" and chosen.required:
            kind = "any"
        said: dict[str, object] = {"type": kind}
        if kind == "tool":
            said["name"] = self._aliases.get(chosen.names[0], chosen.names[0])
        if parallel is not None and kind != "none":
            said["disable_parallel_tool_use"] = not parallel
        if len(said) > 1 or kind != "auto":
            self._body["tool_choice"] = said

    def _turns(self, leading: int, rest: tuple[Message, ...]) -> list[dict[str, object]]:
        """The turns after the *leading* ones of the system."""
        request, blocks = self._request, self._blocks
        place: dict[int, int] = {}
        later: set[int] = set()
        for at, message in enumerate(request.messages):
            if message.name:
                blocks.lose(f"messages[{at}].name")
            for part in message.parts:
                place[id(part)] = at
                if message.role == "system" and at >= leading:
                    later.add(id(part))
        turns = alternating(rest)
        if turns and turns[-1].role == "assistant" and not self._says("prefill"):
            turns.pop()
        written: list[dict[str, object]] = []
        for turn in turns:
            self._turn(turn, place, later, written)
        return written

    def _turn(self, turn: Message, place: dict[int, int], later: set[int], written: list[dict[str, object]]) -> None:
        blocks = self._blocks
        runs: list[tuple[str, list[Part]]] = []
        for part in turn.parts:
            role: str = turn.role
            path = f"messages[{place.get(id(part), 0)}]"
            if id(part) in later:
                if self._sampled or "system" in self._voice.lacks:
                    blocks.lose(f"{path}.role")
                else:
                    role = "system"
            if role == "assistant" and isinstance(part, File) and not self._sampled:
                blocks.lose(f"{path}.file")
                continue
            if runs and runs[-1][0] == role:
                runs[-1][1].append(part)
            else:
                runs.append((role, [part]))
        for role, parts in runs:
            content = self._content(tuple(parts), place)
            if content == []:
                continue
            before = written[-1] if written else None
            if before is not None and before["role"] == role:
                before["content"] = [*_as_blocks(before["content"]), *_as_blocks(content)]
                continue
            said: dict[str, object] = {"role": role, "content": content}
            blocks.extras(said, turn.extra, f"messages[{place.get(id(parts[0]), 0)}]")
            written.append(said)

    def _content(self, parts: tuple[Part, ...], place: dict[int, int]) -> object:
        if len(parts) == 1:
            only = parts[0]
            if isinstance(only, Text) and not only.text.strip():
                return []
            return self._blocks.content(parts, f"messages[{place.get(id(only), 0)}]")
        found = [self._blocks.block(part, f"messages[{place.get(id(part), 0)}]") for part in parts]
        return [block for block in found if block is not None]

    def _system(self, parts: list[Part]) -> object:
        return self._blocks.content(tuple(parts), "messages[0]")

    def _output(self, tools: list[dict[str, object]], system: list[Part]) -> None:
        output, voice, blocks = self._request.output, self._voice, self._blocks
        if output is None:
            return
        if output.audio or "audio" in output.modalities:
            blocks.lose("output.audio")
        if output.description:
            blocks.lose("output.description")
        if output.kind == "schema" and "output.schema" not in voice.lacks:
            form = {"type": "json_schema", "schema": raw_of(output.schema or _ANY_OBJECT)}
            self._nested("output_config")["format"] = form
        elif output.kind == "schema" and voice.emulate and "tools" not in voice.lacks:
            wanted = {"name": OUTPUT_TOOL, "input_schema": raw_of(output.schema or _ANY_OBJECT)}
            self._body["tools"] = [*tools, wanted]
            self._body["tool_choice"] = {"type": "any"} if tools else {"type": "tool", "name": OUTPUT_TOOL}
            self._answers = {**self._answers, OUTPUT_TOOL: ""}
            blocks.lose("output.emulated")
        elif output.kind == "schema":
            blocks.lose("output.schema")
        elif output.kind == "json" and voice.emulate:
            system.append(Text(text=_JSON_WANTED))
            blocks.lose("output.emulated")
        elif output.kind == "json":
            blocks.lose("output.json")

    def _thinking(self) -> None:
        thinking = self._request.thinking
        if thinking is None or not self._says("thinking"):
            return
        own = thinking.extra is not None and thinking.extra.dialect == NAME
        blocks = self._blocks
        if not own and thinking.mode != "off" and lacks_seals(self._request, self._voice.vendor):
            blocks.lose("thinking.signature")  # the vendor refuses to think on without its own thoughts
            thinking = Thinking("off")
        said: dict[str, object] = {}
        effort = thinking.effort
        if effort == "minimal":
            effort = "low"
            blocks.lose("thinking.effort")
        elif effort and effort not in _EFFORTS and not own:
            blocks.lose("thinking.effort")
            effort = ""
        if own:
            said = self._own_thinking(thinking)
        elif thinking.mode == "off":
            said = {"type": "disabled"}
            effort = ""
        elif self._voice.thinking_style == "budget":
            room = self._max_output
            asked = thinking.budget
            budget = fit_budget(asked, room) if asked > 0 else budget_of(thinking.effort or "medium", room)
            effort = ""
            if budget:
                said = {"type": "enabled", "budget_tokens": budget}
            else:
                blocks.lose("thinking")
        else:
            said = {"type": "adaptive"}
            if not effort and thinking.budget > 0:
                effort = effort_of(thinking.budget).replace("minimal", "low")
                blocks.lose("thinking.budget")
        if thinking.show and said.get("type", "disabled") != "disabled":
            said["display"] = _DISPLAYS[thinking.show]
            if thinking.show == "full":
                blocks.lose("thinking.show")
        if said:
            blocks.extras(said, thinking.extra, "thinking")
            self._body["thinking"] = said
        if effort:
            self._nested("output_config")["effort"] = effort

    def _own_thinking(self, thinking: Thinking) -> dict[str, object]:
        """The client's own words, as they came."""
        kind = {"adaptive": "adaptive", "off": "disabled"}.get(thinking.mode, "enabled" if thinking.budget else "")
        extra = thinking.extra
        if extra is not None and "type" in dict(extra.members):
            kind = string(dict(extra.members)["type"])
        said: dict[str, object] = {"type": kind} if kind else {}
        if thinking.budget:
            said["budget_tokens"] = thinking.budget
        return said

    def _sampling(self) -> None:
        sampling, blocks = self._request.sampling, self._blocks
        for name, value in (
            ("temperature", sampling.temperature), ("top_p", sampling.top_p), ("top_k", sampling.top_k),
        ):  # fmt: skip
            if value is None:
                continue
            if not self._sampled or name in self._voice.lacks:
                blocks.lose(name)
                continue
            if name == "temperature" and value > 1:
                value = 1.0
                blocks.lose(name)
            self._body[name] = value

    def _tier(self) -> None:
        tier = self._request.tier
        if tier == "fast":
            self._body["speed"] = "fast"
        elif tier in _TIERS:
            self._body["service_tier"] = _TIERS[tier]
        elif tier:
            self._blocks.lose("tier")

    def _unsayable(self) -> None:
        """What the vendor has no word for (LLM 5.1)."""
        request, lose = self._request, self._blocks.lose
        sampling, state = request.sampling, request.state
        for name, asked in (
            ("seed", sampling.seed is not None), ("frequency_penalty", sampling.frequency_penalty is not None),
            ("presence_penalty", sampling.presence_penalty is not None), ("logit_bias", bool(sampling.logit_bias)),
            ("logprobs", bool(sampling.logprobs)), ("top_logprobs", sampling.top_logprobs >= 0),
            ("n", sampling.n > 1), ("verbosity", bool(sampling.verbosity)), ("prediction", bool(request.prediction)),
            ("metadata", bool(request.metadata)),
        ):  # fmt: skip
            if asked:
                lose(name)
        for name in state_wishes(state):
            lose(name)

    def _extras(self) -> None:
        extra, blocks = self._request.extra, self._blocks
        if extra is None:
            return
        for name, value in extra.members:
            head, dot, tail = name.partition(".")
            if extra.dialect == NAME and dot and head in _NESTED:
                self._nested(head)[tail] = raw_of(value)
            else:
                blocks.extras(self._body, Extra(extra.dialect, ((name, value),)), "")


def _as_blocks(content: object) -> list[object]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


# -- reading an answer -------------------------------------------------------------------------------------------------


def _read_answer(found: dict[str, Raw], voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
    content = found.pop("content", NULL)
    if content == NULL or found.pop("type", b'"message"') != b'"message"':
        raise WrongShape("content", "an array of blocks")
    parts = [_without_emulation(part) for part in read_content(content, "content", voice.vendor, aliases)]
    calls = any(isinstance(part, ToolCall) for part in parts)
    word = take_string(found, "stop_reason", "answer") or "end_turn"
    stop, extra = read_stop(word, found.pop("stop_details", b""), calls)
    if stop == "tool_calls" and not calls:
        stop = "stop"
    found.pop("role", None)
    usage = read_usage(found.pop("usage", b""), voice.usage)
    choice = Choice(
        parts=tuple(parts), stop=stop, stop_sequence=take_string(found, "stop_sequence", "answer"), extra=extra
    )
    return ChatAnswer(
        id=take_string(found, "id", "answer"), model=take_string(found, "model", "answer"), choices=(choice,),
        usage=usage, tier=usage.tier if usage is not None else "", extra=bag(found),
    )  # fmt: skip


def _without_emulation(part: Part) -> Part:
    """The call of ``OUTPUT_TOOL``, which the aliases name "", is the text it stands for."""
    if isinstance(part, ToolCall) and part.name == "":
        return Text(text=part.arguments)
    return part
