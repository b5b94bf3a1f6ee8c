"""The ``context`` object, its place in each dialect's answer, fields and errors (CRP 3.2 to 3.7)."""

from __future__ import annotations

import json
from typing import Any

from tidegate.exchange.context import CacheReport, Elided, Receipt, TokenUse
from tidegate.rules.context_told import (
    context_object,
    usage_field,
    with_code,
    with_context,
    with_context_event,
    with_details,
)

ULID = "01J9ZK3V7Q2M8N4R6T0W5X1Y3B"
RECEIPT = Receipt(id="ctx_" + ULID, version="cv_" + ULID, parent="cv_0", digest=b"\x01" * 32,
                  use=TokenUse(10, 4, 5, 6, 7, 8))  # fmt: skip
CHAT_HELD = (
    b'data: {"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"a","choices":[],"usage":{}}\n\ndata: [DONE]\n\n'
)


def told(receipt: Receipt, returned: Any) -> Any:
    return json.loads(context_object(receipt, returned))


def test_minimal_says_where_the_conversation_stands() -> None:
    assert told(RECEIPT, "minimal") == {
        "id": "ctx_" + ULID, "version": "cv_" + ULID, "parent": "cv_0", "branch": "main", "status": "completed",
        "level": "id",
    }  # fmt: skip


def test_none_says_nothing() -> None:
    assert context_object(RECEIPT, "none") == b""


def test_full_says_usage_what_was_elided_and_the_cache() -> None:
    receipt = Receipt(id="c", version="v", elided=(Elided("it", "message", 9, "dropped", "drop_oldest"),),
                      recalled=("it2",), cache=CacheReport(5, None, "ttl_elapsed"), warnings=("w",))  # fmt: skip
    got = told(receipt, "full")
    assert got["elided"] == [{"id": "it", "type": "message", "tokens": 9, "as": "dropped", "reason": "drop_oldest"}]
    assert (got["recalled"], got["warnings"]) == (["it2"], ["w"])
    assert got["cache"] == {"expected": 5, "reported": None, "reason": "ttl_elapsed", "first_divergent_item": None}
    assert told(RECEIPT, "full")["digest"] == "sha256:" + "01" * 32
    assert told(RECEIPT, "full")["usage"] == {
        "sent": 10, "cached": 4, "cached_expected": 5, "written": 6, "saved": 7, "output": 8,
    }  # fmt: skip


def test_after_256_entries_comes_a_count() -> None:
    receipt = Receipt(id="c", version="v", elided=(Elided("i", "t", 1, "dropped", "r"),) * 257, recalled=("i",) * 256)
    got = told(receipt, "full")
    assert (len(got["elided"]), got["elided_more"], len(got["recalled"])) == (256, 1, 256)
    assert "recalled_more" not in got


def test_a_degraded_answer_has_no_version_I9() -> None:
    got = told(Receipt(id="c", version="", degraded=True), "minimal")
    assert (got["version"], got["degraded"]) == (None, True)


def test_usage_is_a_dictionary_of_integers_and_marked_while_it_is_an_estimate() -> None:
    assert usage_field(RECEIPT, 41, estimated=False) == "sent=10, cached=4, saved=7, elided=0, repo-us=41"
    assert usage_field(RECEIPT, 41, estimated=True) == "sent=10, cached=5, saved=7, elided=0, repo-us=41, est"


def test_a_whole_answer_gets_one_more_member() -> None:
    assert with_context("openai_chat", b'{"id":"x"}', b'{"id":"c"}', "c") == b'{"id":"x","context":{"id":"c"}}'
    assert with_context("openai_chat", b'{"id":"x"}', b"", "c") == b'{"id":"x"}'


def test_a_response_also_names_its_conversation() -> None:
    got = json.loads(with_context("openai_responses", b'{"id":"x"}', b"{}", "ctx_" + ULID))
    assert got == {"id": "x", "conversation": {"id": "conv_" + ULID}, "context": {}}


def test_on_chat_the_chunk_with_a_finish_reason_repeats_it() -> None:
    first, usage, done, _ = with_context_event("openai_chat", CHAT_HELD, b'{"id":"c"}', "c").split(b"\n\n")
    assert json.loads(first[6:])["context"] == {"id": "c"}
    assert b"context" not in usage and done == b"data: [DONE]"


def test_on_responses_it_stands_in_the_response_of_the_last_event() -> None:
    held = (
        b'event: response.output_item.done\ndata: {"type":"x","item":{"content":[]}}\n\n'
        b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r"}}\n\n'
    )
    got = with_context_event("openai_responses", held, b'{"id":"c"}', "ctx_" + ULID)
    last = json.loads(got.split(b"data: ")[2])
    assert last["response"] == {"id": "r", "conversation": {"id": "conv_" + ULID}, "context": {"id": "c"}}
    assert got.startswith(held[: held.index(b"event: response.completed")])


def test_on_messages_it_stands_in_message_delta() -> None:
    held = (
        b'event: message_delta\ndata: {"type":"message_delta","delta":{}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    got = with_context_event("anthropic_messages", held, b'{"id":"c"}', "c")
    assert json.loads(got.split(b"\n")[1][6:])["context"] == {"id": "c"}
    assert got.endswith(b'data: {"type":"message_stop"}\n\n')


def test_what_has_no_such_event_stays_as_it_is() -> None:
    assert with_context_event("openai_chat", b"data: [DONE]\n\n", b"{}", "c") == b"data: [DONE]\n\n"
    assert with_context_event("openai_chat", b"", b"{}", "c") == b""


def test_an_error_says_what_the_client_lacks() -> None:
    body = b'{"error":{"code":"context_conflict","message":"m"}}'
    got = json.loads(with_details(body, {"context": {"head": "cv_1", "missing": []}}))
    assert got["error"]["context"] == {"head": "cv_1", "missing": []}
    assert with_details(b'{"error":"m"}', {"context": {}}) == b'{"error":"m"}'


def test_a_broken_stream_says_our_code_in_every_dialect_23() -> None:
    chat = b'event: error\ndata: {"error":{"message":"m","code":"commit_failed"}}\n\n'
    assert with_code("openai_chat", chat, "commit_failed") == chat
    messages = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"m"}}\n\n'
    got = json.loads(with_code("anthropic_messages", messages, "commit_failed").split(b"data: ")[1])
    assert got["error"] == {"type": "api_error", "message": "m", "code": "commit_failed"}
    failed = b'data: {"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}\n\n'
    got = json.loads(with_code("openai_responses", failed, "commit_failed")[6:])
    assert got["response"]["error"] == {"code": "commit_failed", "message": "m"}
    assert with_code("openai_chat", b"", "commit_failed") == b""
    assert with_code("openai_chat", b'data: {"error":null}\n\n', "c") == b'data: {"error":null}\n\n'
