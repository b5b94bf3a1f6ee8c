"""Amazon Bedrock's Converse API (LLM 5, column conv): requests, answers, streams and faults, read and written.

Blocks, usage and events are rules of their own (``rules/converse_blocks``, ``converse_usage``, ``converse_events``);
here is what stands around them. The model and the wish for a stream stand in the path.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Extra,
    Failed,
    Message,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from tidegate.exchange.fault import CLIENT, CODES, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import EventReader, EventWriter, Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options
from tidegate.rules.content_blocks import take_string
from tidegate.rules.converse_blocks import NAME, OWN, ConverseBlocks, read_content
from tidegate.rules.converse_events import ConverseEventReader, ConverseEventWriter, metadata_usage
from tidegate.rules.converse_request import USER, read_converse_request
from tidegate.rules.converse_usage import STOP_WORDS, read_stop, read_tier, read_usage, tier_object, usage_object
from tidegate.rules.losses import Losses
from tidegate.rules.sealed_turns import lacks_seals
from tidegate.rules.thinking_budget import budget_of, effort_of, fit_budget
from tidegate.rules.tool_names import name_aliases
from tidegate.rules.turns import alternating, leading_system
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.json_object import (
    WrongShape,
    encode,
    is_object,
    is_string,
    members,
    raw_of,
    string,
)

MARKS: Final = 4
"""Cache points a request may hold (LLM 5.7)."""
OUTPUT_TOOL: Final = "structured_output"
"""The tool whose arguments stand for structured output where the model cannot promise any (LLM 5.5)."""
SAYS: Final = frozenset((
    "temperature", "top_p", "top_k", "max_output", "stop", "user", "metadata", "tier",
))  # fmt: skip
"""What of the shared words this dialect can say."""
MOST_METADATA: Final = 16

_NESTED: Final = frozenset(("inferenceConfig", "toolConfig", "additionalModelRequestFields", "outputConfig"))
_ANY_OBJECT: Final = b'{"type":"object","properties":{}}'
_JSON_WANTED: Final = "Answer with one JSON object and nothing else."
_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.\-]{0,256}").fullmatch
_DISPLAYS: Final = {"summary": "summarized", "none": "omitted", "full": "summarized"}
_EFFORTS: Final = frozenset(("low", "medium", "high", "xhigh", "max"))

_ERRORS: Final[dict[str, tuple[int, str]]] = {
    "unauthenticated": (403, "AccessDeniedException"),
    "forbidden": (403, "AccessDeniedException"),
    "price_unknown": (403, "AccessDeniedException"),
    "model_not_found": (404, "ResourceNotFoundException"),
    "rate_limited": (429, "ThrottlingException"),
    "budget_exceeded": (429, "ServiceQuotaExceededException"),
    "quota_exceeded": (429, "ServiceQuotaExceededException"),
    "overloaded": (503, "ServiceUnavailableException"),
    "bad_upstream": (424, "ModelErrorException"),
    "upstream_timeout": (408, "ModelTimeoutException"),
    "deadline_exceeded": (408, "ModelTimeoutException"),
}
"""Fault code -> (status, type) as boto3 models them (LLM 5.11)."""
_OWN_TROUBLE: Final = frozenset(("upstream_auth", "upstream_denied", "upstream_quota"))
"""Reasons that are none of the client's business."""
_EXCEPTIONS: Final = {
    "rate_limited": "throttlingException", "overloaded": "serviceUnavailableException",
    "invalid_request": "validationException", "context_length": "validationException",
    "content_policy": "validationException", "bad_upstream": "modelStreamErrorException",
    "upstream_timeout": "modelStreamErrorException",
}  # fmt: skip
_STATUSES: Final = {
    "validationexception": 400, "accessdeniedexception": 403, "resourcenotfoundexception": 404,
    "modeltimeoutexception": 408, "modelerrorexception": 424, "modelstreamerrorexception": 424,
    "throttlingexception": 429, "servicequotaexceededexception": 429, "modelnotreadyexception": 429,
    "internalserverexception": 500, "serviceunavailableexception": 503,
}  # fmt: skip


class BedrockConverse:
    """``POST /model/{modelId}/converse`` and ``/converse-stream`` (``ports.dialect.Dialect``)."""

    name = NAME
    framing: Framing = "eventstream"
    model_in_path = True
    surface = "chat"

    def path(self, door: str, model: str, stream: bool) -> str:
        verb = "converse-stream" if stream else "converse"
        return door.replace("{model}", quote(model, safe="")).replace("{action}", verb)

    # -- as the client speaks it ---------------------------------------------------------------------------------------

    def read_request(self, body: bytes, hints: Hints) -> ChatRequest:
        try:
            return read_converse_request(body, hints.model, bool(hints.stream))
        except (WrongShape, UnicodeDecodeError) as wrong:
            detail = str(wrong) if isinstance(wrong, WrongShape) else "The body must be UTF-8."
            raise Fault("invalid_request", detail, side=CLIENT) from None

    def write_answer(self, answer: ChatAnswer, asked: ChatRequest, now: int) -> Written:
        choice = answer.choices[0] if answer.choices else Choice()
        losses = Losses()
        blocks = ConverseBlocks(None, {}, frozenset(), frozenset(), losses)
        if len(answer.choices) > 1:
            losses.lose("n")
        if choice.stop == "pause":
            losses.lose("pause")
        content: list[object] = []
        for part in choice.parts:
            blocks.put(part, "answer", content)
        written: dict[str, object] = {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": STOP_WORDS[choice.stop],
            "usage": usage_object(answer.usage or Usage()),
        }
        if choice.logprobs:
            losses.lose("logprobs")
        tier = tier_object(answer.tier)
        if tier is not None:
            written["serviceTier"] = tier
        if choice.extra is not None and choice.extra.dialect == NAME:
            written.update({name: raw_of(value) for name, value in choice.extra.members})
        losses.extras(written, answer.extra, NAME, frozenset(), "")
        written.setdefault("metrics", {"latencyMs": 0})
        return Written(encode(written), tuple(losses.told))

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        return ConverseEventWriter(asked, _exception_of)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        status, kind = _ERRORS.get(fault.code) or (
            fault.status,
            "InternalServerException" if fault.status >= 500 else "ValidationException",
        )
        if fault.reason in _OWN_TROUBLE:
            status, kind = 500, "InternalServerException"
        fields = [("x-amzn-errortype", kind)]
        if request_id:
            fields.append(("x-amzn-requestid", request_id))
        message = fault.detail or CODES[fault.code].title
        return Written(encode({"message": message}), status=status, fields=tuple(fields))

    # -- as the provider speaks it -------------------------------------------------------------------------------------

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        return _RequestWriter(request, voice).write()

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        try:
            return _read_answer(members(body), voice, aliases)
        except (WrongShape, UnicodeDecodeError):
            raise Fault("bad_upstream", "The provider's answer is not in its own words.", reason="protocol",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def events_reader(self, voice: Voice, aliases: dict[str, str]) -> EventReader:
        return ConverseEventReader(voice.vendor or OWN, voice.model, aliases, voice.usage, _fault_of)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        words, message = _error_words(body)
        told = fields.get("x-amzn-errortype", "").partition(":")[0].strip().lower()
        return upstream_fault(status, told or words, message, fields, now)

    # -- passing bytes through -----------------------------------------------------------------------------------------

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        """The model stands in the path, and usage always comes."""
        return body

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        return metadata_usage(body, voice.usage)

    def usage_of_event(self, event: str, data: bytes, voice: Voice) -> tuple[Usage | None, bool, bool]:
        if event == "contentBlockDelta" or event == "contentBlockStart":
            return None, True, False
        if event == "metadata":
            return metadata_usage(data, voice.usage), False, True
        return None, False, event == "messageStop" or event.startswith("exception:")


# -- faults ------------------------------------------------------------------------------------------------------------


def _error_words(body: bytes) -> tuple[str, str]:
    """(type, message) of an error's body; "" for what it does not tell."""
    try:
        found = members(body) if is_object(body.lstrip()) else {}
    except WrongShape:
        return "", ""
    kind = _text(found, "__type").rpartition("#")[2] or _text(found, "code")
    return kind.lower(), _text(found, "message") or _text(found, "Message") or _text(found, "originalMessage")


def _text(found: dict[str, bytes], name: str) -> str:
    value = found.get(name, b"")
    try:
        return string(value) if is_string(value) else ""
    except WrongShape:
        return ""


def _fault_of(kind: str, body: bytes) -> Fault:
    """The fault of an exception inside a stream."""
    word = kind.lower()
    return upstream_fault(_STATUSES.get(word, 500), word, _error_words(body)[1], {}, 0.0)


def _exception_of(failed: Failed) -> tuple[str, bytes]:
    code = failed.code if failed.code in CODES else "bad_upstream"
    kind = _EXCEPTIONS.get(code, "internalServerException")
    if failed.reason in _OWN_TROUBLE:
        kind = "internalServerException"
    return kind, encode({"message": failed.detail or CODES[code].title})


# -- writing a request -------------------------------------------------------------------------------------------------


class _RequestWriter:
    """One request on its way to one target. Mutable: ``_body`` and ``_losses``."""

    def __init__(self, request: ChatRequest, voice: Voice) -> None:
        self._request = request
        self._voice = voice
        self._losses = Losses()
        names = [tool.name for tool in request.tools if tool.kind == "function"]
        self._called = [part.name for message in request.messages for part in message.parts
                        if isinstance(part, ToolCall) and part.name]  # fmt: skip
        self._aliases = name_aliases(dict.fromkeys([*names, *self._called]))
        self._answers: dict[str, str] = {alias: name for name, alias in self._aliases.items()}
        self._blocks = ConverseBlocks(voice.vendor or OWN, self._aliases, voice.accepts, voice.lacks, self._losses)
        self._body: dict[str, object] = {}

    def write(self) -> Outgoing:
        request, voice, body, losses = self._request, self._voice, self._body, self._losses
        self._blocks.skip = max(0, _marks(request) - MARKS)
        tools = self._tools()
        system, rest = leading_system(request.messages)
        said = self._system(system)
        messages = self._turns(rest, len(system))
        self._output(tools, said)
        if said:
            body["system"] = said
        body["messages"] = messages
        if tools:
            self._nested("toolConfig")["tools"] = tools
            self._choice(tools)
        self._thinking()
        self._sampling()
        self._metadata()
        tier = tier_object(request.tier)
        if tier is not None:
            body["serviceTier"] = tier
        elif request.tier:
            losses.lose("tier")
        if request.cache is not None:
            losses.lose("cache")
        losses.unsaid(request, SAYS - voice.lacks)
        self._extras()
        for name, renamed in voice.rename.items():
            if name in body:
                value = body.pop(name)
                if renamed:
                    body[renamed] = value
        told = [*losses.told, *merge_options(body, request.options, voice.addressed)]
        return Outgoing(encode(body), tuple(told), aliases=self._answers)

    def _says(self, feature: str) -> bool:
        """The target takes *feature*; else it is a loss."""
        if feature in self._voice.lacks:
            self._losses.lose(feature)
            return False
        return True

    def _nested(self, name: str) -> dict[str, object]:
        found = self._body.setdefault(name, {})
        assert isinstance(found, dict)
        return found

    def _tools(self) -> list[object]:
        """The tools; those that history speaks of when the client declared none, for the vendor wants to know them."""
        request, losses = self._request, self._losses
        chosen = request.tool_choice
        written: list[object] = []
        if request.tools and not self._says("tools"):
            return []
        if chosen.mode == "none" and not self._called:
            return []
        if chosen.mode == "none":
            losses.lose("tool_choice")
        for at, tool in enumerate(request.tools):
            if chosen.mode == "subset" and tool.name not in chosen.names:
                continue
            if tool.kind == "server" and tool.dialect == NAME:
                written.append(raw_of(tool.value))
                self._blocks.mark(tool.cache, written)
            elif tool.kind != "function":
                losses.lose(f"tools[{at}]")
            else:
                written.append({"toolSpec": self._tool(tool, f"tools[{at}]")})
                self._blocks.mark(tool.cache, written)
        if not written and self._called:
            for name in dict.fromkeys(self._called):
                written.append({"toolSpec": self._tool(Tool(name), "tools")})
        return written

    def _tool(self, tool: Tool, path: str) -> dict[str, object]:
        said: dict[str, object] = {"name": self._aliases.get(tool.name, tool.name)}
        if tool.description:
            said["description"] = tool.description
        said["inputSchema"] = {"json": raw_of(tool.schema or _ANY_OBJECT)}
        if tool.strict is not None:
            if "strict" not in self._voice.lacks:
                said["strict"] = tool.strict
            elif tool.strict:
                self._losses.lose(f"{path}.strict")
        self._losses.extras(said, tool.extra, NAME, self._voice.accepts, path)
        return said

    def _choice(self, tools: list[object]) -> None:
        chosen = self._request.tool_choice
        if "toolChoice" in self._nested("toolConfig"):
            return
        said: dict[str, object] | None = None
        if chosen.mode == "one":
            said = {"tool": {"name": self._aliases.get(chosen.names[0], chosen.names[0])}}
        elif chosen.mode == "required" or (chosen.mode == "subset" and chosen.required):
            said = {"any": {}}
        if said is not None and self._says("tool_choice"):
            self._nested("toolConfig")["toolChoice"] = said

    def _system(self, messages: tuple[Message, ...]) -> list[object]:
        written: list[object] = []
        for at, message in enumerate(messages):
            self._name(message, at)
            for part in message.parts:
                self._blocks.put(part, f"messages[{at}]", written)
        return written

    def _name(self, message: Message, at: int) -> None:
        if message.name:
            self._losses.lose(f"messages[{at}].name")

    def _turns(self, messages: tuple[Message, ...], first: int) -> list[object]:
        place: dict[int, int] = {}
        later: set[int] = set()
        for at, message in enumerate(messages, first):
            self._name(message, at)
            for part in message.parts:
                place[id(part)] = at
                if message.role == "system":
                    later.add(id(part))
        turns = alternating(messages)
        if turns and turns[-1].role == "assistant" and not self._says("prefill"):
            turns.pop()
        written: list[dict[str, object]] = []
        for turn in turns:
            for part in turn.parts:
                path = f"messages[{place.get(id(part), first)}]"
                role: str = turn.role
                if id(part) in later:
                    if "system" in self._voice.lacks:
                        self._losses.lose(f"{path}.role")
                    else:
                        role = "system"
                content: list[object] = []
                self._blocks.put(part, path, content)
                if not content:
                    continue
                if written and written[-1]["role"] == role:
                    before = written[-1]["content"]
                    assert isinstance(before, list)
                    before += content
                    continue
                said: dict[str, object] = {"role": role, "content": content}
                if role != "system":
                    self._losses.extras(said, turn.extra, NAME, self._voice.accepts, path)
                written.append(said)
        return list(written)

    def _output(self, tools: list[object], system: list[object]) -> None:
        output, voice, losses = self._request.output, self._voice, self._losses
        if output is None:
            return
        if output.kind == "schema" and "output.schema" not in voice.lacks:
            if output.strict is False:
                losses.lose("output.strict")
            schema: dict[str, object] = {"schema": (output.schema or _ANY_OBJECT).decode("utf-8")}
            if output.name:
                schema["name"] = output.name
            if output.description:
                schema["description"] = output.description
            form = {"type": "json_schema", "structure": {"jsonSchema": schema}}
            self._nested("outputConfig")["textFormat"] = form
        elif output.kind == "schema" and voice.emulate and "tools" not in voice.lacks:
            chosen: dict[str, object] = {"any": {}} if tools else {"tool": {"name": OUTPUT_TOOL}}
            self._nested("toolConfig")["toolChoice"] = chosen
            tools.append({"toolSpec": self._tool(Tool(OUTPUT_TOOL, schema=output.schema), "tools")})
            self._answers = {**self._answers, OUTPUT_TOOL: ""}
            losses.lose("output.emulated")
        elif output.kind == "schema":
            losses.lose("output.schema")
        elif output.kind == "json" and voice.emulate:
            system.append({"text": _JSON_WANTED})
            losses.lose("output.emulated")
        elif output.kind == "json":
            losses.lose("output.json")

    def _thinking(self) -> None:
        thinking = self._request.thinking
        if thinking is None or not self._says("thinking"):
            return
        own = thinking.extra is not None and thinking.extra.dialect == NAME
        losses = self._losses
        if not own and thinking.mode != "off" and lacks_seals(self._request, self._voice.vendor):
            losses.lose("thinking.signature")  # the vendor refuses to think on without its own thoughts
            thinking = Thinking("off")
        said: dict[str, object] = {}
        effort = thinking.effort
        if own:
            said = _own_thinking(thinking)
        elif effort == "minimal":
            effort = "low"
            losses.lose("thinking.effort")
        elif effort and effort not in _EFFORTS:
            effort = ""
            losses.lose("thinking.effort")
        if own:
            pass
        elif thinking.mode == "off":
            said, effort = {"type": "disabled"}, ""
        elif self._voice.thinking_style == "budget":
            room = self._request.max_output or self._voice.max_output
            asked = thinking.budget
            budget = fit_budget(asked, room) if asked > 0 else budget_of(thinking.effort or "medium", room)
            effort = ""
            if budget:
                said = {"type": "enabled", "budget_tokens": budget}
            else:
                losses.lose("thinking")
        else:
            if not effort and thinking.budget > 0:
                effort = effort_of(thinking.budget).replace("minimal", "low")
                losses.lose("thinking.budget")
            if not effort or thinking.mode == "adaptive":
                said = {"type": "adaptive"}
        if thinking.show and said and said["type"] != "disabled":
            said["display"] = _DISPLAYS[thinking.show]
            if thinking.show == "full":
                losses.lose("thinking.show")
        elif thinking.show and not own:
            losses.lose("thinking.show")
        if said:
            losses.extras(said, thinking.extra, NAME, self._voice.accepts, "thinking")
            self._nested("additionalModelRequestFields")["thinking"] = said
        if effort:
            self._nested("outputConfig")["effort"] = effort

    def _sampling(self) -> None:
        request, lacks = self._request, self._voice.lacks
        sampling = request.sampling
        for feature, name, value in (
            ("max_output", "maxTokens", request.max_output), ("temperature", "temperature", sampling.temperature),
            ("top_p", "topP", sampling.top_p), ("stop", "stopSequences", request.stop or None),
        ):  # fmt: skip
            if value is None or feature in lacks:
                continue
            if feature == "temperature" and sampling.temperature is not None and sampling.temperature > 1:
                value = 1.0
                self._losses.lose("temperature")
            self._nested("inferenceConfig")[name] = value
        if sampling.top_k is not None and "top_k" not in lacks:
            self._nested("additionalModelRequestFields")["top_k"] = sampling.top_k

    def _metadata(self) -> None:
        """Tags of the request; the vendor takes a few short texts of plain letters."""
        request, losses = self._request, self._losses
        said: dict[str, object] = {}
        if request.metadata and "metadata" not in self._voice.lacks:
            for name, value in members(request.metadata, "metadata").items():
                fits = is_string(value) and _METADATA(name) and _METADATA(string(value))
                if fits and name and len(said) < MOST_METADATA and not (name == USER and request.user):
                    said[name] = raw_of(value)
                else:
                    losses.lose(f"metadata.{name}")
        if request.user and "user" not in self._voice.lacks:
            if _METADATA(request.user) and len(said) < MOST_METADATA:
                said[USER] = request.user
            else:
                losses.lose("user")
        if said:
            self._body["requestMetadata"] = said

    def _extras(self) -> None:
        extra = self._request.extra
        if extra is None:
            return
        for name, value in extra.members:
            head, dot, tail = name.partition(".")
            if extra.dialect == NAME and dot and head in _NESTED:
                self._nested(head).setdefault(tail, raw_of(value))
            else:
                self._losses.extras(self._body, Extra(extra.dialect, ((name, value),)), NAME, self._voice.accepts, "")


def _own_thinking(thinking: Thinking) -> dict[str, object]:
    """The client's own words, as they came."""
    told = dict(thinking.extra.members) if thinking.extra is not None else {}
    kind = {"adaptive": "adaptive", "off": "disabled"}.get(thinking.mode, "enabled" if thinking.budget else "")
    if "type" in told:
        kind = string(told["type"])
    said: dict[str, object] = {"type": kind} if kind else {}
    if thinking.budget:
        said["budget_tokens"] = thinking.budget
    return said


def _marks(request: ChatRequest) -> int:
    """Cache marks that would go out."""
    parts: list[Part] = [part for message in request.messages for part in message.parts]
    parts += [inner for part in list(parts) if isinstance(part, ToolResult) for inner in part.parts]
    found = sum([part.cache is not None for part in parts])
    return found + sum([tool.cache is not None for tool in request.tools])


# -- reading an answer -------------------------------------------------------------------------------------------------


def _read_answer(found: dict[str, bytes], voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
    message = members(members(found.pop("output", b""), "output").get("message", b""), "output.message")
    content = read_content(message.pop("content", b""), "output.message.content", voice.vendor or OWN, aliases)
    parts = tuple([_without_emulation(part) for part in content])
    calls = any(isinstance(part, ToolCall) for part in parts)
    stop, extra = read_stop(take_string(found, "stopReason", "answer"), calls)
    tier = read_tier(found.get("serviceTier"))
    if tier:
        del found["serviceTier"]
    usage = read_usage(found.pop("usage", b""), voice.usage, tier)
    return ChatAnswer(
        model=voice.model, choices=(Choice(parts=parts, stop=stop, extra=extra),), usage=usage, tier=tier,
        extra=Extra(NAME, tuple(found.items())) if found else None,
    )  # fmt: skip


def _without_emulation(part: Part) -> Part:
    """The call of ``OUTPUT_TOOL``, which the aliases name "", is the text it stands for."""
    if isinstance(part, ToolCall) and part.name == "":
        return Text(text=part.arguments)
    return part
