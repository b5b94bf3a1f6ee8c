"""What agent frameworks remember lies in the gateway: checkpoints of LangGraph, sessions of the OpenAI Agents SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from real.contexts.dialogue import script
from real.llm.fake_provider import FakeProvider
from real.llm.house import KEY, ModelHouse, model, provider
from tidegate.client.door import Door

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelHouse]:
    filters = [{"use": "api_key"}]
    with FakeProvider(script=script) as fake:
        made = ModelHouse(
            tmp_path_factory.mktemp("frameworks"),
            {
                "providers": [provider("openai", fake, "p")],
                "models": [model("fast", "p")],
                "routes": [
                    {"name": "v1", "match": {"path": "/v1"}, "filters": filters, "llm": {"contexts": {}}},
                    {"name": "c", "match": {"path": "/v1/contexts"}, "filters": filters, "contexts": {}},
                ],
            },
            workers=2,
        ).ready()
        yield made
        made.leave()


def test_checkpoints_of_a_graph_are_kept_by_thread(house: ModelHouse) -> None:
    pytest.importorskip("langgraph.checkpoint.base")
    from langgraph.checkpoint.base import empty_checkpoint

    from tidegate.client.langgraph import ContextSaver

    saver = ContextSaver(Door(house.base, KEY, timeout=20))
    first: Any = {**empty_checkpoint(), "id": "1ef-1", "channel_values": {"messages": ["hello", b"\x00\xff"]}}
    start: Any = {"configurable": {"thread_id": "t-1", "checkpoint_ns": ""}}
    assert saver.get_tuple(start) is None
    at = saver.put(start, first, {"source": "input", "step": -1}, {})
    saver.put_writes(at, [("messages", ["one"]), ("other", 2)], "task-1")
    later = saver.put(at, {**first, "id": "1ef-2"}, {"source": "loop", "step": 0}, {})

    newest = saver.get_tuple(start)
    assert newest is not None
    assert (newest.config, newest.parent_config, newest.pending_writes) == (later, at, [])
    older = saver.get_tuple(at)
    assert older is not None
    assert older.checkpoint == first
    assert older.pending_writes == [("task-1", "messages", ["one"]), ("task-1", "other", 2)]
    assert [found.checkpoint["id"] for found in saver.list(start)] == ["1ef-2", "1ef-1"]
    assert [found.checkpoint["id"] for found in saver.list(start, before=later)] == ["1ef-1"]
    assert [found.checkpoint["id"] for found in saver.list(start, filter={"step": 0}, limit=1)] == ["1ef-2"]
    assert asyncio.run(saver.aget_tuple({"configurable": {"thread_id": "t-2"}})) is None
    saver.delete_thread("t-1")
    assert saver.get_tuple(start) is None


def test_a_session_of_the_agents_sdk_is_a_conversation(house: ModelHouse) -> None:
    pytest.importorskip("agents")
    from tidegate.client.openai_agents import session

    async def work() -> list[Any]:
        made = session(f"{house.base}/v1", KEY)
        await made.add_items([{"role": "user", "content": "hello"}, {"role": "user", "content": "again"}])
        found = await made.get_items()
        await made.pop_item()
        return [len(found), len(await made.get_items()), found[0]["role"]]

    assert asyncio.run(work()) == [2, 1, "user"]
