from __future__ import annotations

from base64 import b64encode

import pytest

from tidegate.exchange.chat import (
    Audio,
    ChatRequest,
    File,
    Image,
    Message,
    Opaque,
    Output,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    Video,
)
from tidegate.rules.token_count import (
    COUNTED,
    PER_IMAGE,
    PER_PAGE,
    PER_REQUEST,
    PER_SECOND,
    PER_TILE,
    PER_TOOL,
    PER_TURN,
    PER_VIDEO,
    SECONDS,
    SLICE,
    WORST_IMAGE,
    LearnedFactor,
    count_part,
    count_request,
    count_texts,
    texts_of,
)


def words(text: str) -> int:
    return len(text.split())


def png(width: int, height: int) -> bytes:
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return b64encode(head + b"\0" * 40)


def test_a_request_is_its_text_and_what_stands_around_it() -> None:
    request = ChatRequest(
        "m",
        (Message("system", (Text(text="be brief"),)), Message("user", (Text(text="a b c"),), name="ann")),
        tools=(Tool("f", "adds two numbers", b'{"type": "object"}'),),
        output=Output("schema", schema=b'{"a": 1}'),
    )
    text = 2 + 3 + 1 + 1 + 3 + 2 + 2
    assert count_request(request, words) == PER_REQUEST + 2 * PER_TURN + PER_TOOL + text


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (Thought(text="a b"), 2),
        (ToolCall(id="1", name="f", arguments='{"a": 1}'), PER_TOOL + 1 + 2),
        (ToolResult(call_id="1", parts=(Text(text="a b"), Text(text="c"))), PER_TOOL + 3),
        (Image(data=png(512, 512)), PER_IMAGE + PER_TILE),
        (Image(data=png(513, 512)), PER_IMAGE + 2 * PER_TILE),
        (Image(data=png(4096, 4096)), PER_IMAGE + 4 * PER_TILE),
        (Image(data=png(8192, 64)), PER_IMAGE + 4 * PER_TILE),
        (Image(data=png(4096, 4096), detail="low"), PER_IMAGE),
        (Image(url="https://a.example/x.png"), WORST_IMAGE),
        (Image(data=b"!"), WORST_IMAGE),
        (Audio(data=b"A" * 8000), PER_SECOND * 2),
        (File(data=b"A" * 40_000), PER_PAGE * 2),
        (File(text="a b c"), 3),
        (Video(url="https://a.example/v.mp4"), PER_VIDEO),
        (Opaque(dialect="d", kind="k", value=b"12345"), 5),
    ],
)
def test_each_part_counts_by_its_rule(part: object, tokens: int) -> None:
    assert count_part(part, words) == tokens  # type: ignore[arg-type]


def test_the_factor_moves_toward_what_is_billed_within_bounds() -> None:
    factor = LearnedFactor()
    assert factor.of(100) == 100
    for _ in range(200):
        factor.learn(100, 130)
    assert factor.of(1000) == 1300
    for _ in range(200):
        factor.learn(100, 10_000)
    assert factor.of(100) == 200
    for _ in range(200):
        factor.learn(100, 1)
    assert factor.of(100) == 50


def test_small_calls_and_missing_bills_teach_nothing() -> None:
    factor = LearnedFactor()
    factor.learn(15, 100)
    factor.learn(100, 0)
    assert factor.value == 1.0


def test_texts_can_be_counted_elsewhere() -> None:
    request = ChatRequest("m", (Message("user", (Text(text="a b c"), Image(detail="low")), name="ann"),))
    fixed, texts = texts_of(request)
    assert texts == ["ann", "a b c"]
    assert fixed + sum(words(text) for text in texts) == count_request(request, words)


class Clock:
    """Each look at it takes *step* seconds."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_all_of_a_usual_call_is_counted() -> None:
    assert count_texts(["a b", "", "c"], words, Clock(), False) == (3, True)
    assert count_texts([], words, Clock(), True) == (0, True)
    assert count_texts(["x" * 3 * SLICE], lambda text: len(text) // 4, Clock(), False) == (3 * SLICE // 4, True)


@pytest.mark.parametrize(("dense", "rest"), [(False, 2 * SLICE), (True, SLICE // 4)])
def test_beyond_the_bound_each_byte_is_a_token_or_the_text_as_dense_as_before(dense: bool, rest: int) -> None:
    seen: list[int] = []

    def quarter(text: str) -> int:
        seen.append(len(text))
        return len(text) // 4

    found = count_texts(["x" * COUNTED, "é" * SLICE], quarter, Clock(), dense)
    assert found == (COUNTED // 4 + rest, False)
    assert sum(seen) == COUNTED and max(seen) <= SLICE


def test_when_time_is_up_nothing_more_is_counted() -> None:
    found = count_texts(["x" * SLICE] * 5, lambda text: 1, Clock(SECONDS / 3), False)
    assert found == (2 + 3 * SLICE, False)
    assert count_texts(["xyz"], lambda text: 1, Clock(SECONDS), True) == (0, False)
