"""Typed decoders take what vendors send and skip the rest."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.wire.openai_frames import decode_chunk, decode_counted, decode_counted_event, decode_response_event


def test_a_chunk_keeps_what_is_named_and_skips_the_rest() -> None:
    chunk = decode_chunk(
        b'{"id":"i","x":{"deep":[1]},"created":1.5,"choices":[{"delta":{"content":[{"type":"text"}],"x":1,'
        b'"tool_calls":[{"function":{"arguments":{"a":1}}}]},"finish_reason":null}],"usage":{"a":1}}'
    )
    assert chunk.choices is not None and chunk.choices[0].delta is not None
    assert chunk.choices[0].delta.content == [{"type": "text"}]
    assert chunk.choices[0].delta.tool_calls[0].function.arguments == {"a": 1}  # type: ignore[index, union-attr]
    assert bytes(chunk.usage) == b'{"a":1}'
    assert (bytes(chunk.error), decode_chunk(b'{"choices":[{"text":"a"}]}').choices[0].text) == (b"", "a")  # type: ignore[index]


@pytest.mark.parametrize("data", [b"[]", b'{"choices":3}', b'{"choices":[{"index":"0"}]}', b"{", b'{"id":3}'])
def test_another_shape_is_no_chunk(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_chunk(data)


def test_usage_alone() -> None:
    assert bytes(decode_counted(b'{"output":[{"x":1}],"usage":{"a":1}}').usage) == b'{"a":1}'
    event = decode_counted_event(b'{"type":"t","response":{"output":[],"usage":{"a":1},"service_tier":"flex"}}')
    assert event.response is not None and event.response.service_tier == "flex"
    assert decode_response_event(b'{"type":"t","delta":"a","output_index":2,"x":1}').output_index == 2
