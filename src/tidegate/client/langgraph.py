"""Checkpoints of LangGraph, kept by the gateway: one context a thread. Needs the extra ``agents``.

A checkpoint and each pending write is a keyed item of a vendor type: kept, returned, never shown to a model.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from tidegate.client.conversation import Conversation
from tidegate.client.door import Door

CHECKPOINT: Final = "langgraph:checkpoint"
WRITE: Final = "langgraph:write"


class ContextSaver(BaseCheckpointSaver[str]):
    """A checkpointer for ``graph.compile(checkpointer=...)``. A thread's name may have 118 characters
    ``[A-Za-z0-9._:@-]``. *privacy* ``personal`` and above is encrypted."""

    def __init__(self, door: Door, *, privacy: str = "personal") -> None:
        super().__init__()
        self._door = door
        self._privacy = privacy

    # -- the context of a thread ---------------------------------------------------------------------------------------

    def _talk(self, thread: str, make: bool) -> Conversation | None:
        name = f"langgraph:{thread}"
        found = self._door.ask("GET", f"{self._door.plane}?session_id={name}&limit=1")["data"]
        talk = Conversation(self._door, session=name, id=found[0]["id"] if found else "")
        if not found:
            if not make:
                return None
            talk.create()
        return talk

    def _items(self, thread: str) -> list[dict[str, Any]]:
        talk = self._talk(thread, make=False)
        return [] if talk is None else talk.view()["items"]

    def _put(self, thread: str, found: list[tuple[str, str, dict[str, Any]]]) -> None:
        talk = self._talk(thread, make=True)
        assert talk is not None
        for kind, key, content in found:
            talk.put(key, content, type=kind, privacy=self._privacy)
        talk.version = ""
        talk.apply()

    def _packed(self, value: Any) -> dict[str, str]:
        kind, data = self.serde.dumps_typed(value)
        return {"kind": kind, "data": base64.b64encode(data).decode()}

    def _unpacked(self, packed: dict[str, str]) -> Any:
        return self.serde.loads_typed((packed["kind"], base64.b64decode(packed["data"])))

    # -- BaseCheckpointSaver -------------------------------------------------------------------------------------------

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        place = config["configurable"]
        thread, space = str(place["thread_id"]), place.get("checkpoint_ns", "")
        told = json.loads(json.dumps(get_checkpoint_metadata(config, metadata), default=str))
        self._put(thread, [(CHECKPOINT, _key(space, checkpoint["id"]), {
            "space": space, "id": checkpoint["id"], "parent": place.get("checkpoint_id", ""), "metadata": told,
            **self._packed(checkpoint),
        })])  # fmt: skip
        return _config(thread, space, checkpoint["id"])

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        place = config["configurable"]
        space, id = place.get("checkpoint_ns", ""), place["checkpoint_id"]
        found = []
        for index, (channel, value) in enumerate(writes):
            number = WRITES_IDX_MAP.get(channel, index)
            found.append((WRITE, _key(space, id, task_id, str(number)), {
                "space": space, "id": id, "task": task_id, "number": number, "channel": channel, **self._packed(value),
            }))  # fmt: skip
        if found:
            self._put(str(place["thread_id"]), found)

    def get_tuple(self, config: Any) -> CheckpointTuple | None:
        place = config["configurable"]
        wanted, space = get_checkpoint_id(config), place.get("checkpoint_ns", "")
        for found in self._tuples(str(place["thread_id"]), space):
            if not wanted or found.checkpoint["id"] == wanted:
                return found
        return None

    def list(
        self, config: Any, *, filter: dict[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> Iterator[CheckpointTuple]:
        if config is None:
            return  # threads of other graphs are nobody's business
        place = config["configurable"]
        end = get_checkpoint_id(before) if before is not None else None
        count = 0
        for found in self._tuples(str(place["thread_id"]), place.get("checkpoint_ns")):
            if end is not None and found.checkpoint["id"] >= end:
                continue
            told: Any = found.metadata
            if filter and any(told.get(name) != value for name, value in filter.items()):
                continue
            if limit is not None and count >= limit:
                return
            count += 1
            yield found

    def delete_thread(self, thread_id: str) -> None:
        talk = self._talk(str(thread_id), make=False)
        if talk is not None:
            talk.delete()

    def _tuples(self, thread: str, space: str | None) -> Iterator[CheckpointTuple]:
        """Newest first; ids of checkpoints sort by time."""
        items = self._items(thread)
        kept = [item["content"] for item in items if item["type"] == CHECKPOINT]
        writes = [item["content"] for item in items if item["type"] == WRITE]
        for told in sorted(kept, key=lambda each: str(each["id"]), reverse=True):
            if space is not None and told["space"] != space:
                continue
            own = [each for each in writes if (each["space"], each["id"]) == (told["space"], told["id"])]
            own.sort(key=lambda each: (each["task"], each["number"]))
            yield CheckpointTuple(
                _config(thread, told["space"], told["id"]),
                self._unpacked(told),
                told["metadata"],
                _config(thread, told["space"], told["parent"]) if told["parent"] else None,
                [(each["task"], each["channel"], self._unpacked(each)) for each in own],
            )

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:  # fmt: skip
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def aget_tuple(self, config: Any) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self, config: Any, *, filter: dict[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> AsyncIterator[CheckpointTuple]:
        for found in await asyncio.to_thread(lambda: [*self.list(config, filter=filter, before=before, limit=limit)]):
            yield found


def _key(*names: str) -> str:
    """The names may hold letters that keys may not."""
    return "langgraph." + sha256("\0".join(names).encode()).hexdigest()


def _config(thread: str, space: str, id: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": space, "checkpoint_id": id}}
