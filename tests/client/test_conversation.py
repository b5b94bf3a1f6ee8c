"""What a conversation sends: deltas on the version it knows, once each, put on a newer head when it came late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tidegate.client.conversation import AGAIN, AsyncConversation, Conversation, Said
from tidegate.client.door import Conflict


class FakeDoor:
    """Answers from a script, keeps what was asked."""

    plane = "/v1/contexts"

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []

    def ask(self, method: str, path: str, body: Any = None, fields: dict[str, str] | None = None) -> Any:
        self.asked.append((method, path, body, fields or {}))
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stream(self, path: str, body: Any, fields: dict[str, str]) -> Iterator[Any]:
        return iter(self.ask("POST", path, body, fields))


def told(version: str, text: str = "hi") -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}],
            "context": {"id": "ctx_1", "version": version, "branch": "main"}}  # fmt: skip


def conflict(head: str) -> Conflict:
    return Conflict(409, "context_conflict", "late", {"head": head, "missing": [{"version": head, "ops": []}]})


def talk(*script: Any, **settings: Any) -> tuple[Conversation, FakeDoor]:
    door = FakeDoor(*script)
    return Conversation(door, "fast", **{"id": "ctx_1", **settings}), door  # type: ignore[arg-type]


def test_a_turn_is_a_delta_on_the_version_before() -> None:
    made, door = talk(told("cv_1"), told("cv_2"))
    assert made.say("one", temperature=0).text == "hi"
    made.put("a", 1, privacy="personal").state({"b": 2}).say("two")
    assert door.asked[0][2] == {
        "model": "fast", "messages": [], "temperature": 0, "context_id": "ctx_1",
        "delta_updates": [{"op": "append", "items": [{"type": "message", "role": "user", "content": "one"}]}],
    }  # fmt: skip
    second = door.asked[1][2]
    assert (second["parent"], [op["op"] for op in second["delta_updates"]]) == ("cv_1", ["put", "merge", "append"])
    assert second["delta_updates"][0]["item"] == {"type": "fact", "key": "a", "content": 1, "privacy": "personal"}
    assert door.asked[0][3]["Idempotency-Key"] != door.asked[1][3]["Idempotency-Key"]


def test_a_context_is_made_at_the_first_turn_unless_a_session_does_it() -> None:
    made, door = talk({"id": "ctx_9", "version": "cv_0"}, told("cv_1"), id="")
    made.put("a", 1).say("one")
    assert [(method, path) for method, path, _, _ in door.asked] == [
        ("POST", "/v1/contexts"), ("POST", "/v1/chat/completions")]  # fmt: skip
    assert (door.asked[1][2]["context_id"], door.asked[1][2]["parent"]) == ("ctx_9", "cv_0")
    assert len(door.asked[1][2]["delta_updates"]) == 2
    named, door = talk(told("cv_1"), id="", session="me")
    named.say("one")
    assert door.asked[0][2]["session_id"] == "me"
    assert named.id == "ctx_1"


def test_a_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    made, door = talk(ConnectionError("lost"), ConnectionError("lost"), told("cv_1"))
    made.say("one")
    assert len({fields["Idempotency-Key"] for _, _, _, fields in door.asked}) == 1
    made, door = talk(*[ConnectionError("lost")] * (AGAIN + 1))
    with pytest.raises(ConnectionError):
        made.say("one")


def test_what_comes_late_is_put_on_the_newer_head_under_a_new_key() -> None:
    made, door = talk(conflict("cv_7"), told("cv_8"))
    made.version = "cv_1"
    made.say("one")
    assert [body["parent"] for _, _, body, _ in door.asked] == ["cv_1", "cv_7"]
    assert len({fields["Idempotency-Key"] for _, _, _, fields in door.asked}) == 2
    made, door = talk(conflict("cv_7"), {"id": "ctx_1", "version": "cv_8"})
    assert made.put("a", 1).apply() == "cv_8"
    assert [body.get("parent") for _, _, body, _ in door.asked] == [None, "cv_7"]


def test_without_rebasing_a_conflict_is_raised_and_what_waits_stays() -> None:
    made, door = talk(conflict("cv_7"), told("cv_8"), rebase=False)
    with pytest.raises(Conflict) as raised:
        made.put("a", 1).say("one")
    assert raised.value.head == "cv_7"
    made.version = "cv_7"
    made.say("two")
    assert [op["op"] for op in door.asked[1][2]["delta_updates"]] == ["put", "append"]


def test_a_stream_gives_its_pieces_and_takes_the_version_from_the_end() -> None:
    events = [{"choices": [{"delta": {"content": "a"}}]}, {"choices": []}, {"choices": [{"delta": {}}]},
              {"choices": [{"delta": {"content": "b"}}], "context": {"id": "ctx_1", "version": "cv_2"}}]  # fmt: skip
    made, door = talk(events)
    assert list(made.stream("one")) == ["a", "b"]
    assert (made.version, door.asked[0][2]["stream"]) == ("cv_2", True)


def test_a_branch_is_named_in_each_turn() -> None:
    made, door = talk({}, told("cv_3") | {"context": {"id": "ctx_1", "version": "cv_3", "branch": "b"}})
    made.version = "cv_1"
    fork = made.fork("b")
    fork.say("one")
    assert door.asked[0][2] == {"from": "cv_1", "branch": "b"}
    assert (door.asked[1][2]["context"], door.asked[1][2]["parent"]) == ({"branch": "b"}, "cv_1")


def test_an_answer_without_text_or_context_is_empty() -> None:
    said = Said({"choices": [{"message": {"content": None}}]})
    assert (said.text, said.version, said.context) == ("", "", {})


def test_the_asynchronous_one_is_the_same_on_a_thread() -> None:
    made, door = talk(told("cv_1"))
    assert asyncio.run(AsyncConversation(made).say("one")).version == "cv_1"
    assert len(door.asked) == 1
