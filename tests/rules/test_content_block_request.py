"""A request in Anthropic's words as a neutral one. Both ways and whole: tests/dialects/test_anthropic_messages."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import Extra, Message, Output, Sampling, Text, Thinking, Tool, ToolChoice, ToolResult
from tidegate.rules.content_block_request import read_request
from tidegate.rules.content_blocks import NAME
from tidegate.wire.json_object import WrongShape


def test_the_path_may_name_the_model_and_only_the_vendors_fields_are_kept() -> None:
    request = read_request(b'{"model":"body"}', "path", {"anthropic-beta": "b", "authorization": "x"})
    assert (request.model, request.fields, request.extra) == ("path", {"anthropic-beta": "b"}, None)
    assert read_request(b'{"model":"body"}', "", {}).model == "body"


def test_a_body_to_count_needs_no_maximum() -> None:
    request = read_request(b'{"model":"m","messages":[{"role":"user","content":"a"}]}', "", {})
    assert request.max_output is None
    assert request.messages[0].parts == (Text(text="a"),)


def test_results_anywhere_in_a_turn_become_a_turn_in_front() -> None:
    content = b'[{"type":"text","text":"x"},{"type":"tool_result","tool_use_id":"a"}]'
    request = read_request(b'{"messages":[{"role":"user","content":%b,"y":1}]}' % content, "m", {})
    tool, user = request.messages
    assert (tool.role, type(tool.parts[0]), tool.extra) == ("tool", ToolResult, None)
    assert (user.role, user.extra, user.raw) == ("user", Extra(NAME, (("y", b"1"),)), b"")
    only = read_request(b'{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}]}', "m", {})
    assert [message.role for message in only.messages] == ["tool"]


def test_output_config_of_unknown_shape_is_kept() -> None:
    request = read_request(b'{"output_config":{"format":{"type":"json_schema","schema":{},"x":1},"z":2}}', "m", {})
    assert request.output is None
    assert request.extra == Extra(NAME, (
        ("output_config.format", b'{"type":"json_schema","schema":{},"x":1}'), ("output_config.z", b"2"),
    ))  # fmt: skip
    known = read_request(b'{"output_config":{"format":{"type":"json_schema","schema":{}}}}', "m", {})
    assert known.output == Output("schema", schema=b"{}")


def test_numbers_in_their_forms() -> None:
    request = read_request(b'{"temperature":1,"top_k":3.0,"max_tokens":1e3}', "m", {})
    assert (request.sampling, request.max_output) == (Sampling(temperature=1.0, top_k=3), 1000)
    with pytest.raises(WrongShape, match="top_k must be a whole number"):
        read_request(b'{"top_k":1.5}', "m", {})


def test_tools_and_choice() -> None:
    request = read_request(b'{"tools":[{"name":"f"},{"type":"bash_20250124","name":"bash"}],'
                           b'"tool_choice":{"type":"auto","disable_parallel_tool_use":false}}', "m", {})  # fmt: skip
    assert request.tools == (
        Tool("f"), Tool("bash", kind="server", dialect=NAME, value=b'{"type":"bash_20250124","name":"bash"}'),
    )  # fmt: skip
    assert (request.tool_choice, request.parallel_tools) == (ToolChoice(), True)


def test_an_enabled_thought_without_a_budget_keeps_its_word() -> None:
    request = read_request(b'{"thinking":{"type":"enabled","display":"odd"}}', "m", {})
    assert request.thinking == Thinking(
        "on", extra=Extra(NAME, (("display", b'"odd"'), ("type", b'"enabled"')))
    )  # fmt: skip


@pytest.mark.parametrize("role", ["assistant", "system", "user"])
def test_roles(role: str) -> None:
    request = read_request(b'{"messages":[{"role":"%b","content":"a"}]}' % role.encode(), "m", {})
    message = request.messages[0]
    assert isinstance(message, Message)
    assert message.role == role
