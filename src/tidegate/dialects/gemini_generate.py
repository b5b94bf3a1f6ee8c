"""Gemini's ``generateContent`` (LLM 5, column gem): requests, answers, streams and faults, read and written.

Parts, their usage and their events are rules of their own (``rules/generate_parts``, ``generate_usage``,
``generate_events``); here is what stands around them.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import msgspec

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Citation,
    Cited,
    Failed,
    Stopped,
    Tool,
    ToolCall,
    Usage,
)
from tidegate.exchange.fault import CLIENT, CODES, IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.ports.dialect import EventReader, EventWriter, Framing, Hints, Outgoing, Voice, Written
from tidegate.rules.addressed_options import merge_options
from tidegate.rules.generate_events import (
    CHOICES,
    GenerateEventReader,
    GenerateEventWriter,
    candidate_object,
    read_stop,
    response_id,
    searches,
    with_citations,
    with_searches,
)
from tidegate.rules.generate_faults import fault_body, fault_of, read_refusal
from tidegate.rules.generate_parts import (
    NAME,
    PartReader,
    PartWriter,
    bag,
    camel_members,
    read_parts,
    take_string,
)
from tidegate.rules.generate_request import read_request
from tidegate.rules.generate_usage import read_usage, usage_object
from tidegate.rules.losses import state_wishes
from tidegate.rules.schema_subset import to_subset
from tidegate.rules.thinking_budget import budget_of, effort_of
from tidegate.rules.tool_names import name_aliases
from tidegate.rules.turns import alternating, leading_system
from tidegate.wire.json_object import (
    WrongShape,
    count,
    encode,
    is_object,
    is_string,
    items,
    members,
    raw_of,
    string,
)

_ROOM: Final = 65_536
"""Tokens an answer may take where nobody said: room for a thinking budget."""
_EFFORTS: Final = {
    "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH", "max": "XHIGH",
}  # fmt: skip
_TIERS: Final = {"standard": "standard", "default": "standard", "flex": "flex", "priority": "priority"}
_NESTED: Final = ("generationConfig", "toolConfig")


class _Answer(msgspec.Struct, rename="camel"):
    usage_metadata: msgspec.Raw = msgspec.Raw(b"")


_answer: Final = msgspec.json.Decoder(_Answer).decode


class GeminiGenerate:
    """``POST .../models/{model}:generateContent`` and ``:streamGenerateContent`` (``ports.dialect.Dialect``)."""

    name = NAME
    framing: Framing = "sse"
    model_in_path = True

    def path(self, door: str, model: str, stream: bool) -> str:
        """*door* with the model and the verb; a stream is asked for as SSE."""
        action = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return door.replace("{model}", quote(model, safe="")).replace("{action}", action)

    # as the client speaks it

    def read_request(self, body: bytes, hints: Hints) -> ChatRequest:
        try:
            return read_request(body, hints.model, bool(hints.stream))
        except (WrongShape, UnicodeDecodeError) as wrong:
            detail = str(wrong) if isinstance(wrong, WrongShape) else "The body must be UTF-8."
            raise Fault("invalid_request", detail, side=CLIENT) from None

    def write_answer(self, answer: ChatAnswer, asked: ChatRequest, now: int) -> Written:
        writer = PartWriter(None, {}, {}, frozenset(), frozenset(), False)
        body: dict[str, object] = {}
        own = dict(answer.extra.members) if answer.extra is not None and answer.extra.dialect == NAME else {}
        blocked = "promptFeedback" in own and not any(choice.parts for choice in answer.choices)
        if not blocked:
            body["candidates"] = [_candidate(choice, writer) for choice in answer.choices]
        body["usageMetadata"] = usage_object(answer.usage or Usage())
        body["modelVersion"] = answer.model or asked.model
        body["responseId"] = response_id(answer.id)
        writer.extras(body, answer.extra, "")
        return Written(encode(body), tuple(writer.losses))

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        return GenerateEventWriter(asked, id, framing == "array", _failed_body)

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        status = fault.status
        return Written(fault_body(status, fault.code, fault.detail, fault.retry_after), status=status)

    # as the provider speaks it

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        return _RequestWriter(request, voice).write()

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        try:
            found = camel_members(body, "")
            if "error" in found:
                raise fault_of(found["error"])
            return _read_answer(found, voice, aliases)
        except (WrongShape, UnicodeDecodeError):
            raise Fault("bad_upstream", "The provider's answer is not in its own words.", reason="protocol",
                        side=UPSTREAM, retry=IF_IDEMPOTENT) from None  # fmt: skip

    def events_reader(self, voice: Voice, aliases: dict[str, str]) -> EventReader:
        return GenerateEventReader(voice.vendor, aliases, voice.usage, fault_of)

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        return read_refusal(status, fields, body, now)

    # passing bytes through

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        """*body* itself: the path names the model, and usage always comes."""
        return body

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        try:
            usage = read_usage(bytes(_answer(body).usage_metadata), voice.usage)
            if b"webSearchQueries" in body:
                return with_searches(usage, _searches_of(body))
            return usage
        except (msgspec.DecodeError, UnicodeDecodeError, WrongShape):
            return None

    def usage_of_event(self, event: str, data: bytes, voice: Voice) -> tuple[Usage | None, bool, bool]:
        usage = self.usage_of_answer(data, voice) if b'"usageMetadata"' in data else None
        over = b'"finishReason"' in data or b'"blockReason"' in data or data[:9] == b'{"error":'
        return usage, b'"parts"' in data, over


def _searches_of(body: bytes) -> int:
    found = members(body)
    candidates = found.get("candidates", b"[]")
    return sum([searches(camel_members(raw, "candidates")) for raw in items(candidates)])


def _failed_body(failed: Failed) -> bytes:
    code = failed.code if failed.code in CODES else "bad_upstream"
    return fault_body(CODES[code].status, code, failed.detail, failed.retry_after)


# -- writing a request -------------------------------------------------------------------------------------------------


class _RequestWriter:
    """One request on its way to one target. Mutable: ``_body``, its ``_config``, and the losses of ``_parts``."""

    def __init__(self, request: ChatRequest, voice: Voice) -> None:
        self._request = request
        self._voice = voice
        self._aliases = name_aliases([tool.name for tool in request.tools if tool.kind == "function"])
        called = {
            part.id: part.name for message in request.messages for part in message.parts if isinstance(part, ToolCall)
        }
        self._parts = PartWriter(
            voice.vendor, self._aliases, called, voice.accepts, voice.lacks, voice.thinking_style == "level"
        )
        self._body: dict[str, object] = {}
        self._config: dict[str, object] = {}

    def write(self) -> Outgoing:
        request, voice, body, config = self._request, self._voice, self._body, self._config
        self._turns()
        self._tools()
        self._sampling()
        self._output()
        self._thinking()
        if request.metadata:
            body["labels"] = raw_of(request.metadata)
        if request.tier in _TIERS:
            body["serviceTier"] = _TIERS[request.tier]
        elif request.tier not in ("", "auto"):
            self._parts.lose("tier")
        self._unsayable()
        if config or self._has_nested("generationConfig"):
            body["generationConfig"] = config
        if self._has_nested("toolConfig"):
            body.setdefault("toolConfig", {})
        self._parts.extras(body, request.extra, "")
        for name, renamed in voice.rename.items():
            if name in body:
                value = body.pop(name)
                if renamed:
                    body[renamed] = value
        losses = [*self._parts.losses, *merge_options(body, request.options, voice.addressed)]
        answers = {alias: name for name, alias in self._aliases.items()}
        return Outgoing(encode(body), tuple(losses), (), answers)

    def _has_nested(self, name: str) -> bool:
        extra = self._request.extra
        return (
            extra is not None
            and extra.dialect == NAME
            and any(member.startswith(f"{name}.") for member, _ in extra.members)
        )

    def _says(self, feature: str) -> bool:
        """The target takes *feature*; else it is a loss."""
        if feature in self._voice.lacks:
            self._parts.lose(feature)
            return False
        return True

    def _turns(self) -> None:
        request, writer = self._request, self._parts
        leading, rest = leading_system(request.messages)
        place: dict[int, int] = {}
        for at, message in enumerate(request.messages):
            if message.name:
                writer.lose(f"messages[{at}].name")
            if message.role == "system" and at >= len(leading):
                writer.lose(f"messages[{at}].role")
            for part in message.parts:
                place[id(part)] = at
        if leading:
            written: list[dict[str, object]] = []
            for message in leading:
                for part in message.parts:
                    writer.append(part, f"messages[{place[id(part)]}]", written)
            if written:
                said: dict[str, object] = {"parts": written}
                writer.extras(said, leading[0].extra, "messages[0]")
                self._body["systemInstruction"] = said
        turns = alternating(rest)
        if turns and turns[-1].role == "assistant":
            writer.lose("prefill")
            turns.pop()
        contents: list[dict[str, object]] = []
        for turn in turns:
            role = "model" if turn.role == "assistant" else "user"
            parts: list[dict[str, object]] = []
            for part in turn.parts:
                writer.append(part, f"messages[{place.get(id(part), 0)}]", parts)
            if not parts:
                continue
            before = contents[-1] if contents else None
            if before is not None and before["role"] == role:
                known = before["parts"]
                assert isinstance(known, list)
                known += parts
                continue
            content: dict[str, object] = {"role": role, "parts": parts}
            writer.extras(content, turn.extra, f"messages[{place.get(id(turn.parts[0]), 0)}]")
            contents.append(content)
        self._body["contents"] = contents

    def _tools(self) -> None:
        request, writer = self._request, self._parts
        if not request.tools or not self._says("tools"):
            return
        functions: list[dict[str, object]] = []
        servers: list[object] = []
        for at, tool in enumerate(request.tools):
            if tool.kind == "server" and tool.dialect == NAME:
                servers.append(raw_of(tool.value))
            elif tool.kind != "function":
                writer.lose(f"tools[{at}]")
            else:
                functions.append(self._declaration(tool, f"tools[{at}]"))
        written: list[object] = [{"functionDeclarations": functions}] if functions else []
        if written or servers:
            self._body["tools"] = [*written, *servers]
        if functions:
            self._choice()

    def _declaration(self, tool: Tool, path: str) -> dict[str, object]:
        writer = self._parts
        said: dict[str, object] = {"name": self._aliases.get(tool.name, tool.name)}
        if tool.description:
            said["description"] = tool.description
        if tool.schema and "parametersJsonSchema" in self._voice.lacks:
            schema, lost = to_subset(tool.schema)
            said["parameters"] = raw_of(schema)
            for keyword in lost:
                writer.lose(f"{path}.schema.{keyword}")
        elif tool.schema:
            said["parametersJsonSchema"] = raw_of(tool.schema)
        if tool.strict:
            writer.lose(f"{path}.strict")
        writer.extras(said, tool.extra, path)
        return said

    def _choice(self) -> None:
        chosen = self._request.tool_choice
        if self._request.parallel_tools is False:
            self._parts.lose("parallel_tools")
        if chosen.mode == "auto":
            return
        modes = {"none": "NONE", "required": "ANY", "one": "ANY"}
        mode = modes.get(chosen.mode) or ("ANY" if chosen.required else "VALIDATED")
        said: dict[str, object] = {"mode": mode}
        if chosen.mode in ("one", "subset"):
            said["allowedFunctionNames"] = [self._aliases.get(name, name) for name in chosen.names]
        self._body["toolConfig"] = {"functionCallingConfig": said}

    def _sampling(self) -> None:
        request, config = self._request, self._config
        sampling = request.sampling
        for feature, member, value in (
            ("max_output", "maxOutputTokens", request.max_output),
            ("temperature", "temperature", sampling.temperature), ("top_p", "topP", sampling.top_p),
            ("top_k", "topK", sampling.top_k), ("stop", "stopSequences", request.stop or None),
            ("seed", "seed", sampling.seed), ("frequency_penalty", "frequencyPenalty", sampling.frequency_penalty),
            ("presence_penalty", "presencePenalty", sampling.presence_penalty),
            ("n", "candidateCount", sampling.n if sampling.n > 1 else None),
            ("logprobs", "responseLogprobs", sampling.logprobs),
            ("top_logprobs", "logprobs", sampling.top_logprobs if sampling.top_logprobs >= 0 else None),
        ):  # fmt: skip
            if value is not None and self._says(feature):
                config[member] = value

    def _output(self) -> None:
        output, config, lose = self._request.output, self._config, self._parts.lose
        if output is None:
            return
        if output.description:
            lose("output.description")
        if output.kind != "text" and self._says("output.json"):
            config["responseMimeType"] = "application/json"
            if output.kind == "schema" and self._says("output.schema"):
                self._schema(output.schema or b"{}")
        if output.modalities:
            config["responseModalities"] = [kind.upper() for kind in output.modalities]
        if output.audio:
            voice = members(output.audio).get("voice", b"") if is_object(output.audio) else b""
            if is_string(voice):
                named = {"prebuiltVoiceConfig": {"voiceName": raw_of(voice)}}
                config["speechConfig"] = {"voiceConfig": named}
            lose("output.audio.format")

    def _schema(self, schema: bytes) -> None:
        if "responseJsonSchema" not in self._voice.lacks:
            self._config["responseJsonSchema"] = raw_of(schema)
            return
        subset, lost = to_subset(schema)
        self._config["responseSchema"] = raw_of(subset)
        for keyword in lost:
            self._parts.lose(f"output.schema.{keyword}")

    def _thinking(self) -> None:
        thinking, style = self._request.thinking, self._voice.thinking_style
        if thinking is None or not self._says("thinking"):
            return
        lose = self._parts.lose
        own = thinking.extra is not None and thinking.extra.dialect == NAME
        said: dict[str, object] = {}
        if thinking.mode == "off":
            if style == "level":
                said["thinkingLevel"] = "MINIMAL"
                lose("thinking")
            else:
                said["thinkingBudget"] = 0
        elif thinking.budget and style != "level":
            said["thinkingBudget"] = thinking.budget
        elif thinking.mode == "adaptive" and not thinking.effort:
            if not own and style != "level":
                said["thinkingBudget"] = -1
        else:
            effort = thinking.effort or effort_of(thinking.budget)
            if effort not in _EFFORTS:
                lose("thinking.effort")
            elif style == "budget":
                budget = budget_of(effort, self._request.max_output or _ROOM)
                said["thinkingBudget"] = budget
                if not budget:
                    lose("thinking")
            else:
                said["thinkingLevel"] = _EFFORTS[effort]
                if effort == "max":
                    lose("thinking.effort")
        if thinking.show:
            said["includeThoughts"] = thinking.show != "none"
            if thinking.show == "full":
                lose("thinking.show")
        self._parts.extras(said, thinking.extra, "thinking")
        if said:
            self._config["thinkingConfig"] = said

    def _unsayable(self) -> None:
        """What the vendor has no word for (LLM 5.1)."""
        request, lose = self._request, self._parts.lose
        sampling, state = request.sampling, request.state
        for name, asked in (
            ("logit_bias", bool(sampling.logit_bias)), ("verbosity", bool(sampling.verbosity)),
            ("prediction", bool(request.prediction)), ("user", bool(request.user)),
        ):  # fmt: skip
            if asked:
                lose(name)
        if state is None:
            return
        for name in state_wishes(state):
            if name != "store":
                lose(name)
        if state.store is not None:
            self._body["store"] = state.store


# -- answers -----------------------------------------------------------------------------------------------------------


def _read_answer(found: dict[str, bytes], voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
    id, model = take_string(found, "responseId", "answer"), take_string(found, "modelVersion", "answer")
    choices: list[Choice] = []
    queries = 0
    for at, raw in enumerate(items(found.pop("candidates", b"[]"), "candidates")[:CHOICES]):
        candidate = camel_members(raw, f"candidates[{at}]")
        index = count(candidate.get("index"))
        reader = PartReader(voice.vendor, aliases, f"{id}/{index}")
        content = camel_members(candidate.get("content", b"{}"), "content")
        parts = read_parts(content.get("parts", b"[]"), "parts", reader, [])
        queries += searches(candidate)
        word = string(candidate["finishReason"]) if "finishReason" in candidate else "STOP"
        stop, extra = read_stop(word, bool(reader.calls), candidate)
        choices.append(Choice(index, tuple(with_citations(parts, candidate)), stop, extra=extra))
    if not choices:
        if b"blockReason" not in found.get("promptFeedback", b""):
            raise WrongShape("candidates", "an array of one or more")
        choices.append(Choice(stop="content_filter"))
    usage = with_searches(read_usage(found.pop("usageMetadata", b""), voice.usage), queries)
    return ChatAnswer(
        id=id, model=model, choices=tuple(choices), usage=usage, tier=usage.tier if usage is not None else "",
        extra=bag(found),
    )  # fmt: skip


def _candidate(choice: Choice, writer: PartWriter) -> dict[str, object]:
    parts: list[dict[str, object]] = []
    citations: list[Citation] = []
    for part in choice.parts:
        writer.append(part, "answer", parts)
        if isinstance(part, Cited):
            citations += part.citations
    if choice.logprobs:
        writer.lose("logprobs")
    stopped = Stopped(choice.index, choice.stop, choice.stop_sequence, choice.extra)
    return candidate_object(choice.index, parts, stopped, citations)
