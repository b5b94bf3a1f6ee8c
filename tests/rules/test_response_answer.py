"""A whole response. The tables are in ``tests/dialects/test_openai_responses.py``."""

from __future__ import annotations

import json

import pytest

from tidegate.exchange.chat import (
    ChatRequest,
    Image,
    Message,
    Origin,
    Output,
    Part,
    SealedThought,
    Stop,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolChoice,
    Usage,
)
from tidegate.exchange.fault import Fault
from tidegate.rules.response_answer import (
    as_it_is,
    check_failed,
    event_usage,
    finish,
    output_items,
    own_id,
    response_object,
    response_usage,
    stop_of,
)
from tidegate.wire.json_object import encode
from tidegate.wire.response_item_writer import INSTRUCTIONS


def test_ids_are_kept_or_made_of_others_the_same_each_time() -> None:
    assert own_id("fc", "fc_1") == "fc_1" and as_it_is("x") == "x"
    assert own_id("fc", "toolu_1") == own_id("fc", "toolu_1") != own_id("fc", "toolu_2")
    assert own_id("fc", "toolu_1").startswith("fc_") and "toolu" not in own_id("fc", "toolu_1")


def test_a_response_says_back_what_was_asked() -> None:
    asked = ChatRequest(
        "m",
        (Message("system", (Text(text="be"),), extra=INSTRUCTIONS),),
        tools=(
            Tool(name="f", schema=b'{"a":1}'),
            Tool(name="x", kind="server", dialect="gemini_generate", value=b"{}"),
        ),
        tool_choice=ToolChoice("subset", ("f",), True),
        output=Output("schema", "n", b"{}", True),
        thinking=Thinking(effort="low"),
        max_output=5,
        metadata=b'{"k":"v"}',
    )
    body = json.loads(encode(response_object(asked, "resp_1", 3, "", {"x": b"1.50"})))
    assert body["instructions"] == "be" and body["model"] == "m" and body["x"] == 1.5
    assert body["tools"] == [
        {"type": "function", "name": "f", "description": None, "parameters": {"a": 1}, "strict": None}
    ]
    assert body["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "f"}],
    }
    assert body["text"]["format"] == {"type": "json_schema", "name": "n", "schema": {}, "strict": True}
    assert (body["reasoning"]["effort"], body["max_output_tokens"], body["metadata"]) == ("low", 5, {"k": "v"})
    assert (body["status"], body["output"]) == ("in_progress", [])


@pytest.mark.parametrize(
    ("stop", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("pause", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("context_length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_how_it_ended_5_8(stop: Stop, status: str, reason: str | None) -> None:
    body = response_object(ChatRequest("m"), "r", 0, "", {})
    assert finish(body, [], stop, Usage(input=1, tier="standard"), "") == status
    assert (body["incomplete_details"] or {}).get("reason") == reason
    assert body["service_tier"] == "default"


def test_thoughts_with_one_id_are_one_item() -> None:
    parts: tuple[Part, ...] = (
        Thought(text="a", summary=True, id="rs_1"),
        Thought(text="b", summary=True, id="rs_1"),
        SealedThought(data=b"z", origin=Origin("openai"), id="rs_1"),
        Thought(text="c"),
        Thought(text="d"),
        Image(url="u"),
    )
    losses: list[str] = []
    items = output_items(parts, "seed", losses)
    assert [len(item["summary"]) for item in items] == [2, 0, 0]
    assert items[0]["encrypted_content"] == "z" and losses == ["image"]
    assert len({item["id"] for item in items}) == 3


def test_failures_are_faults() -> None:
    check_failed({"status": b'"completed"', "error": b"null"})
    for error, code in (
        (b'{"code":"server_error"}', "bad_upstream"),
        (b'{"code":"invalid_prompt"}', "invalid_request"),
    ):
        with pytest.raises(Fault) as caught:
            check_failed({"error": error})
        assert caught.value.code == code
    assert stop_of({"status": b'"incomplete"'}, []) == "length"


def test_usage_alone() -> None:
    usage = b'{"input_tokens":1,"output_tokens":2}'
    assert response_usage(b'{"usage":' + usage + b"}", {}) == Usage(input=1, output=2)
    assert event_usage(b'{"response":{"usage":' + usage + b',"service_tier":"flex"}}', {}) == Usage(
        input=1, output=2, tier="flex"
    )
    assert [event_usage(raw, {}) for raw in (b"", b"{}", b'{"response":{"usage":null}}')] == [None] * 3
