"""The neutral conversation: what any client asks a model and what any model answers. No vendor's word in a name.

A dialect reads its own JSON into these values and writes its own JSON from them (LLM 3). Values never change: whoever
alters one makes another with ``msgspec.structs.replace``. JSON that nobody here looks into travels as the bytes it
came in (``Raw``). What has no neutral name is kept in order in an ``Extra`` beside the value it came with, and goes out
again in the dialect it belongs to only.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Raw = bytes
"""One JSON value as its bytes; ``b""`` for none."""

Role = Literal["system", "user", "assistant", "tool"]


class Extra(msgspec.Struct, frozen=True):
    """Members without a neutral name, in the order they came, and the dialect whose words they are. An empty value only
    remembers how a neutral thing was spelled (``max_tokens``, ``role=developer``): for any other dialect no loss."""

    dialect: str
    members: tuple[tuple[str, Raw], ...] = ()


class Origin(msgspec.Struct, frozen=True):
    """Who made a sealed thing: only the same vendor may ever see it again (rule 5)."""

    vendor: str
    model: str = ""


class CacheMark(msgspec.Struct, frozen=True):
    """The last part of a prefix worth keeping warm (LLM 5.7). ``ttl`` in seconds, 0 for the vendor's own."""

    ttl: int = 0


# -- parts of a message ------------------------------------------------------------------------------------------------


class PartBase(msgspec.Struct, frozen=True, tag_field="part", kw_only=True, omit_defaults=True):
    """What every part may carry. ``raw``: the exact bytes it was read from, good for splicing into the same dialect
    only; whoever changes a value sets it to b"" and trusts the fields."""

    cache: CacheMark | None = None
    extra: Extra | None = None
    raw: Raw = b""


class Text(PartBase, frozen=True, tag="text"):
    text: str


class Refusal(PartBase, frozen=True, tag="refusal"):
    text: str


class Media(PartBase, frozen=True):
    """Exactly one of ``data`` (base64 text as bytes, never decoded to be encoded again), ``url`` and ``file_id``.
    ``mime`` "" when unknown; ``detail`` and ``title`` as the client wrote them."""

    mime: str = ""
    data: bytes = b""
    url: str = ""
    file_id: str = ""
    detail: str = ""
    title: str = ""


class Image(Media, frozen=True, tag="image"):
    pass


class Audio(Media, frozen=True, tag="audio"):
    """``mime`` is ``audio/wav``, ``audio/mpeg`` ..."""


class Video(Media, frozen=True, tag="video"):
    pass


class File(Media, frozen=True, tag="file"):
    """A document. ``text``: a plain-text document's content, when it is not ``data``."""

    text: str = ""


class ToolCall(PartBase, frozen=True, tag="tool_call"):
    """The model asks for a tool. ``arguments`` is JSON *text* as the model wrote it, which may be broken (LLM 5.4);
    ``signature``: an opaque seal that some vendors put on the call itself."""

    id: str
    name: str
    arguments: str = "{}"
    signature: bytes = b""
    origin: Origin | None = None
    custom: bool = False
    """A custom (free-text or grammar) tool: ``arguments`` is its plain input."""


class ToolResult(PartBase, frozen=True, tag="tool_result"):
    """``parts`` are Text, Image, File ...; ``name`` "" when the dialect does not tell."""

    call_id: str
    name: str = ""
    parts: tuple[Part, ...] = ()
    is_error: bool = False


class Thought(PartBase, frozen=True, tag="thought"):
    """Reasoning in clear. ``summary``: the vendor's summary, not the thought itself. ``signature`` byte for byte."""

    text: str
    signature: bytes = b""
    origin: Origin | None = None
    summary: bool = False
    id: str = ""


class SealedThought(PartBase, frozen=True, tag="sealed_thought"):
    """Reasoning nobody but its vendor can read; carried byte for byte."""

    data: bytes
    origin: Origin | None = None
    id: str = ""


class Citation(msgspec.Struct, frozen=True):
    """One source for a stretch of text. Positions in characters of the part, -1 when not told."""

    url: str = ""
    title: str = ""
    quote: str = ""
    start: int = -1
    end: int = -1
    extra: Extra | None = None


class Cited(PartBase, frozen=True, tag="cited"):
    """Text with its sources."""

    text: str
    citations: tuple[Citation, ...] = ()


class Opaque(PartBase, frozen=True, tag="opaque"):
    """Something only ``dialect`` knows (a server tool's call, a container): ``value`` goes back to it untouched."""

    dialect: str
    kind: str
    value: Raw


Part = Text | Refusal | Image | Audio | Video | File | ToolCall | ToolResult | Thought | SealedThought | Cited | Opaque


class Message(msgspec.Struct, frozen=True):
    """One turn. Tool results stand in messages of role ``tool``, one result or several. ``id``: an item id of
    dialects that have them."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str = ""
    id: str = ""
    extra: Extra | None = None
    raw: Raw = b""


# -- what is asked -----------------------------------------------------------------------------------------------------


class Tool(msgspec.Struct, frozen=True):
    """``schema``: JSON Schema of the arguments as bytes, b"" for none. ``server``: the vendor runs it, ``value`` is its
    whole definition in ``dialect``'s words. ``custom``: free-text input, ``value`` its definition."""

    name: str
    description: str = ""
    schema: Raw = b""
    strict: bool | None = None
    kind: Literal["function", "server", "custom"] = "function"
    dialect: str = ""
    value: Raw = b""
    cache: CacheMark | None = None
    extra: Extra | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """``one``: exactly ``names[0]``; ``subset``: only ``names``, at least one of them when ``required``."""

    mode: Literal["auto", "none", "required", "one", "subset"] = "auto"
    names: tuple[str, ...] = ()
    required: bool = False


class Output(msgspec.Struct, frozen=True):
    """``schema``: JSON Schema as bytes with ``kind == "schema"``. ``modalities`` () for the model's own; ``audio`` the
    client's audio settings as JSON."""

    kind: Literal["text", "json", "schema"] = "text"
    name: str = ""
    schema: Raw = b""
    strict: bool | None = None
    description: str = ""
    modalities: tuple[str, ...] = ()
    audio: Raw = b""


class Thinking(msgspec.Struct, frozen=True):
    """``mode`` ``on`` (a wish with effort or budget), ``adaptive`` (the model decides), ``off``. ``effort`` "" or
    ``minimal low medium high xhigh max``; ``budget`` tokens, 0 for none, -1 for dynamic; ``show`` how much of it comes
    back, "" for the vendor's own."""

    mode: Literal["on", "adaptive", "off"] = "on"
    effort: str = ""
    budget: int = 0
    show: Literal["", "none", "summary", "full"] = ""
    extra: Extra | None = None


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """None: not asked for. ``logit_bias`` as JSON; ``top_logprobs`` -1 for none."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Raw = b""
    logprobs: bool | None = None
    top_logprobs: int = -1
    n: int = 1
    verbosity: str = ""


class State(msgspec.Struct, frozen=True):
    """Wishes about a conversation that somebody keeps. ``conversation`` is an id; ``store`` None when not said."""

    previous_id: str = ""
    conversation: str = ""
    store: bool | None = None
    background: bool = False
    truncation: str = ""


class ChatRequest(msgspec.Struct, frozen=True):
    """What the client asked. ``model`` as asked; the strategy decides what is sent. ``options`` are JSON objects the
    client addressed to one provider or dialect (``provider_options``, LLM 5.12). ``cleared``: members set to null by
    hand. ``prediction``: JSON as it came."""

    model: str
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tools: bool | None = None
    output: Output | None = None
    thinking: Thinking | None = None
    sampling: Sampling = Sampling()
    max_output: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    want_usage: bool = False
    state: State | None = None
    tier: str = ""
    user: str = ""
    metadata: Raw = b""
    prediction: Raw = b""
    cache: CacheMark | None = None
    """A mark on the request as a whole: the vendor places it."""
    cache_key: str = ""
    fields: dict[str, str] = {}
    """Request fields of the client's dialect that its own vendor may hear (``anthropic-version``), lower-case names."""
    options: dict[str, Raw] = {}
    cleared: tuple[str, ...] = ()
    extra: Extra | None = None


# -- what is answered --------------------------------------------------------------------------------------------------

Stop = Literal[
    "stop", "stop_sequence", "length", "context_length", "tool_calls", "content_filter", "refusal", "pause", "broken"
]
"""Why a choice ended (LLM 5.8)."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Counts of one answer, **inclusive**: ``input`` is everything read (cached and written too), ``output`` everything
    generated (thinking too). ``cache_write_by_ttl``: (seconds, tokens). ``tool_calls``: (server tool, calls). Seconds
    are milliseconds of audio (``ms_in``, ``ms_out``) so that they stay whole. ``cost``: n$ as told by an upstream that
    bills by itself, -1 when not told."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_by_ttl: tuple[tuple[int, int], ...] = ()
    thinking: int = 0
    audio_in: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_out: int = 0
    video_in: int = 0
    prediction_accepted: int = 0
    prediction_rejected: int = 0
    tool_calls: tuple[tuple[str, int], ...] = ()
    ms_in: int = 0
    ms_out: int = 0
    characters: int = 0
    images: int = 0
    searches: int = 0
    requests: int = 1
    tier: str = ""
    cost: int = -1
    source: Literal["upstream", "counted", "estimated"] = "upstream"


class Choice(msgspec.Struct, frozen=True):
    """``logprobs``: JSON in the words of the dialect named by ``extra`` or of ``openai_chat``."""

    index: int = 0
    parts: tuple[Part, ...] = ()
    stop: Stop = "stop"
    stop_sequence: str = ""
    logprobs: Raw = b""
    extra: Extra | None = None


class ChatAnswer(msgspec.Struct, frozen=True):
    """A whole answer. ``created`` seconds since the epoch, 0 when not told. ``model``: what the provider wrote."""

    id: str = ""
    model: str = ""
    created: int = 0
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    tier: str = ""
    extra: Extra | None = None


# -- an answer as it comes ---------------------------------------------------------------------------------------------

PartKind = Literal["text", "refusal", "tool_call", "thought", "sealed_thought", "audio", "image", "opaque"]


class Start(msgspec.Struct, frozen=True, gc=False):
    """The answer begins."""

    id: str = ""
    model: str = ""
    created: int = 0
    usage: Usage | None = None


class Open(msgspec.Struct, frozen=True):
    """Part number *part* (dense, from 0) of *choice* begins. ``head`` is the part as far as it is known: its id, name,
    origin; its text, arguments or data empty. An ``opaque`` part comes whole in its head."""

    choice: int
    part: int
    kind: PartKind
    head: Part


class Piece(msgspec.Struct, frozen=True, gc=False):
    """More of an open part: text of a text, refusal or thought; arguments of a call; base64 of media."""

    choice: int
    part: int
    text: str
    logprobs: Raw = b""


class Sign(msgspec.Struct, frozen=True, gc=False):
    """The signature of an open thought or call."""

    choice: int
    part: int
    signature: bytes


class Cite(msgspec.Struct, frozen=True):
    """A source of the text so far of an open text part."""

    choice: int
    part: int
    citation: Citation


class Close(msgspec.Struct, frozen=True, gc=False):
    choice: int
    part: int


class Stopped(msgspec.Struct, frozen=True):
    """``extra`` as of a ``Choice``: the vendor's own word for the stop, details of a refusal."""

    choice: int
    stop: Stop
    stop_sequence: str = ""
    extra: Extra | None = None


class Used(msgspec.Struct, frozen=True):
    """Cumulative; may come any number of times, and the largest value of each field wins."""

    usage: Usage


class Ping(msgspec.Struct, frozen=True, gc=False):
    pass


class Failed(msgspec.Struct, frozen=True):
    """The stream broke: only ``End`` may follow. ``code`` and ``reason`` of a ``Fault``, ``detail`` for a person."""

    code: str
    reason: str = ""
    detail: str = ""
    retry_after: float = 0.0


class End(msgspec.Struct, frozen=True, gc=False):
    pass


ChatDelta = Start | Open | Piece | Sign | Cite | Close | Stopped | Used | Ping | Failed | End
"""Order law (held by ``rules/chat_order``): ``Start`` first; per choice, parts open with dense rising numbers and each
``Open`` has one ``Close``; open parts may interleave; ``Stopped`` after the last ``Close`` of its choice; ``Used`` any
time after ``Start``; ``End`` once and last; after ``Failed`` only ``End``."""

PING: Final = Ping()
END: Final = End()
