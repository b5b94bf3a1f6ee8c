from typing import Any

import pytest

from tidegate.exchange.fault import Fault
from tidegate.rules.body_counts import MESSAGES, PARTS, TOOLS, WORDS, check_counts

TURN = {"role": "user", "content": "hi"}
TEXT = {"type": "text", "text": "x"}


def reason_of(members: dict[str, Any]) -> str:
    with pytest.raises(Fault) as caught:
        check_counts(members)
    assert (caught.value.code, caught.value.status, caught.value.side) == ("invalid_request", 400, "client")
    return caught.value.reason


@pytest.mark.parametrize("name", ["messages", "contents"])
def test_a_conversation_of_2048_turns_is_served_and_one_more_is_not(name: str) -> None:
    check_counts({name: [TURN] * MESSAGES})
    assert reason_of({name: [TURN] * (MESSAGES + 1)}) == "too_many_messages"


@pytest.mark.parametrize(
    "members",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}] * (TOOLS + 1)},
        {"functions": [{"name": "f"}] * (TOOLS + 1)},
        {"tools": [{"functionDeclarations": [{"name": "f"}] * TOOLS}] * 2},
        {"tools": [{"function_declarations": [{"name": "f"}] * (TOOLS + 1)}]},
        {"toolConfig": {"tools": [{"toolSpec": {"name": "f"}}] * (TOOLS + 1)}},
        {"tools": [{"type": "namespace", "tools": [{"name": "f"}] * TOOLS}]},
    ],
)
def test_tools_are_counted_wherever_a_dialect_has_them(members: dict[str, Any]) -> None:
    assert reason_of(members) == "too_many_tools"


@pytest.mark.parametrize(
    "members",
    [
        {"messages": [{"role": "user", "content": [TEXT] * (PARTS + 1)}]},
        {"messages": [{"role": "user", "content": [TEXT] * (PARTS // 2 + 1)}] * 2},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}] * (PARTS + 1)}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [TEXT] * PARTS}]}]},
        {"messages": [{"role": "user", "content": [{"toolResult": {"content": [{"text": "x"}] * PARTS}}]}]},
        {"messages": [{"role": "user", "images": ["aGk="] * (PARTS + 1)}]},
        {"contents": [{"parts": [{"text": "x"}] * (PARTS + 1)}]},
        {"contents": {"parts": [{"text": "x"}] * (PARTS + 1)}, "systemInstruction": {"parts": [{"text": "x"}]}},
        {"systemInstruction": {"parts": [{"text": "x"}] * (PARTS + 1)}},
        {"system": [TEXT] * (PARTS + 1)},
        {"input": [TURN] * (PARTS + 1)},
        {"input": [{"type": "message", "content": [TEXT] * 4}] * (PARTS // 4)},
        {"input": [{"type": "function_call_output", "output": [TEXT] * PARTS}]},
        {"messages": [{"content": [{"type": "text", "text": "x", "citations": [{}] * PARTS}]}]},
    ],
)
def test_parts_are_counted_over_all_turns_and_inside_results(members: dict[str, Any]) -> None:
    assert reason_of(members) == "too_many_parts"


@pytest.mark.parametrize(
    "members",
    [
        {"stop": ["x"] * (WORDS + 1)},
        {"generationConfig": {"stopSequences": ["x"] * (WORDS + 1)}},
        {"inferenceConfig": {"stopSequences": ["x"] * (WORDS + 1)}},
        {"options": {"stop": ["x"] * (WORDS + 1)}},
        {"prompt": ["x"] * (WORDS + 1)},
        {"documents": ["x"] * WORDS, "stop": ["x"]},
    ],
)
def test_stop_words_and_prompts_are_counted(members: dict[str, Any]) -> None:
    assert reason_of(members) == "too_many_words"


def test_a_clients_own_json_is_not_counted_whatever_its_names() -> None:
    rows = [{"content": [TEXT] * PARTS}] * 10
    check_counts({
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"parts": rows}}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c", "input": {"content": rows}}}]},
        ],
        "contents": [
            {"parts": [{"functionCall": {"args": {"tools": rows}}}, {"functionResponse": {"response": rows}}]},
        ],
        "tools": [{"name": "f", "input_schema": {"documents": rows * 1000, "content": rows * 1000}}],
        "metadata": {"tools": rows * 1000},
        "prompt": [7] * 100_000,
        "input": [7] * 100_000,
        "allowed_token_ids": [7] * 100_000,
    })  # fmt: skip
