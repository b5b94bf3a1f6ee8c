"""Usage objects of the OpenAI family, both ways (LLM 5.9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.chat import Usage
from tidegate.wire.token_usage import chat_usage, dug, input_usage, read_usage

COUNTS = st.integers(0, 1 << 40)


def read(told: Any, renames: dict[str, str] | None = None) -> Usage | None:
    return read_usage(json.dumps(told).encode(), renames or {})


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2}, Usage(input=1, output=2)),
        ({"input_tokens": 1, "output_tokens": 2}, Usage(input=1, output=2)),
        ({"prompt_tokens": 1}, Usage(input=1)),
        ({"prompt_tokens": 1, "completion_tokens": None, "prompt_tokens_details": None}, Usage(input=1)),
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -3}},
            Usage(input=5, output=1),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": []}, Usage(input=5, output=1)),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, Usage(input=1 << 53, output=1)),
        (
            {
                "input_tokens": 9,
                "output_tokens": 1,
                "input_tokens_details": {
                    "cache_write_tokens": 3,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 1, "ttl_12h_tokens": 2},
                },
            },
            Usage(input=9, output=1, cache_write=3, cache_write_by_ttl=((1800, 1), (43200, 2))),
        ),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "completion_tokens_details": {"audio_tokens": 1, "image_tokens": 2, "rejected_prediction_tokens": 3},
            },
            Usage(input=3, output=4, audio_out=1, image_out=2, prediction_rejected=3),
        ),
        ({"prompt_tokens": -1, "completion_tokens": 2}, None),
        ({"prompt_tokens": "1", "completion_tokens": 2}, None),
        ({"prompt_tokens": True}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_what_vendors_tell(told: Any, usage: Usage | None) -> None:
    assert read(told) == usage


def test_renames_replace_add_and_convert() -> None:
    told = {"prompt_tokens": 3, "completion_tokens": 4, "hit": 2, "deep": {"more": 5}, "cost": 0.00014, "seconds": 1.5}
    assert read(told, {"hit": "cache_read"}) == Usage(input=3, output=4, cache_read=2)
    assert read(told, {"deep.more": "output+"}) == Usage(input=3, output=9)
    assert read(told, {"cost": "cost", "seconds": "ms_in"}) == Usage(input=3, output=4, cost=140_000, ms_in=1500)
    assert read(told | {"cost": "free"}, {"cost": "cost"}) == Usage(input=3, output=4)
    assert read(told | {"cost": -1}, {"cost": "cost"}) == Usage(input=3, output=4)


def test_digging_stops_where_there_is_nothing() -> None:
    assert dug({"a": b'{"b":{"c":1}}'}, "a.b.c") == b"1"
    assert [dug({"a": b'{"b":2}'}, path) for path in ("x", "a.x", "a.b.c")] == [b"", b"", b""]


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_what_is_written_reads_as_it_was(read_: int, written: int, cached: int, thought: int, wrote: int) -> None:
    usage = Usage(input=read_, output=written, cache_read=cached, thinking=thought, cache_write=wrote)
    assert read(chat_usage(usage)) == usage
    assert read(input_usage(usage)) == usage
    assert chat_usage(usage)["total_tokens"] == input_usage(usage)["total_tokens"] == read_ + written


def test_lives_of_cache_writes_are_written_where_there_is_a_name_for_them() -> None:
    usage = Usage(input=9, output=1, cache_write=3, cache_write_by_ttl=((1800, 3), (300, 1)))
    details = input_usage(usage)["input_tokens_details"]
    assert details["cache_write_tokens_details"] == {"ttl_30m_tokens": 3, "ttl_12h_tokens": 0}
