"""Gemini's stream <-> deltas (LLM 5.10). Whole streams, cuts and the SDK: tests/dialects."""

from __future__ import annotations

import json
from typing import Any

from tidegate.exchange.chat import (
    END,
    PING,
    ChatDelta,
    ChatRequest,
    Citation,
    Cite,
    Close,
    Extra,
    Failed,
    Open,
    Origin,
    Piece,
    Refusal,
    Sign,
    Start,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.exchange.fault import Fault
from tidegate.rules.chat_order import check_order
from tidegate.rules.generate_events import (
    HELD_SIZE,
    NAME,
    GenerateEventReader,
    GenerateEventWriter,
    read_citations,
    read_stop,
    response_id,
    searches,
)
from tidegate.wire.sse import SseDecoder


def read(*events: dict[str, Any]) -> list[ChatDelta]:
    state = GenerateEventReader("gemini", {"f": "g"}, {}, lambda raw: Fault("rate_limited", "slow", retry_after=3.0))
    deltas = [delta for event in events for delta in state.feed("", json.dumps(event).encode())]
    return deltas + state.close()


def written(*deltas: ChatDelta) -> tuple[list[dict[str, Any]], list[str]]:
    state = GenerateEventWriter(ChatRequest("asked"), "id1", False, lambda failed: b'{"error":{}}')
    raw = b"".join([state.write(delta) for delta in deltas])
    return [json.loads(data) for _, data in SseDecoder().feed(raw)], state.losses


def parts(*given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(given)}, **more}]}


def test_the_word_is_kept_where_the_neutral_one_does_not_lead_back() -> None:
    assert read_stop("STOP", False, {}) == ("stop", None)
    assert read_stop("STOP", True, {}) == ("tool_calls", None)
    assert read_stop("MAX_TOKENS", True, {}) == ("length", None)
    assert read_stop("SPII", False, {"index": b"0"}) == (
        "content_filter", Extra(NAME, (("finishReason", b'"SPII"'),)),
    )  # fmt: skip
    assert read_stop("STOP", False, {"safetyRatings": b"[]"}) == ("stop", Extra(NAME, (("safetyRatings", b"[]"),)))


def test_a_call_comes_complete_with_its_name_and_seal() -> None:
    call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}
    deltas = read({**parts(call, finishReason="STOP"), "responseId": "r"})
    check_order(deltas)
    head = deltas[1]
    assert isinstance(head, Open)
    assert isinstance(head.head, ToolCall)
    assert (head.head.name, head.head.signature, head.head.origin) == ("g", b"s", Origin("gemini"))
    assert deltas[2:] == [
        Piece(0, 0, '{"a": 1}'), Sign(0, 0, b"s"), Close(0, 0), Stopped(0, "tool_calls"), END,
    ]  # fmt: skip


def test_text_and_thought_take_turns_as_parts() -> None:
    deltas = read(parts({"text": "a", "thought": True}, {"text": ""}, {"text": "b"}), parts({"text": "c"}),
                  parts(finishReason="STOP"))  # fmt: skip
    check_order(deltas)
    assert deltas == [
        Start(), Open(0, 0, "thought", Thought(text="", origin=Origin("gemini"))), Piece(0, 0, "a"), Close(0, 0),
        Open(0, 1, "text", Text(text="")), Piece(0, 1, "b"), Piece(0, 1, "c"), Close(0, 1), Stopped(0, "stop"), END,
    ]  # fmt: skip


def test_an_error_ends_the_stream_with_its_delay() -> None:
    assert read({"error": {}}) == [Start(), Failed("rate_limited", "", "slow", 3.0), END]


def test_usage_comes_as_often_as_it_is_told() -> None:
    deltas = read({**parts({"text": "a"}), "usageMetadata": {"promptTokenCount": 1}},
                  {**parts(finishReason="STOP"), "usageMetadata": {"promptTokenCount": 2}})  # fmt: skip
    assert [delta for delta in deltas if isinstance(delta, Used)] == [Used(Usage(input=1)), Used(Usage(input=2))]


def test_sources_and_searches_of_a_candidate() -> None:
    grounding = {"groundingChunks": [{"web": {"uri": "u", "title": "t"}}, {"map": {}}], "webSearchQueries": ["a", "b"],
                 "groundingSupports": [{"segment": {"text": "q"}, "groundingChunkIndices": [0, 1, 5]}]}  # fmt: skip
    sources = b'{"citationSources":[{"uri":"v","startIndex":1,"endIndex":3},{"license":"x"}]}'
    candidate = {"groundingMetadata": json.dumps(grounding).encode(), "citationMetadata": sources}
    assert read_citations(candidate) == [Citation("u", "t", "q"), Citation("v", start=1, end=3)]
    assert searches(candidate) == 2
    assert (read_citations({}), searches({})) == ([], 0)


def test_a_client_gets_calls_whole_and_the_rest_in_the_last_event() -> None:
    events, losses = written(
        Start("chatcmpl-1", ""), Open(0, 0, "refusal", Refusal(text="")), Piece(0, 0, "no"), Close(0, 0),
        Open(0, 1, "tool_call", ToolCall(id="c", name="f", arguments="")), Piece(0, 1, '{"a"'), Piece(0, 1, ":1}"),
        Close(0, 1), Cite(0, 0, Citation("u")), Stopped(0, "tool_calls"), Used(Usage(input=1, output=2)), PING, END,
    )  # fmt: skip
    assert [event["candidates"][0]["content"]["parts"] for event in events] == [
        [{"text": "no"}], [{"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}}], [{"text": ""}],
    ]  # fmt: skip
    assert events[2]["candidates"][0]["finishReason"] == "STOP"
    assert events[2]["candidates"][0]["citationMetadata"] == {"citations": [{"uri": "u"}]}
    assert events[2]["usageMetadata"] == {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
    assert {(event["modelVersion"], event["responseId"]) for event in events} == {("asked", response_id("chatcmpl-1"))}
    assert losses == []


def test_a_foreign_thought_is_marked_as_foreign() -> None:
    head = Thought(text="", origin=Origin("deepseek"))
    events, _ = written(Start("r", "m"), Open(0, 0, "thought", head), Piece(0, 0, "x"), Close(0, 0), END)
    assert events[1]["candidates"][0]["content"]["parts"] == [
        {"text": "", "thought": True, "thoughtSignature": "dGcuZGVlcHNlZWsu"}
    ]


def test_what_is_held_is_bounded() -> None:
    head = ToolCall(id="c", name="f", arguments="")
    piece = Piece(0, 0, "x" * (HELD_SIZE // 2 + 1))
    events, losses = written(Start("r", "m"), Open(0, 0, "tool_call", head), piece, piece, Close(0, 0), END)
    assert len(events) == 1
    assert losses == ["parts.tool_call"]


def test_ids_that_tell_a_vendor_are_derived() -> None:
    assert response_id("abc123") == "abc123"
    for id in ("", "msg_1", "chatcmpl-1", "resp_1"):
        assert len(response_id(id)) == 22
