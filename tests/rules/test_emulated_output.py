"""A forced tool stands for structured output (LLM 5.5)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import (
    END,
    ChatAnswer,
    ChatRequest,
    Choice,
    Close,
    Open,
    Output,
    Piece,
    Sign,
    Start,
    Stopped,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
)
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import OrderChecker
from tidegate.rules.emulated_output import (
    EMULATED,
    OUTPUT_TOOL,
    PlainDeltas,
    emulated,
    plain_answer,
    wants_schema,
)

SCHEMA = b'{"type":"object"}'
F = Tool("f")


def asked(*tools: Tool, **members: object) -> ChatRequest:
    return ChatRequest("m", tools=tools, output=Output("schema", "n", SCHEMA, True, "why"), **members)  # type: ignore[arg-type]


def test_a_schema_becomes_one_forced_tool() -> None:
    made = emulated(asked())
    assert made.request == ChatRequest(
        "m", tools=(Tool(OUTPUT_TOOL, "why", SCHEMA, True),), tool_choice=ToolChoice("one", (OUTPUT_TOOL,))
    )
    assert (made.tool, made.losses) == (OUTPUT_TOOL, (EMULATED,))


@pytest.mark.parametrize(
    ("choice", "names", "left"),
    [
        (ToolChoice(), ["f", OUTPUT_TOOL], ToolChoice("required")),
        (ToolChoice("required"), ["f", OUTPUT_TOOL], ToolChoice("required")),
        (ToolChoice("one", ("f",)), ["f", OUTPUT_TOOL], ToolChoice("one", ("f",))),
        (ToolChoice("none"), [OUTPUT_TOOL], ToolChoice("one", (OUTPUT_TOOL,))),
        (ToolChoice("subset", ("f",)), ["f", OUTPUT_TOOL], ToolChoice("subset", ("f", OUTPUT_TOOL), True)),
    ],
)
def test_the_clients_own_tools_stay_beside_it(choice: ToolChoice, names: list[str], left: ToolChoice) -> None:
    made = emulated(asked(F, tool_choice=choice)).request
    assert ([tool.name for tool in made.tools], made.tool_choice) == (names, left)


def test_a_tool_of_the_same_name_is_not_confused_with_it() -> None:
    assert emulated(asked(Tool(OUTPUT_TOOL))).tool == OUTPUT_TOOL + "_"


def test_nobody_thinks_where_a_tool_is_forced() -> None:
    made = emulated(asked(thinking=Thinking("on", "low")))
    assert (made.request.thinking, made.losses) == (Thinking("off"), (EMULATED, "thinking"))


def test_what_else_the_output_says_stays() -> None:
    made = emulated(ChatRequest("m", output=Output("schema", "n", SCHEMA, modalities=("text", "audio"))))
    assert made.request.output == Output(modalities=("text", "audio"))


def test_only_a_schema_is_emulated() -> None:
    assert wants_schema(asked())
    assert not wants_schema(ChatRequest("m", output=Output("json"))) and not wants_schema(ChatRequest("m"))


OTHER = ToolCall(id="d", name="f")


@pytest.mark.parametrize(("others", "stop"), [((), "stop"), ((OTHER,), "tool_calls")])
def test_the_call_is_told_as_text_whole_or_streamed(others: tuple[ToolCall, ...], stop: str) -> None:
    call = ToolCall(id="c", name=OUTPUT_TOOL, arguments='{"a":1}', signature=b"s")
    answer = ChatAnswer("i", "m", 1, (Choice(0, (call, *others), "tool_calls"),))
    plain = ChatAnswer("i", "m", 1, (Choice(0, (Text(text='{"a":1}'), *others), stop),))  # type: ignore[arg-type]
    assert plain_answer(answer, OUTPUT_TOOL) == plain
    deltas, checker, assembler = PlainDeltas(OUTPUT_TOOL), OrderChecker(), Assembler()
    for delta in deltas_of(answer):
        told = deltas.plain(delta)
        if told is not None:
            checker.check(told)
            assembler.take(told)
    assert assembler.answer() == plain


def test_a_stream_is_changed_event_by_event() -> None:
    deltas = PlainDeltas("t")
    told = [Start("i"), Open(0, 0, "tool_call", ToolCall(id="c", name="t")), Piece(0, 0, "{"), Sign(0, 0, b"s"),
            Close(0, 0), Stopped(0, "tool_calls"), END]  # fmt: skip
    assert [deltas.plain(delta) for delta in told] == [
        Start("i"), Open(0, 0, "text", Text(text="")), Piece(0, 0, "{"), None, Close(0, 0), Stopped(0, "stop"), END,
    ]  # fmt: skip
    assert deltas.plain(Stopped(1, "length")) == Stopped(1, "length")
