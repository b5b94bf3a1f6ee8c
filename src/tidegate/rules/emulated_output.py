"""Structured output of a target that has none (LLM 5.5): one forced tool whose arguments are the text. Once for every
dialect: the conversation is changed before it is written, and the answer after it is read.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tidegate.exchange.chat import (
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    Choice,
    Open,
    Part,
    Sign,
    Stopped,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
)

OUTPUT_TOOL: Final = "structured_output"
EMULATED: Final = "output.emulated"
"""How the record and the client hear of it."""


class Emulated(msgspec.Struct, frozen=True):
    """What is asked instead. ``tool``: the name of the tool that stands for the output."""

    request: ChatRequest
    tool: str
    losses: tuple[str, ...]


def wants_schema(request: ChatRequest) -> bool:
    return request.output is not None and request.output.kind == "schema"


def emulated(request: ChatRequest) -> Emulated:
    """*request*, which wants a schema, without that wish and with the tool. Tools of the client stay beside it, and one
    of all must be called; a tool that the client forces goes first, and none of its own may be called where it says so.
    Vendors do not think where a tool is forced."""
    output = request.output
    assert output is not None
    names = [tool.name for tool in request.tools]
    name = OUTPUT_TOOL
    while name in names:
        name += "_"
    tool = Tool(name, output.description, output.schema, output.strict)
    losses = [EMULATED]
    chosen = request.tool_choice
    tools = request.tools
    if chosen.mode == "none":
        tools = ()
    if chosen.mode == "subset":
        chosen = ToolChoice("subset", (*chosen.names, name), True)
    elif chosen.mode != "one" or not tools:
        chosen = ToolChoice("required") if tools else ToolChoice("one", (name,))
    thinking = request.thinking
    if thinking is not None and thinking.mode != "off":
        thinking = Thinking("off")
        losses.append("thinking")
    rest = msgspec.structs.replace(output, kind="text", schema=b"", name="", strict=None, description="")
    changed = msgspec.structs.replace(
        request, tools=(*tools, tool), tool_choice=chosen, thinking=thinking,
        output=rest if rest.modalities or rest.audio else None,
    )  # fmt: skip
    return Emulated(changed, name, tuple(losses))


def plain_answer(answer: ChatAnswer, tool: str) -> ChatAnswer:
    """*answer* with the call of *tool* as the text that it stands for."""
    return msgspec.structs.replace(answer, choices=tuple([_plain_choice(choice, tool) for choice in answer.choices]))


class PlainDeltas:
    """The same of a stream. Holds which choices call other tools."""

    __slots__ = ("calling", "texts", "tool")

    def __init__(self, tool: str) -> None:
        self.tool = tool
        self.texts: set[tuple[int, int]] = set()
        self.calling: set[int] = set()

    def plain(self, delta: ChatDelta) -> ChatDelta | None:
        """*delta* as the client shall hear it; None when there is nothing to hear."""
        if isinstance(delta, Open) and isinstance(delta.head, ToolCall):
            if delta.head.name != self.tool:
                self.calling.add(delta.choice)
                return delta
            self.texts.add((delta.choice, delta.part))
            return Open(delta.choice, delta.part, "text", Text(text=""))
        if isinstance(delta, Sign) and (delta.choice, delta.part) in self.texts:
            return None
        if isinstance(delta, Stopped) and delta.stop == "tool_calls" and delta.choice not in self.calling:
            return msgspec.structs.replace(delta, stop="stop")
        return delta


def _plain_choice(choice: Choice, tool: str) -> Choice:
    parts: list[Part] = []
    calls = False
    for part in choice.parts:
        if isinstance(part, ToolCall) and part.name == tool:
            parts.append(Text(text=part.arguments))
            continue
        calls = calls or isinstance(part, ToolCall)
        parts.append(part)
    stop = "stop" if choice.stop == "tool_calls" and not calls else choice.stop
    return msgspec.structs.replace(choice, parts=tuple(parts), stop=stop)
