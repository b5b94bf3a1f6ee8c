"""Goldens in a form people read: the neutral conversation as JSON without defaults, bytes as text, and one file per
dialect with what it says on the wire.

A golden lies in ``goldens/<feature>/``. ``neutral.json`` holds ``request``, ``answer`` or both; ``<dialect>.json``
holds for each of them what the dialect writes, the losses it names, and where a reader comes back with another value
(``differs``: path -> value read; null: nothing was read).

In a neutral file ``"*"`` stands for the dialect's own name or vendor, ``{"json": ...}`` for JSON kept as bytes and
``"b:..."`` for other bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from tidegate.assembly.models import dialects
from tidegate.exchange.chat import (
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    End,
    Failed,
    Piece,
    Start,
    Stopped,
    Used,
)
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Dialect, Hints, Voice
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import OrderChecker
from tidegate.wire.aws_event_stream import EventStreamDecoder
from tidegate.wire.json_array import ArrayDecoder
from tidegate.wire.ndjson import NdjsonDecoder
from tidegate.wire.sse import SseDecoder

GOLDENS: Final = Path(__file__).parent / "goldens"

VENDORS: Final = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic_messages": "anthropic",
    "gemini_generate": "gemini",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "ollama_chat": "ollama",
}
"""Dialects of conversations -> the vendor that speaks them."""

DECODERS: Final[dict[str, Callable[[], Any]]] = {
    "sse": SseDecoder,
    "ndjson": NdjsonDecoder,
    "array": ArrayDecoder,
    "eventstream": EventStreamDecoder,
}

NOW: Final = 1_700_000_000


def known() -> dict[str, Dialect]:
    found = dialects()
    return {name: found[name] for name in VENDORS if name in found}


def voice_of(name: str) -> Voice:
    vendor = VENDORS[name]
    return Voice(vendor=vendor, model="m", addressed=(vendor, name))


def hints_of(name: str, request: ChatRequest) -> Hints:
    in_path = name in ("gemini_generate", "bedrock_converse")
    return Hints(model="m", stream=request.stream) if in_path else Hints()


# -- the neutral, to and from JSON -------------------------------------------------------------------------------------


def shown(value: Any) -> Any:
    """*value* without what is a default and without ``raw``; JSON in bytes opened up."""
    if isinstance(value, msgspec.Struct):
        body: dict[str, Any] = {}
        tag = type(value).__struct_config__.tag
        if isinstance(tag, str):
            body["part"] = tag
        defaults = msgspec.structs.fields(type(value))
        for field in defaults:
            one = getattr(value, field.name)
            if field.name == "raw" or (not field.required and one == _default(field)):
                continue
            body[field.encode_name] = shown(one)
        return body
    if isinstance(value, bytes):
        return _shown_bytes(value)
    if isinstance(value, (list, tuple, frozenset)):
        return [shown(one) for one in value]
    if isinstance(value, dict):
        return {name: shown(one) for name, one in value.items()}
    return value


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None  # type: ignore[operator]


def _shown_bytes(value: bytes) -> Any:
    if value[:1] in (b"{", b"["):
        try:
            return {"json": json.loads(value)}
        except ValueError:
            pass
    return "b:" + value.decode("utf-8", "backslashreplace")


def _opened(value: Any, name: str, vendor: str) -> Any:
    """JSON of a neutral file as builtins with bytes in them."""
    if isinstance(value, dict):
        if set(value) == {"json"}:
            return json.dumps(value["json"], ensure_ascii=False, separators=(",", ":")).encode()
        opened = {name if key == "*" else key: _opened(one, name, vendor) for key, one in value.items()}
        for key, own in (("vendor", vendor), ("dialect", name)):
            if opened.get(key) == "*":
                opened[key] = own
        return opened
    if isinstance(value, list):
        return [_opened(one, name, vendor) for one in value]
    if isinstance(value, str) and value.startswith("b:"):
        return value[2:].encode()
    return value


def request_of(neutral: Any, name: str) -> ChatRequest:
    return msgspec.convert(_opened(neutral, name, VENDORS[name]), ChatRequest, builtin_types=(bytes,))


def answer_of(neutral: Any, name: str) -> ChatAnswer:
    return msgspec.convert(_opened(neutral, name, VENDORS[name]), ChatAnswer, builtin_types=(bytes,))


# -- comparing ---------------------------------------------------------------------------------------------------------


ANYWAY: Final = ("id", "created", "want_usage")
"""Members of a request or an answer that every dialect has its own way with: tested by its own twin."""


def plain(value: Any, name: str) -> Any:
    """*value* as JSON without memories of spelling, this dialect's name and vendor as ``*``."""
    body = _plain(shown(value), name)
    for member in ANYWAY:
        body.pop(member, None)
    if isinstance(value, ChatAnswer):
        body.pop("extra", None)
    return body


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        body = {}
        for key, one in value.items():
            if key == "extra" and isinstance(one, dict) and "members" in one:
                kept = [pair for pair in one["members"] if pair[1] != "b:"]
                if not kept:
                    continue
                one = {**one, "members": kept}
            elif key == "extra" and isinstance(one, dict):
                continue
            if (key == "vendor" and one == VENDORS[name]) or (key == "dialect" and one == name):
                one = "*"
            if key == "arguments" and isinstance(one, str):
                one = _compact(one)
            if key == "origin" and value.get("part") == "tool_call" and "signature" not in value:
                continue  # a call without a seal may go to anyone
            body[key] = _plain(one, name)
        return body
    if isinstance(value, list):
        return [_plain(one, name) for one in value]
    return value


def _compact(text: str) -> str:
    """Arguments as a tree where they are one: targets that want an object may space it anew."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        return text


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Path -> leaf."""
    if isinstance(value, dict) and value:
        found: dict[str, Any] = {}
        for key, one in value.items():
            found |= flat(one, f"{path}.{key}" if path else key)
        return found
    if isinstance(value, list) and value:
        found = {}
        for at, one in enumerate(value):
            found |= flat(one, f"{path}[{at}]")
        return found
    return {path: value}


def differs(read: Any, told: Any) -> dict[str, Any]:
    """Path -> what was read where it is not what was told."""
    there, here = flat(told), flat(read)
    return {path: here.get(path) for path in sorted(there.keys() | here.keys()) if there.get(path) != here.get(path)}


# -- streams -----------------------------------------------------------------------------------------------------------


def woven(answer: ChatAnswer, size: int = 7) -> list[ChatDelta]:
    """*answer* as a stream whose pieces hold at most *size* characters and whose neighbouring calls interleave."""
    parts: dict[tuple[int, int], list[ChatDelta]] = {}
    kinds: dict[tuple[int, int], str] = {}
    out: list[ChatDelta] = []
    run: list[tuple[int, int]] = []

    def flush() -> None:
        queues = [parts[place] for place in run]
        while any(queues):
            out.extend(queue.pop(0) for queue in queues if queue)
        run.clear()

    for delta in deltas_of(answer):
        if isinstance(delta, (Start, Used, End, Stopped)):
            flush()
            out.append(delta)
            continue
        place = (delta.choice, delta.part)
        if place not in parts:
            kinds[place] = delta.kind
            if run and (kinds[run[-1]] != "tool_call" or delta.kind != "tool_call"):
                flush()
            run.append(place)
            parts[place] = []
        if isinstance(delta, Piece):
            text = delta.text
            pieces = [Piece(*place, text[at : at + size]) for at in range(0, len(text), size)]
            parts[place] += [msgspec.structs.replace(pieces[0], logprobs=delta.logprobs), *pieces[1:]]
        else:
            parts[place].append(delta)
    flush()
    return out


def written_stream(dialect: Dialect, asked: ChatRequest, deltas: list[ChatDelta]) -> tuple[bytes, list[str]]:
    writer = dialect.events_writer(asked, "id-1", NOW, dialect.framing)
    wire = b"".join(writer.write(delta) for delta in deltas)
    return wire, list(dict.fromkeys(writer.losses))


def decoded(framing: str, pieces: list[bytes]) -> list[tuple[str, bytes]]:
    decoder = DECODERS[framing]()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def read_stream(
    dialect: Dialect, voice: Voice, events: list[tuple[str, bytes]], aliases: dict[str, str]
) -> list[ChatDelta]:
    """The deltas of *events*, held to the order law."""
    reader = dialect.events_reader(voice, aliases)
    checker = OrderChecker()
    deltas = [delta for event, data in events for delta in reader.feed(event, data)] + reader.close()
    for delta in deltas:
        checker.check(delta)
    assert checker.ended
    return deltas


def assembled(deltas: list[ChatDelta]) -> ChatAnswer:
    assembler = Assembler()
    for delta in deltas:
        assembler.take(delta)
    return assembler.answer()


def event_shown(event: str, data: bytes) -> list[Any]:
    try:
        return [event, json.loads(data)]
    except ValueError:
        return [event, data.decode()]


def event_bytes(shown_event: list[Any]) -> tuple[str, bytes]:
    event, data = shown_event
    return event, data.encode() if isinstance(data, str) else json.dumps(data, ensure_ascii=False).encode()


# -- a golden, said anew -----------------------------------------------------------------------------------------------


def features() -> list[str]:
    return sorted(folder.name for folder in GOLDENS.iterdir() if (folder / "neutral.json").exists())


def neutral_of(feature: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDENS / feature / "neutral.json").read_text("utf-8"))
    return found


def asked_of(neutral: dict[str, Any], name: str, *, stream: bool) -> ChatRequest:
    """The request of a golden, or a plain one where it is about an answer."""
    request = request_of(neutral.get("request", PLAIN), name)
    return msgspec.structs.replace(request, stream=stream, want_usage=stream)


PLAIN: Final = {"model": "m", "messages": [{"role": "user", "parts": [{"part": "text", "text": "Hi."}]}]}


def said(feature: str, name: str, dialect: Dialect) -> dict[str, Any]:
    """What *dialect* makes of *feature* now, in the form of a golden."""
    neutral = neutral_of(feature)
    golden: dict[str, Any] = {}
    voice = voice_of(name)
    if "request" in neutral:
        request = request_of(neutral["request"], name)
        out = dialect.write_request(request, voice)
        golden["request"] = json.loads(out.body)
        golden |= _listed("losses", out.losses)
        golden |= request_differs(dialect, name, neutral, golden)
    if "answer" in neutral:
        answer = answer_of(neutral["answer"], name)
        asked = asked_of(neutral, name, stream=False)
        written = dialect.write_answer(answer, asked, NOW)
        golden["answer"] = json.loads(written.body)
        if written.status != 200:
            golden["answer_status"] = written.status
        golden |= _listed("answer_losses", written.losses)
        golden |= answer_differs(dialect, name, neutral, golden)
        wire, losses = written_stream(dialect, asked_of(neutral, name, stream=True), woven(answer))
        golden["stream"] = [event_shown(*event) for event in decoded(dialect.framing, [wire])]
        golden |= _listed("stream_losses", losses)
        golden |= stream_differs(dialect, name, neutral, golden)
    return golden


def _listed(name: str, losses: Any) -> dict[str, Any]:
    return {name: list(losses)} if losses else {}


def request_differs(dialect: Dialect, name: str, neutral: dict[str, Any], golden: dict[str, Any]) -> dict[str, Any]:
    """What a reader of the golden's request takes for something else than the neutral says."""
    request = request_of(neutral["request"], name)
    body = json.dumps(golden["request"], ensure_ascii=False).encode()
    found = differs(plain(dialect.read_request(body, hints_of(name, request)), name), plain(request, name))
    return {"differs": found} if found else {}


def answer_differs(dialect: Dialect, name: str, neutral: dict[str, Any], golden: dict[str, Any]) -> dict[str, Any]:
    if "answer_status" in golden:
        return {}
    body = json.dumps(golden["answer"], ensure_ascii=False).encode()
    try:
        read = dialect.read_answer(body, voice_of(name), {})
    except Fault as fault:
        return {"answer_fails": fault.code}
    found = differs(plain(read, name), plain(answer_of(neutral["answer"], name), name))
    return {"answer_differs": found} if found else {}


def stream_differs(dialect: Dialect, name: str, neutral: dict[str, Any], golden: dict[str, Any]) -> dict[str, Any]:
    events = [event_bytes(event) for event in golden["stream"]]
    deltas = read_stream(dialect, voice_of(name), events, {})
    failed = [delta.code for delta in deltas if isinstance(delta, Failed)]
    found = differs(plain(assembled(deltas), name), plain(answer_of(neutral["answer"], name), name))
    if failed:
        return {"stream_fails": failed[0]}
    return {"stream_differs": found} if found else {}


def spelled(golden: dict[str, Any]) -> str:
    """A golden file's text."""
    events = golden.get("stream")
    head = json.dumps({key: one for key, one in golden.items() if key != "stream"}, ensure_ascii=False, indent=1)
    if events is None:
        return head + "\n"
    lines = ",\n".join("  " + json.dumps(event, ensure_ascii=False) for event in events)
    return head[: head.rindex("\n}")] + f',\n "stream": [\n{lines}\n ]\n}}\n'


def draft(names: list[str]) -> None:
    """Writes what is missing, for a person to hold against the vendor's documents."""
    dialects_known = known()
    for feature in features():
        for name in names or list(dialects_known):
            path = GOLDENS / feature / f"{name}.json"
            if not path.exists():
                path.write_text(spelled(said(feature, name, dialects_known[name])), "utf-8")
                print(path.relative_to(GOLDENS))


if __name__ == "__main__":
    draft(sys.argv[1:])
