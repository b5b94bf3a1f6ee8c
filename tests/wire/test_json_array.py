from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.wire.json_array import ELEMENT_SIZE, END, ArrayDecoder, encode_element

VALUES = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def test_elements_come_out_whole_however_the_bytes_are_cut() -> None:
    raw = '[{"a":"]}\\"{\U0001f600"}\r\n,\r\n{"b":[[1],{"c":"\\\\"}]}]\n'.encode()
    elements = [("", '{"a":"]}\\"{\U0001f600"}'.encode()), ("", b'{"b":[[1],{"c":"\\\\"}]}')]
    for cut in range(len(raw) + 1):
        decoder = ArrayDecoder()
        assert decoder.feed(raw[:cut]) + decoder.feed(raw[cut:]) + decoder.close() == elements
    decoder = ArrayDecoder()
    assert [element for byte in raw for element in decoder.feed(bytes([byte]))] == elements


@given(st.lists(st.dictionaries(st.text(), VALUES), max_size=5), st.lists(st.integers(1, 9), max_size=40))
def test_what_is_written_is_read_again(values: list[dict[str, Any]], cuts: list[int]) -> None:
    texts = [json.dumps(value).encode() for value in values]
    raw = b"".join(encode_element(text, number == 0) for number, text in enumerate(texts)) or b"["
    raw += END
    decoder = ArrayDecoder()
    found = []
    for size in cuts:
        found += decoder.feed(raw[:size])
        raw = raw[size:]
    assert found + decoder.feed(raw) == [("", text) for text in texts]


@pytest.mark.parametrize("raw", [b'{"error":{}}', b"]", b"[]]"])
def test_another_shape_is_a_fault(raw: bytes) -> None:
    with pytest.raises(Fault, match="protocol"):
        ArrayDecoder().feed(raw)


def test_an_element_without_end_is_refused_at_a_megabyte() -> None:
    decoder = ArrayDecoder()
    decoder.feed(b'[{"a":"' + b"x" * (ELEMENT_SIZE - 6))
    with pytest.raises(Fault, match="event_too_large"):
        decoder.feed(b"x")
