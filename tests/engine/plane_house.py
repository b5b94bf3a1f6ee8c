"""A gateway with a context plane in memory: who asks is said in a field, answers come back read.

``open_plane`` gives a ``PlaneHouse``; its ``ask`` is one request of one client.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from conversation import House, Side, route, settle

from tidegate.engine.contexts.repository import Repository
from tidegate.exchange.context_policy import ContextLimits, ContextPolicy
from tidegate.exchange.identity import Identity
from tidegate.ports.contexts import ContextsPlan, RouteContexts
from tidegate.ports.plan import HookPlan
from tidegate.repositories.memory import Config, Memory

BASE = "/v1/contexts"
Play = Callable[["PlaneHouse"], Coroutine[Any, Any, None]]


class Heard:
    """One answer."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.fields: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            self.fields[name.lower()] = value

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        return self.json["code"]


def identify(x: Any) -> None:
    """``x-who: tenant/consumer`` is believed."""
    who = x.head.index.get("x-who", "")
    if who:
        tenant, _, consumer = who.partition("/")
        x.identity = Identity(consumer, "api_key", tenant=tenant)


class PlaneHouse:
    """One worker with a plane on ``/v1/contexts`` and its siblings. ``asks`` counts what the store was asked."""

    def __init__(self, house: House, store: Any, repository: Repository) -> None:
        self.house = house
        self.store = store
        self.repository = repository
        self.client: Side = house.client()

    async def ask(self, method: str, path: str, body: Any = None, who: str = "", side: Side | None = None,
                  **fields: str) -> Heard:  # fmt: skip
        """One request; *body* is JSON unless it is bytes."""
        data = await self.heard(method, path, body, who, side, **fields)
        return Heard(data)

    async def heard(self, method: str, path: str, body: Any = None, who: str = "", side: Side | None = None,
                    **fields: str) -> bytes:  # fmt: skip
        raw = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        lines = [f"{method} {path} HTTP/1.1", "Host: gw"]
        if who:
            lines.append(f"x-who: {who}")
        if body is not None:
            fields.setdefault("content_type", "application/json")
            lines.append(f"content-length: {len(raw)}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        asked = side if side is not None else self.client
        asked.says("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + raw)
        await settle()
        return asked.hears()


async def open_plane(
    store: Any = None, limits: ContextLimits | None = None, hot: int = 1 << 28, **settings: Any
) -> PlaneHouse:  # fmt: skip
    """Everybody may call; without ``x-who`` nobody is known."""
    plans = [
        route(prefix, "", lane="contexts", name=prefix, contexts=RouteContexts(plane=True, **settings),
              on_request_head=(HookPlan(identify, "who"),))
        for prefix in ("/v1/contexts", "/v1/context-templates", "/v1/context-dictionaries", "/.well-known/crp")
    ]  # fmt: skip
    house = House(plans)
    if store is None:
        store = Memory(Config(), house.tools.for_part("repository"))
    if hasattr(store, "clock"):
        store.clock.house = house
    policies = {name: ContextPolicy(name) for name in ("chat-default", "verbatim")}
    plan = ContextsPlan(store, policies, limits=limits or ContextLimits(), hot=hot)
    house.plan = dataclasses.replace(house.plan, contexts=plan)
    await house.open()
    repository = Repository(house.runtime, plan)
    house.runtime.contexts = repository
    return PlaneHouse(house, store, repository)


def message(text: str, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text}


def append(*texts: str, **more: Any) -> dict[str, Any]:
    return {"delta_updates": [{"op": "append", "items": [message(text) for text in texts]}], **more}


def play(scene: Play, **settings: Any) -> None:
    async def run() -> None:
        house = await open_plane(**settings)
        await scene(house)
        assert house.house.defects == []
        assert house.house.runtime.in_flight == 0

    asyncio.run(run())


async def created(house: PlaneHouse, body: Any = None, who: str = "") -> tuple[str, str]:
    heard = await house.ask("POST", BASE, body if body is not None else {}, who)
    assert heard.status == 201, heard.body
    return heard.json["id"], heard.json["version"]


def texts(heard: Heard) -> list[str]:
    return [item["content"] for item in heard.json["items"]]


def bare(item: dict[str, Any]) -> dict[str, Any]:
    return {name: told for name, told in item.items() if name not in ("rev", "digest")}


def without_id(heard: Heard) -> tuple[int, dict[str, Any]]:
    return heard.status, {name: told for name, told in heard.json.items() if name not in ("request_id", "trace_id")}
