"""Corners of a Converse request; whole ones are in ``tests/dialects/test_bedrock_converse.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import ChatRequest, Extra, Thinking, Tool
from tidegate.rules.converse_request import read_converse_request
from tidegate.wire.json_object import WrongShape

NAME = "bedrock_converse"


def read(body: dict[str, Any], model: str = "m") -> ChatRequest:
    return read_converse_request(json.dumps(body).encode(), model, False)


def test_the_model_of_the_path_goes_before_one_in_the_body() -> None:
    assert read({"modelId": "other"}).model == "m"
    assert read({"modelId": "other"}, "").model == "other"
    assert read({"modelId": "other"}).extra is None


def test_a_tier_or_a_thinking_of_unknown_words_stays_as_it_is() -> None:
    assert read({"serviceTier": {"type": "odd"}}).extra == Extra(NAME, (("serviceTier", b'{"type": "odd"}'),))
    request = read({"additionalModelRequestFields": {"thinking": True}})
    assert (request.thinking, request.extra) == (
        None, Extra(NAME, (("additionalModelRequestFields.thinking", b"true"),)),
    )  # fmt: skip
    request = read({"additionalModelRequestFields": {"thinking": {"type": "between_tools"}}})
    assert request.thinking == Thinking("on", extra=Extra(NAME, (("type", b'"between_tools"'),)))


def test_an_end_user_alone_leaves_no_metadata() -> None:
    request = read({"requestMetadata": {"user": "u"}})
    assert (request.user, request.metadata) == ("u", b"")
    assert read({"requestMetadata": {"a": "b"}}).metadata == b'{"a": "b"}'


def test_tools_nobody_knows_are_the_vendors() -> None:
    tools = read({"toolConfig": {"tools": [{"cachePoint": {"type": "default"}}, {"odd": {}}]}}).tools
    assert tools == (
        Tool("cachePoint", kind="server", dialect=NAME, value=b'{"cachePoint": {"type": "default"}}'),
        Tool("odd", kind="server", dialect=NAME, value=b'{"odd": {}}'),
    )


@pytest.mark.parametrize("body", [{"messages": {}}, {"system": "text"}, {"requestMetadata": []}, {"toolConfig": 1}])
def test_a_wrong_shape_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(WrongShape):
        read(body)
