"""Chat bytes that pass untouched (LLM 4)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.chat import Usage
from tidegate.wire.chat_tap import event_usage, shows_content, spliced

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_nothing_moves_but_the_model_and_the_wish_for_usage(
    more: dict[str, object], old: object, ask: bool, indent: int | None
) -> None:
    body = {**more, "model": old}
    raw = json.dumps(body, ensure_ascii=False, indent=indent).encode("utf-8", "surrogatepass")
    told = json.loads(spliced(raw, 'new"é', ask))
    wanted = {**body, "model": 'new"é'}
    if ask:
        given_ = body.get("stream_options")
        wanted["stream_options"] = {**(given_ if isinstance(given_, dict) else {}), "include_usage": True}
    assert told == wanted
    assert list(told)[: len(body)] == list(body)


def test_a_body_without_a_model_gets_one() -> None:
    assert spliced(b'{"a":1}', "m", False) == b'{"a":1,"model":"m"}'


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        (b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}', Usage(input=1, output=2)),
        (b'{"usage": {"prompt_tokens": 1, "completion_tokens": 2}, "service_tier": "default"}',
         Usage(input=1, output=2, tier="standard")),
        (b'{"usage":null,"choices":[]}', None),
        (b'{"x_groq":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}', Usage(input=1, output=2)),
        (b'{"usage":{"prompt_tokens":-1,"completion_tokens":2}}', None),
        (b'{"usage":{"prompt_tokens":1', None),
    ],
)  # fmt: skip
def test_usage_is_read_from_the_frames_that_hold_it(data: bytes, usage: Usage | None) -> None:
    assert event_usage("", data, {"x_groq.usage": "usage"})[0] == usage


@pytest.mark.parametrize(
    ("data", "shows"),
    [
        (b'{"delta":{"content":"a"}}', True),
        (b'{"delta":{"content": "a"}}', True),
        (b'{"delta":{"content":""}}', False),
        (b'{"delta":{"content":"","tool_calls":[{}]}}', True),
        (b'{"delta":{"reasoning":"a"}}', True),
        (b'{"delta":{"reasoning_content":null,"role":"assistant"}}', False),
        (b'{"delta":{"refusal":"a"}}', True),
        (b'{"delta":{"audio":{"id":"a"}}}', True),
        (b'{"text":"a"}', True),
        (b'{"text":""}', False),
        (b'{"delta":{}}', False),
    ],
)
def test_content_is_seen_without_decoding(data: bytes, shows: bool) -> None:
    assert shows_content(data) is shows
    assert event_usage("", data, {})[1] is shows


def test_the_ends_of_a_stream() -> None:
    assert event_usage("", b"[DONE]", {}) == (None, False, True)
    assert event_usage("error", b'{"error":{}}', {}) == (None, False, True)
