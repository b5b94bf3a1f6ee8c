"""The promise of a dialect: one vendor's JSON, both ways, on either side of the gateway (LLM 3 and 5).

A dialect is one file in ``dialects/``: a class with the file's name in CamelCase, built once without arguments. It is
pure: bytes and values in, bytes and values out; no clock, no chance, no I/O. Reading raises ``Fault``
(``invalid_request`` for a client's body, ``bad_upstream`` for a provider's). Writing never raises for what the target
cannot say: it leaves it out and names it in ``losses``, in the words of the client's request (``temperature``,
``messages[3].thinking``, ``tools[0].schema.$ref``).

The six shapes it may meet: a request, a whole answer, a stream of wire events, a fault; each read (from the side that
speaks it) and written.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from tidegate.exchange.chat import ChatAnswer, ChatDelta, ChatRequest, Usage
from tidegate.exchange.fault import Fault

Framing = Literal["sse", "ndjson", "array", "eventstream"]
"""How events of a stream lie on the wire: ``text/event-stream``; one JSON object a line; elements of one JSON array;
``application/vnd.amazon.eventstream``."""

MEDIA_TYPES: dict[str, str] = {
    "sse": "text/event-stream; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "array": "application/json; charset=utf-8",
    "eventstream": "application/vnd.amazon.eventstream",
}


class Hints(msgspec.Struct, frozen=True):
    """What of a client's request stands outside its body. ``model`` and ``stream`` from the path where the dialect has
    them there ("" and None elsewhere); ``fields``: request fields that belong to the dialect (``anthropic-version``,
    ``anthropic-beta``), lower-case names."""

    model: str = ""
    stream: bool | None = None
    fields: dict[str, str] = {}


class Effort(msgspec.Struct, frozen=True):
    """How a vendor of a shared dialect says thinking differently (presets, LLM 8). ``ask`` the member that takes the
    effort; ``toggle`` a dotted member set to enabled or disabled; ``text`` the member that brings thoughts back;
    ``replay``: ``never``, ``tool_turns`` or ``always`` (which earlier thoughts must be sent again)."""

    ask: str = "reasoning_effort"
    toggle: str = ""
    text: str = "reasoning_content"
    replay: Literal["never", "tool_turns", "always"] = "never"


class Voice(msgspec.Struct, frozen=True):
    """The target as a writer must know it: data of its preset and of its row in the catalogue.

    vendor      whose sealed things these are (``Origin.vendor``): the preset's name
    model       the upstream's model id, already chosen
    addressed   keys of ``provider_options`` that mean this target: its name, its preset, its dialect
    rename      member -> member of this vendor (``max_completion_tokens`` -> ``max_tokens``; role ``developer`` too)
    accepts     unknown members of other dialects that may pass
    lacks       neutral features it refuses (``n``, ``logit_bias``, ``image``, ``output.schema`` ...): losses
    thinking    None: as the dialect's own vendor does it
    usage       member of its usage object -> neutral field, where it differs from the dialect
    max_output  sent where the dialect must have one and the client named none
    version     API version to name (``anthropic-version``)
    emulate     structured output may be had by a forced tool (LLM 5.5)
    usage_chunk ``ask``: usage comes only when asked; ``always``; ``never``: the member is refused
    thinking_style  "": as the dialect's newest models; else a word its writer knows (``budget``, ``level``)
    id_size     tool call ids are exactly so many letters and digits (Mistral: 9); 0: the dialect's own limit
    """

    vendor: str = ""
    model: str = ""
    addressed: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    accepts: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    thinking: Effort | None = None
    usage: dict[str, str] = {}
    max_output: int = 4096
    version: str = ""
    emulate: bool = False
    usage_chunk: Literal["ask", "always", "never"] = "ask"
    thinking_style: str = ""
    id_size: int = 0


class Outgoing(msgspec.Struct, frozen=True):
    """A request ready for a target. ``fields`` that the dialect needs besides content-type and credentials."""

    body: bytes
    losses: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    aliases: dict[str, str] = {}
    """Tool name as sent -> tool name as the client knows it (LLM 5.4); the reader of the answer gets it back."""


class Written(msgspec.Struct, frozen=True):
    """A whole answer or fault for a client. ``status`` 200 for answers."""

    body: bytes
    losses: tuple[str, ...] = ()
    status: int = 200
    fields: tuple[tuple[str, str], ...] = ()


class EventReader(Protocol):
    """Reads the stream of one answer. Never holds more than one event and the ids of open parts."""

    def feed(self, event: str, data: bytes) -> list[ChatDelta]:
        """One wire event. *event*: the SSE event name or the eventstream's ``:event-type`` (exceptions as
        ``exception:<type>``), "" where the framing has none. Obeys the order law of ``exchange.chat``. A broken event
        gives ``Failed``; after ``End`` it returns []."""

    def close(self) -> list[ChatDelta]:
        """The wire has ended: what was still open ends; without the dialect's terminator a ``Failed``
        (``bad_upstream``, reason ``incomplete_stream``). Ends with ``End`` unless that was told before."""


class EventWriter(Protocol):
    """Writes the stream of one answer, framed for the wire. A delta may give b"" (nothing to say yet); what ends the
    stream for the client (``[DONE]``, ``message_stop``, ``response.completed``) comes with ``End`` and not before."""

    losses: list[str]

    def write(self, delta: ChatDelta) -> bytes:
        """The wire bytes of *delta*."""

    def comment(self, text: str) -> bytes:
        """A line clients skip (``: text``), or b"" where the framing has none."""

    def heartbeat(self) -> bytes:
        """What may be sent in a silence between two events, or b"" where nothing may."""


class Dialect(Protocol):
    """One vendor's words. ``name`` is the file's; ``surface`` is ``chat``, ``completions`` or ``embeddings``."""

    name: str
    framing: Framing
    model_in_path: bool
    """The path names the model (Gemini, Converse), so passing bytes through needs no splice in the body."""

    def path(self, door: str, model: str, stream: bool) -> str:
        """The path of a call: *door* is the preset's, with ``{model}`` and ``{action}`` in it where the dialect wants
        them; *model* is percent-encoded as one segment here."""

    # as the client speaks it

    def read_request(self, body: bytes, hints: Hints) -> ChatRequest:
        """A client's request."""

    def write_answer(self, answer: ChatAnswer, asked: ChatRequest, now: int) -> Written:
        """A whole answer for the client that asked *asked*. *now*: seconds since the epoch, where the answer told none.
        The answer's own id is kept; where it would give a vendor away or has the wrong shape it is derived from it."""

    def events_writer(self, asked: ChatRequest, id: str, now: int, framing: Framing) -> EventWriter:
        """The stream for the client that asked *asked*. *id*: a unique id to derive ids from; *framing* is the
        dialect's own unless the client chose another (Gemini without ``alt=sse``: ``array``)."""

    def write_fault(self, fault: Fault, request_id: str) -> Written:
        """A fault as this client's SDK expects it (LLM 5.11)."""

    # as the provider speaks it

    def write_request(self, request: ChatRequest, voice: Voice) -> Outgoing:
        """The request as *voice* must hear it; ``voice.model`` is the model."""

    def read_answer(self, body: bytes, voice: Voice, aliases: dict[str, str]) -> ChatAnswer:
        """A whole answer of the provider."""

    def events_reader(self, voice: Voice, aliases: dict[str, str]) -> EventReader:
        """The reader of one stream of the provider."""

    def read_fault(self, status: int, fields: dict[str, str], body: bytes, now: float) -> Fault:
        """A provider's refusal (LLM 5.11): ``side`` is ``UPSTREAM``, ``retry_after`` its delay in seconds, ``detail``
        its words for ``invalid_request context_length content_policy model_not_found`` only, with keys, account ids and
        hosts struck out. *now*: seconds since the epoch, for dates."""

    # passing bytes through

    def splice(self, body: bytes, model: str, ask_usage: bool) -> bytes:
        """*body* with the model's name replaced in place and, with *ask_usage*, the wish for a usage chunk put in;
        nothing else moves (LLM 4)."""

    def usage_of_answer(self, body: bytes, voice: Voice) -> Usage | None:
        """The usage in a whole answer that passes untouched, without decoding the rest."""

    def usage_of_event(self, event: str, data: bytes, voice: Voice) -> tuple[Usage | None, bool, bool]:
        """The same of one event of a stream: (usage, this event shows first content, this event ends the stream).
        Quick for the many events that hold nothing."""
