"""Messages, options and counts of Ollama's API, both ways (LLM 5.1-5.6, 5.8, 5.9). Pure: bytes and values.

Ollama's calls have no ids, or only newer ones: where there is none it is minted from the place of the call, and results
find their calls by name and order (LLM 5.4).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from tidegate.exchange.chat import (
    ChatRequest,
    Cited,
    Extra,
    Image,
    Message,
    Opaque,
    Origin,
    Output,
    Part,
    Raw,
    Refusal,
    Role,
    Sampling,
    SealedThought,
    Stop,
    Text,
    Thinking,
    Thought,
    ToolCall,
    ToolResult,
    Usage,
)
from tidegate.rules.content_blocks import arguments_object, take_string
from tidegate.rules.losses import Losses
from tidegate.rules.thinking_budget import effort_of
from tidegate.rules.tool_ids import minted_id
from tidegate.wire.chat_parts import as_text
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    count,
    encode,
    flag,
    integer,
    is_object,
    is_string,
    items,
    members,
    number,
    raw_of,
    string,
    strings,
)

NAME: Final = "ollama_chat"
OWN: Final = "ollama"
SAYS: Final = frozenset((
    "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs",
    "max_output", "stop",
))  # fmt: skip
"""What of the shared words this dialect can say."""

_ROLES: Final[dict[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_LEVELS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_MAGIC: Final = (
    ("iVBORw0KGg", "image/png"), ("/9j/", "image/jpeg"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"),
)  # fmt: skip
"""How the base64 of an image begins -> its type."""
STOP_WORDS: Final[dict[Stop, str]] = {"length": "length", "context_length": "length"}
"""Stop -> ``done_reason``; ``stop`` for all others."""


def extra_of(rest: dict[str, bytes]) -> Extra | None:
    """What nobody took out of *rest*, in order."""
    return Extra(NAME, tuple(rest.items())) if rest else None


# -- turns, read -------------------------------------------------------------------------------------------------------


def read_turns(raws: list[bytes]) -> tuple[Message, ...]:
    """The messages of a client."""
    waiting: list[ToolCall] = []
    return tuple([_read_turn(raw, at, waiting) for at, raw in enumerate(raws)])


def _read_turn(raw: bytes, at: int, waiting: list[ToolCall]) -> Message:
    """One turn. *waiting*: calls that have no result yet."""
    path = f"messages[{at}]"
    found = members(raw, path)
    role = _ROLES.get(take_string(found, "role", path))
    if role is None:
        raise WrongShape(f"{path}.role", "system, user, assistant or tool")
    if role == "assistant":
        parts = answer_parts(found, path, path, "", {})
        waiting += [part for part in parts if isinstance(part, ToolCall)]
        return Message(role, parts, extra=extra_of(found), raw=raw)
    parts = (*_content(found, path), *_images(found, path))
    if role == "tool":
        name = take_string(found, "tool_name", path)
        id = take_string(found, "tool_call_id", path) or _call_of(name, waiting, path)
        waiting[:] = [call for call in waiting if call.id != id]
        parts = (ToolResult(call_id=id, name=name, parts=parts),)
    return Message(role, parts, extra=extra_of(found), raw=raw)


def _call_of(name: str, waiting: list[ToolCall], path: str) -> str:
    """The id of the call that a result without one answers."""
    for call in waiting:
        if call.name == name:
            return call.id
    return waiting[0].id if waiting else minted_id(path, 0)


def _content(found: dict[str, bytes], path: str) -> tuple[Part, ...]:
    text = take_string(found, "content", path)
    return (Text(text=text),) if text else ()


def _images(found: dict[str, bytes], path: str) -> tuple[Part, ...]:
    value = found.pop("images", NULL)
    if value == NULL:
        return ()
    return tuple([read_image(data) for data in strings(value, f"{path}.images")])


def read_image(data: str) -> Image:
    """An image as base64, which does not say what it is: its first bytes do."""
    mime = next((mime for begin, mime in _MAGIC if data.startswith(begin)), "")
    return Image(mime=mime, data=data.encode())


def answer_parts(
    found: dict[str, bytes], path: str, seed: str, vendor: str, aliases: dict[str, str]
) -> tuple[Part, ...]:
    """The parts of an assistant's message, whose members are taken out of *found*. *seed*: tells its turn from others;
    *vendor*: who answers, "" when a client tells its history."""
    parts: list[Part] = []
    thinking = take_string(found, "thinking", path)
    if thinking:
        parts.append(Thought(text=thinking, origin=Origin(vendor) if vendor else None))
    parts += _content(found, path)
    parts += _images(found, path)
    calls = found.pop("tool_calls", NULL)
    for number_, raw in enumerate(items(calls, f"{path}.tool_calls") if calls != NULL else []):
        parts.append(read_call(raw, f"{path}.tool_calls[{number_}]", seed, number_, aliases))
    return tuple(parts)


def read_call(raw: bytes, path: str, seed: str, position: int, aliases: dict[str, str]) -> ToolCall:
    """One call; its id is minted from *seed* and *position* when it has none."""
    found = members(raw, path)
    inner = members(found.pop("function", b""), f"{path}.function")
    name = take_string(inner, "name", f"{path}.function")
    arguments = as_text(inner.pop("arguments", NULL)) or "{}"
    rest = {f"function.{name}": value for name, value in inner.items()}
    id = take_string(found, "id", path) or minted_id(seed, position)
    rest.update(found)
    return ToolCall(id=id, name=aliases.get(name, name), arguments=arguments, extra=extra_of(rest))


# -- turns, written ----------------------------------------------------------------------------------------------------


class OllamaTurns:
    """Writes turns. *vendor*: the target's, whose thoughts alone may be sent; None towards a client, whose SDK refuses
    images in an answer. *lacks*: parts the target does not take."""

    __slots__ = ("_accepts", "_called", "_lacks", "_losses", "_minted", "_vendor")

    def __init__(self, vendor: str | None, accepts: frozenset[str], lacks: frozenset[str], losses: Losses) -> None:
        self._vendor = vendor
        self._accepts = accepts
        self._lacks = lacks
        self._losses = losses
        self._called: dict[str, str] = {}
        self._minted: set[str] = set()

    def turn(self, message: Message, at: int, into: list[object]) -> None:
        """Adds the messages that say *message*, number *at*: each tool's result is one of its own."""
        path = f"messages[{at}]"
        if message.name:
            self._losses.lose(f"{path}.name")
        rest: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                into.append(self._result(part, message, path))
            else:
                rest.append(part)
        if rest or (message.role != "tool" and not message.parts):
            role = "user" if message.role == "tool" else message.role
            said = {"role": role, **self.content(tuple(rest), path, path)}
            self._losses.extras(said, message.extra, NAME, self._accepts, path)
            into.append(said)

    def content(self, parts: tuple[Part, ...], path: str, seed: str) -> dict[str, object]:
        """``content``, ``thinking``, ``images`` and ``tool_calls`` that say *parts*. Ids that *seed* mints are left
        out: who reads it mints them again."""
        texts: list[str] = []
        thoughts: list[str] = []
        images: list[str] = []
        calls: list[object] = []
        for part in parts:
            if isinstance(part, Text | Cited | Refusal):
                texts.append(part.text)
                if isinstance(part, Cited):
                    self._losses.lose(f"{path}.citations")
                self._losses.extras({}, part.extra, "", self._accepts, path)
            elif isinstance(part, Thought):
                if self._vendor is not None and part.origin is not None and part.origin.vendor != self._vendor:
                    self._losses.lose(f"{path}.thinking")
                    continue
                if part.signature:
                    self._losses.lose(f"{path}.thinking.signature")
                thoughts.append(part.text)
            elif isinstance(part, SealedThought):
                self._losses.lose(f"{path}.thinking")
            elif isinstance(part, ToolCall):
                calls.append(self.call(part, path, seed, len(calls)))
            elif isinstance(part, Image) and part.data and self._vendor is not None and "image" not in self._lacks:
                images.append(part.data.decode("latin-1"))
            elif isinstance(part, Image) and part.url:
                self._losses.lose(f"{path}.image_url")
            else:
                kind = part.kind if isinstance(part, Opaque) else type(part).__name__.lower()
                self._losses.lose(f"{path}.{kind}")
        said: dict[str, object] = {"content": "\n".join(texts)}
        if thoughts:
            said["thinking"] = "".join(thoughts)
        if images:
            said["images"] = images
        if calls:
            said["tool_calls"] = calls
        return said

    def call(self, part: ToolCall, path: str, seed: str, position: int) -> object:
        """A call; arguments are an object here."""
        arguments = None if part.custom else arguments_object(part.arguments)
        given: object = raw_of(arguments) if arguments is not None else {"_raw": part.arguments}
        if arguments is None:
            self._losses.lose(f"{path}.arguments")
        if part.signature:
            self._losses.lose(f"{path}.thinking.signature")
        self._called[part.id] = part.name
        inner: dict[str, object] = {"name": part.name, "arguments": given}
        said: dict[str, object] = {}
        if part.id == minted_id(seed, position):
            self._minted.add(part.id)
        else:
            said["id"] = part.id
        said["function"] = inner
        if part.extra is not None:
            for name, value in part.extra.members:
                one = Extra(part.extra.dialect, ((name.removeprefix("function."), value),))
                into = inner if name.startswith("function.") else said
                self._losses.extras(into, one, NAME, self._accepts, path)
        return said

    def _result(self, part: ToolResult, message: Message, path: str) -> object:
        if part.is_error:
            self._losses.lose(f"{path}.is_error")
        said: dict[str, object] = {"role": "tool", **self.content(part.parts, path, path)}
        name = part.name or self._called.get(part.call_id, "")
        if name:
            said["tool_name"] = name
        if part.call_id not in self._minted and part.call_id != minted_id(path, 0):
            said["tool_call_id"] = part.call_id
        self._losses.extras(said, message.extra, NAME, self._accepts, path)
        return said


# -- what stands around the messages -----------------------------------------------------------------------------------


def read_sampling(found: dict[str, bytes], rest: dict[str, bytes]) -> tuple[Sampling, int | None, tuple[str, ...]]:
    """``options`` with the members beside it: sampling, bound of the answer, stop texts. Unknown options go to *rest*
    as ``options.<name>``."""
    value = found.pop("options", NULL)
    told = {} if value == NULL else members(value, "options")
    told = {name: option for name, option in told.items() if option != NULL}

    def real(name: str) -> float | None:
        return number(told.pop(name), f"options.{name}") if name in told else None

    def whole(name: str) -> int | None:
        return integer(told.pop(name), f"options.{name}") if name in told else None

    limit = integer(told["num_predict"], "options.num_predict") if "num_predict" in told else -1
    if limit >= 0:
        del told["num_predict"]
    stop = told.pop("stop", b"[]")
    texts = (string(stop),) if is_string(stop) else tuple(strings(stop, "options.stop"))
    logprobs = found.pop("logprobs", None)
    top_logprobs = found.pop("top_logprobs", None)
    sampling = Sampling(
        temperature=real("temperature"), top_p=real("top_p"), top_k=whole("top_k"), seed=whole("seed"),
        frequency_penalty=real("frequency_penalty"), presence_penalty=real("presence_penalty"),
        logprobs=None if logprobs is None else flag(logprobs, "logprobs"),
        top_logprobs=-1 if top_logprobs is None else integer(top_logprobs, "top_logprobs"),
    )  # fmt: skip
    rest.update({f"options.{name}": option for name, option in told.items()})
    return sampling, limit if limit >= 0 else None, texts


def write_sampling(request: ChatRequest, lacks: frozenset[str], body: dict[str, object]) -> None:
    """Puts ``options`` and the members beside it into *body*."""
    sampling = request.sampling
    options: dict[str, object] = {}
    for feature, name, value in (
        ("max_output", "num_predict", request.max_output), ("temperature", "temperature", sampling.temperature),
        ("top_p", "top_p", sampling.top_p), ("top_k", "top_k", sampling.top_k), ("seed", "seed", sampling.seed),
        ("frequency_penalty", "frequency_penalty", sampling.frequency_penalty),
        ("presence_penalty", "presence_penalty", sampling.presence_penalty), ("stop", "stop", request.stop or None),
    ):  # fmt: skip
        if value is not None and feature not in lacks:
            options[name] = value
    if request.extra is not None and request.extra.dialect == NAME:
        for name, raw in request.extra.members:
            if name.startswith("options."):
                options.setdefault(name[8:], raw_of(raw))
    if options:
        body["options"] = options
    if sampling.logprobs is not None and "logprobs" not in lacks:
        body["logprobs"] = sampling.logprobs
    if sampling.top_logprobs >= 0 and "top_logprobs" not in lacks:
        body["top_logprobs"] = sampling.top_logprobs


def read_format(found: dict[str, bytes]) -> Output | None:
    """``format``: ``"json"`` or a schema."""
    value = found.pop("format", b'""')
    if value == b'""':
        return None
    if is_object(value):
        return Output("schema", schema=value)
    if string(value, "format") == "json":
        return Output("json")
    raise WrongShape("format", "json or a schema")


def write_format(output: Output | None, lacks: frozenset[str], losses: Losses, body: dict[str, object]) -> None:
    if output is None or output.kind == "text":
        return
    if output.description:
        losses.lose("output.description")
    if output.kind == "schema" and "output.schema" not in lacks:
        body["format"] = raw_of(output.schema or b'{"type":"object"}')
        return
    if output.kind == "schema":
        losses.lose("output.schema")
    if "output.json" not in lacks:
        body["format"] = "json"
    elif output.kind == "json":
        losses.lose("output.json")


def read_think(found: dict[str, bytes]) -> Thinking | None:
    """``think``: true, false or a level."""
    value = found.pop("think", None)
    if value is None:
        return None
    if is_string(value):
        return Thinking("on", string(value), extra=Extra(NAME))
    return Thinking("on" if flag(value, "think") else "off", extra=Extra(NAME))


def write_think(
    thinking: Thinking | None, style: str, lacks: frozenset[str], losses: Losses, body: dict[str, object]
) -> None:
    """*style* ``level``: the model knows levels; others think or do not."""
    if thinking is None:
        return
    if "thinking" in lacks:
        losses.lose("thinking")
        return
    own = thinking.extra is not None and thinking.extra.dialect == NAME
    effort = thinking.effort
    if thinking.show and thinking.show != "full":
        losses.lose("thinking.show")
    if thinking.mode == "off":
        body["think"] = False
    elif own:
        body["think"] = effort or True
    else:
        if not effort and thinking.budget > 0:
            effort = effort_of(thinking.budget)
            losses.lose("thinking.budget")
        level = _LEVELS.get(effort, "")
        if effort and (level != effort or style != "level"):
            losses.lose("thinking.effort")
        body["think"] = level if level and style == "level" else True


def read_usage(found: dict[str, Raw], renamed: dict[str, str]) -> Usage | None:
    """The counts of a whole answer or of a stream's last object; None when there are none (rule 8)."""
    if "prompt_eval_count" not in found and "eval_count" not in found:
        return None
    usage = Usage(input=count(found.get("prompt_eval_count")), output=count(found.get("eval_count")))
    if renamed:
        told: dict[str, int] = {field: count(found[name]) for name, field in renamed.items() if name in found}
        usage = replace(usage, **told)
    return usage


def usage_members(usage: Usage | None) -> dict[str, object]:
    """The counts for a client."""
    if usage is None:
        return {}
    return {"prompt_eval_count": usage.input, "eval_count": usage.output}


def read_stop(word: str, calls: bool) -> tuple[Stop, Extra | None]:
    """``done_reason``, and the word itself when it is another than ``stop`` and ``length``. Calls decide."""
    extra = Extra(NAME, (("done_reason", encode(word)),)) if word not in ("", "stop", "length") else None
    if word == "length":
        return "length", extra
    return "tool_calls" if calls else "stop", extra


def read_moment(text: str) -> int:
    """Seconds since the epoch of ``created_at``; 0 for none that can be read. Finer digits than ours are cut."""
    head, dot, tail = text.partition(".")
    if dot:
        zone = next((at for at, letter in enumerate(tail) if not letter.isdigit()), len(tail))
        text = head + tail[zone:]
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return 0


def moment(seconds: int) -> str:
    """``created_at`` of a moment."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
