"""Checkpoints as keyed items of one context a thread; the whole way is in ``real/contexts/test_frameworks``."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.base")

from langgraph.checkpoint.base import empty_checkpoint

from tidegate.client.langgraph import ContextSaver


class FakeDoor:
    """Contexts by session, items by key."""

    plane = "/v1/contexts"

    def __init__(self) -> None:
        self.contexts: dict[str, dict[str, Any]] = {}

    def ask(self, method: str, path: str, body: Any = None, fields: Any = None) -> Any:
        name = path.partition("session_id=")[2].partition("&")[0]
        if name:
            return {"data": [{"id": name}] if name in self.contexts else []}
        id = path.removeprefix("/v1/contexts").strip("/").partition("?")[0]
        if method == "POST":
            self.contexts[body["session_id"]] = {}
            return {"id": body["session_id"], "version": "cv_1"}
        if method == "PATCH":
            assert "parent" not in body  # the thread's own order is the checkpoints', not the client's
            for op in body["delta_updates"]:
                self.contexts[id][op["item"]["key"]] = op["item"]
            return {"version": "cv_2"}
        if method == "DELETE":
            del self.contexts[id]
            return {}
        return {"items": list(self.contexts[id].values())}


def at(thread: str, space: str = "", id: str = "") -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": space, **({"checkpoint_id": id} if id else {})}}


def test_threads_and_name_spaces_are_apart_and_contents_are_private() -> None:
    door = FakeDoor()
    saver = ContextSaver(door)  # type: ignore[arg-type]
    for thread, space in (("a", ""), ("a", "inner|1"), ("b", "")):
        saver.put(at(thread, space), {**empty_checkpoint(), "id": f"{thread}{space}"}, {"step": 1}, {})
    assert {*door.contexts} == {"langgraph:a", "langgraph:b"}
    assert {item["privacy"] for items in door.contexts.values() for item in items.values()} == {"personal"}
    found = saver.get_tuple(at("a", "inner|1"))
    assert found is not None
    assert found.checkpoint["id"] == "ainner|1"
    assert [each.checkpoint["id"] for each in saver.list({"configurable": {"thread_id": "a"}})] == ["ainner|1", "a"]
    assert list(saver.list(None)) == []
    saver.delete_thread("a")
    saver.delete_thread("a")
    assert saver.get_tuple(at("a")) is None


def test_a_write_that_is_made_again_replaces_itself() -> None:
    door = FakeDoor()
    saver = ContextSaver(door)  # type: ignore[arg-type]
    place = saver.put(at("a"), {**empty_checkpoint(), "id": "1"}, {}, {})
    saver.put_writes(place, [("x", 1)], "task")
    saver.put_writes(place, [("x", 2)], "task")
    saver.put_writes(place, [], "task")
    found = saver.get_tuple(at("a", id="1"))
    assert found is not None
    assert found.pending_writes == [("task", "x", 2)]
