"""Gemini's usageMetadata <-> Usage (LLM 5.9)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import Usage
from tidegate.rules.generate_usage import read_usage, usage_object
from tidegate.wire.json_object import encode

ROWS = [
    (b'{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5}', Usage(input=3, output=2)),
    (b'{"promptTokenCount":3,"thoughtsTokenCount":7,"candidatesTokenCount":2}', Usage(input=3, output=9, thinking=7)),
    (b'{"promptTokenCount":30,"cachedContentTokenCount":20}', Usage(input=30, cache_read=20)),
    (b'{"promptTokensDetails":[{"modality":"TEXT","tokenCount":1},{"modality":"AUDIO","tokenCount":2},'
     b'{"modality":"VIDEO","tokenCount":3},{"modality":"image","tokenCount":4}],'
     b'"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":5},{"modality":"AUDIO","tokenCount":6}]}',
     Usage(audio_in=2, video_in=3, image_in=4, image_out=5, audio_out=6)),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "usage"), ROWS)
def test_usage_is_read_and_written_back(raw: bytes, usage: Usage) -> None:
    assert read_usage(raw, {}) == usage
    assert read_usage(encode(usage_object(usage)), {}) == usage


def test_tool_prompts_are_input_and_tiers_have_two_names() -> None:
    assert read_usage(b'{"promptTokenCount":3,"toolUsePromptTokenCount":4}', {}) == Usage(input=7)
    assert read_usage(b'{"serviceTier":"FLEX","trafficType":"ON_DEMAND"}', {}) == Usage(tier="flex")
    assert read_usage(b'{"trafficType":"ON_DEMAND_PRIORITY"}', {}) == Usage(tier="priority")
    assert read_usage(b'{"trafficType":"PROVISIONED_THROUGHPUT"}', {}) == Usage()
    assert read_usage(b'{"odd":3}', {"odd": "images"}) == Usage(images=3)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"promptTokenCount":"3","candidatesTokenCount":-2,"thoughtsTokenCount":null}',
        b'{"promptTokensDetails":7,"candidatesTokensDetails":[7]}',
        b'{"promptTokensDetails":[{"modality":7}],"serviceTier":7}',
    ],
)
def test_hostile_counts_are_zero(raw: bytes) -> None:
    assert read_usage(raw, {}) == Usage()


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{"])
def test_what_is_no_object_tells_nothing(raw: bytes) -> None:
    assert read_usage(raw, {}) is None


def test_the_total_is_the_sum() -> None:
    assert usage_object(Usage(input=3, output=9, thinking=7)) == {
        "promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 12, "thoughtsTokenCount": 7,
    }  # fmt: skip
