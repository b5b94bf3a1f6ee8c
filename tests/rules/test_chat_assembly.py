from __future__ import annotations

from tidegate.exchange.chat import (
    END,
    PING,
    ChatAnswer,
    ChatDelta,
    Choice,
    Citation,
    Cited,
    Close,
    Extra,
    Image,
    Opaque,
    Open,
    Origin,
    Piece,
    Refusal,
    SealedThought,
    Start,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import check_order

EVERYTHING = ChatAnswer(
    id="a1",
    model="m",
    created=7,
    choices=(
        Choice(
            parts=(
                Thought(text="hm", signature=b"sig", origin=Origin("anthropic")),
                SealedThought(data=b"sealed"),
                Text(text="Hello \U0001f600"),
                Cited(text="so says he", citations=(Citation(url="https://a.example"),)),
                ToolCall(id="c1", name="f", arguments='{"a":1}', signature=b"g"),
                ToolCall(id="c2", name="g", arguments="{}"),
                Image(mime="image/png", data=b"aGk="),
                Opaque(dialect="anthropic_messages", kind="server_tool_use", value=b"{}"),
            ),
            stop="tool_calls",
        ),
        Choice(
            index=1,
            parts=(Refusal(text="no"),),
            stop="stop_sequence",
            stop_sequence="END",
            extra=Extra("anthropic_messages", (("stop_details", b"{}"),)),
        ),
    ),
    usage=Usage(input=3, output=4, tier="priority"),
    tier="priority",
)


def assembled(deltas: list[ChatDelta]) -> ChatAnswer:
    assembler = Assembler()
    for delta in deltas:
        assembler.take(delta)
    return assembler.answer()


def test_an_answer_survives_the_way_through_deltas() -> None:
    deltas = deltas_of(EVERYTHING)
    check_order(deltas)
    assert assembled(deltas) == EVERYTHING


def test_interleaved_parts_grow_apart() -> None:
    answer = assembled(
        [
            Start(id="x"), PING,
            Open(0, 0, "tool_call", ToolCall(id="a", name="f", arguments="")),
            Open(0, 1, "tool_call", ToolCall(id="b", name="g", arguments="")),
            Piece(0, 1, '{"b":'), Piece(0, 0, '{"a":1}'), Piece(0, 1, "2}"),
            Close(0, 1), Close(0, 0), Stopped(0, "tool_calls"),
            Used(Usage(input=5)), Used(Usage(output=2)), END,
        ]
    )  # fmt: skip
    assert answer.choices[0].parts == (
        ToolCall(id="a", name="f", arguments='{"a":1}'),
        ToolCall(id="b", name="g", arguments='{"b":2}'),
    )
    assert answer.usage == Usage(input=5, output=2)


def test_a_call_without_arguments_has_an_empty_object() -> None:
    head = ToolCall(id="a", name="f", arguments="")
    answer = assembled([Start(), Open(0, 0, "tool_call", head), Close(0, 0), Stopped(0, "tool_calls"), END])
    assert answer.choices[0].parts == (ToolCall(id="a", name="f", arguments="{}"),)


def test_a_choice_without_parts_is_a_choice() -> None:
    assert assembled([Start(), Stopped(0, "length"), END]).choices == (Choice(stop="length"),)


def test_log_probabilities_of_pieces_are_those_of_the_choice() -> None:
    assembler = Assembler()
    for delta in (Start(), Open(0, 0, "text", Text(text="")), Piece(0, 0, "a", b'{"content":[1],"refusal":null}'),
                  Piece(0, 0, "b"), Piece(0, 0, "c", b'{"content":[2, 3]}'), Piece(0, 0, "d", b"3")):  # fmt: skip
        assembler.take(delta)
    assert assembler.answer().choices[0].logprobs == b'{"content":[1,2,3],"refusal":null}'


def test_log_probabilities_of_a_choice_come_with_its_first_words() -> None:
    parts = (ToolCall(id="c", name="f"), Text(text="a"), Text(text="b"))
    answer = ChatAnswer(choices=(Choice(parts=parts, logprobs=b'{"content":[1]}'),))
    deltas = deltas_of(answer)
    assert [delta.logprobs for delta in deltas if isinstance(delta, Piece)] == [b"", b'{"content":[1]}', b""]
    assembler = Assembler()
    for delta in deltas:
        assembler.take(delta)
    assert assembler.answer() == answer
