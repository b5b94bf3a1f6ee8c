"""Corners of Converse's blocks; the rows of a whole request are in ``tests/dialects/test_bedrock_converse.py``."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.exchange.chat import Audio, CacheMark, File, Image, Opaque, Part, SealedThought, Text, ToolResult, Video
from tidegate.rules.converse_blocks import ConverseBlocks, citation_object, read_block, read_citation, read_content
from tidegate.rules.losses import Losses
from tidegate.wire.json_object import encode


def written(
    part: Part, vendor: str | None = "bedrock", lacks: frozenset[str] = frozenset()
) -> tuple[object, list[str]]:
    losses = Losses()
    block = ConverseBlocks(vendor, {}, frozenset(), lacks, losses).block(part, "m")
    return msgspec.json.decode(encode(block)), losses.told


@pytest.mark.parametrize(
    "raw",
    [
        b'{"cachePoint":{"type":"default"}}',
        b'{"image":{"format":"bmp","source":{"bytes":"AA"}}}',
        b'{"image":{"format":"png","error":{"message":"m"}}}',
        b'{"image":{"format":"png","source":{"s3Location":{"uri":"s3://b","bucketOwner":"1"}}}}',
        b'{"document":{"name":"n","source":{"content":[{"text":"a"}]}}}',
        b'{"text":"a","more":1}',
        b'{"searchResult":{}}',
        b"{}",
    ],
)
def test_what_has_no_neutral_name_stays_whole(raw: bytes) -> None:
    part = read_block(raw, "p", "", {})
    assert isinstance(part, Opaque)
    assert written(part) == (msgspec.json.decode(raw), [])


def test_a_cache_point_of_unknown_words_or_behind_another_stays_a_block() -> None:
    raw = b'[{"text":"a"},{"cachePoint":{"type":"default"}},{"cachePoint":{"type":"default"}},{"text":"b"},'
    parts = read_content(raw + b'{"cachePoint":{"type":"default","ttl":"9h"}}]', "p", "", {})
    assert [type(part) for part in parts] == [Text, Opaque, Text, Opaque]
    assert parts[0].cache == CacheMark()


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        (Image(mime="image/jpg", data=b"A"), []),
        (Image(mime="image/png", data=b"A", detail="high"), ["m.detail"]),
        (Video(mime="video/3gpp", data=b"A"), []),
        (Audio(mime="audio/mpeg", data=b"A"), []),
    ],
)
def test_media_that_can_be_said(part: Part, lost: list[str]) -> None:
    assert written(part)[1] == lost
    assert written(part)[0] is not None


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        (Video(mime="video/odd", data=b"A"), ["m.video"]),
        (Audio(url="https://a.example"), ["m.audio_url"]),
        (File(mime="application/zip", data=b"A"), ["m.file"]),
        (Image(data=b"A"), ["m.image"]),
    ],
)
def test_media_that_cannot(part: Part, lost: list[str]) -> None:
    assert written(part) == (None, lost)
    assert written(Image(mime="image/png", data=b"A"), lacks=frozenset(("image",))) == (None, ["m.image"])


def test_a_json_result_that_was_changed_is_a_text() -> None:
    part = read_block(b'{"toolResult":{"toolUseId":"1","content":[{"json":{"a":1}}]}}', "p", "", {})
    assert isinstance(part, ToolResult)
    assert written(part)[0] == {"toolResult": {"toolUseId": "1", "content": [{"json": {"a": 1}}]}}
    changed = msgspec.structs.replace(part, parts=(msgspec.structs.replace(part.parts[0], text="{}"),))
    assert written(changed)[0] == {"toolResult": {"toolUseId": "1", "content": [{"text": "{}"}]}}
    assert written(ToolResult(call_id="1", parts=(SealedThought(data=b"d"),)))[1] == ["m.tool_result"]


def test_several_quotes_stay_in_their_bag() -> None:
    raw = b'{"title":"T","source":"s","sourceContent":[{"text":"a"},{"text":"b"}],"location":{"web":{"url":"u","x":1}}}'
    citation = read_citation(raw, "p")
    assert (citation.title, citation.quote, citation.url) == ("T", "", "")
    assert msgspec.json.decode(encode(citation_object(citation))) == msgspec.json.decode(raw)
