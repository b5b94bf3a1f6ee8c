"""A gateway in memory whose one route keeps conversations: ``model_house`` with a repository behind it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from typing import Any

from conversation import House, Side, route, settle, upstream
from model_house import SPOKEN, MemoryBooks, ask, body_of, completion, models, target, whole
from model_house import model as model_plan

from tidegate.engine.contexts.repository import Repository
from tidegate.exchange.context_policy import ContextLimits, ContextPolicy
from tidegate.exchange.fault import Fault
from tidegate.exchange.identity import Identity
from tidegate.ports.contexts import ContextsPlan, RouteContexts
from tidegate.ports.models import CredentialPlan, DoorPlan, LlmPlan, ModelsPlan, ProviderPlan
from tidegate.ports.plan import HookPlan, TimeoutsPlan
from tidegate.repositories.memory import Config, Memory

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
DOORS = {"openai_chat": CHAT, "openai_responses": RESPONSES, "anthropic_messages": MESSAGES,
         "gemini_generate": "/v1beta/models/{model}:{action}"}  # fmt: skip


def speaker(number: int, dialect: str = "openai_chat", **settings: Any) -> ProviderPlan:
    """``p<number>``, whose one chat door speaks *dialect*."""
    door = DoorPlan("chat", SPOKEN[dialect], f"provider:p{number}", DOORS[dialect])
    credentials = (CredentialPlan("c1", (("authorization", f"Bearer key-{number}"),)),)
    return ProviderPlan(f"p{number}", "openai", dialect.split("_")[0], {"chat": door}, (door,),
                        credentials=credentials, **settings)  # fmt: skip


def one_model(dialect: str = "openai_chat", **settings: Any) -> ModelsPlan:
    return models(model_plan("fast", target(speaker(1, dialect))), dialects=SPOKEN, **settings)


class Clock:
    """The tools of a store, before there is a house whose time it is."""

    house: House

    def wall(self) -> float:
        return self.house.tools.wall()

    def token(self, size: int) -> bytes:
        return os.urandom(size)


async def open_contexts(
    plan: ModelsPlan, *, store: Any = None, route_contexts: RouteContexts | None = None, books: Any = None,
    outage: str = "fail_closed", limits: ContextLimits | None = None, **llm: Any,
) -> House:  # fmt: skip
    """The house. A request is from the consumer that its field ``x-who`` names, of tenant ``default``; from nobody
    without one."""

    def identify(x: Any) -> None:
        who = x.head.index.get("x-who", "")
        if who:
            x.identity = Identity(who, "api_key")

    ups = [
        upstream(f"provider:{name}", f"10.0.0.{name[1:]}:80", timeouts=TimeoutsPlan(request=600.0))
        for name in plan.providers
    ]
    of_route = route(
        "/", "", lane="llm", llm=LlmPlan(**llm), timeouts=TimeoutsPlan(request=600.0), encoded_slash=True,
        on_request_head=(HookPlan(identify, "who"),), body_limit=64 * 1024 * 1024,
        contexts=route_contexts or RouteContexts(),
    )  # fmt: skip
    clock = Clock() if store is None else store.clock
    if store is None:
        store = Memory(Config(), clock)  # type: ignore[arg-type]
    policies = {"chat-default": ContextPolicy("chat-default")}
    contexts = ContextsPlan(store, policies, outage=outage, limits=limits or ContextLimits())  # type: ignore[arg-type]
    house = clock.house = House([of_route], ups, models=plan, contexts=contexts)
    house.tools.books = books if books is not None else MemoryBooks()
    await house.open()
    await store.open()
    house.runtime.contexts = Repository(house.runtime, contexts)
    return house


def play(scene: Callable[[House], Coroutine[Any, Any, None]], plan: ModelsPlan, **settings: Any) -> None:
    """Play it; afterwards nothing is under way."""

    async def run() -> None:
        house = await open_contexts(plan, **settings)
        await scene(house)
        await settle()
        house.pass_time(3.0)
        await settle()
        house.at_rest()

    asyncio.run(run())


def heard(side: Side) -> tuple[int, dict[str, str], Any]:
    """What the client has been told: status, fields, JSON (None where there is none)."""
    data = side.hears()
    head, _, _ = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    body = body_of(data) if "json" in fields.get("content-type", "") else None
    return int(first.split()[1]), fields, body


class SlowStore:
    """A memory store whose methods can be held back, or fail, by name; ``calls`` counts."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.inner = Memory(Config(), self.clock)  # type: ignore[arg-type]
        self.name = "memory"
        self.durable = False
        self.instant = False
        self.gates: dict[str, asyncio.Event] = {}
        self.failing: set[str] = set()
        self.calls: list[str] = []

    def hold(self, name: str) -> asyncio.Event:
        """Calls of *name* wait until the event is set."""
        self.gates[name] = gate = asyncio.Event()
        return gate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def held(*args: Any, **named: Any) -> Any:
            if name != "open":
                self.calls.append(name)
            gate = self.gates.get(name)
            if gate is not None:
                await gate.wait()
            if name in self.failing:
                raise Fault("store_unavailable", "out")
            return await method(*args, **named)

        return held


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "fast", "messages": [{"role": "user", "content": text}], **more}


async def asks(house: House, client: Side, body: dict[str, Any], path: str = CHAT, **fields: str) -> Any:
    """The client asks; what a provider hears of it, None for nothing."""
    client.says(ask(body, path, **fields))
    for _ in range(3):  # a store that waits takes some turns of the loop
        await settle()
    for side in list(house.upstreams):
        sent = side.hears()
        if sent:
            house.upstreams.remove(side)
            house.upstreams.append(side)  # the one that is spoken to is the last
            return json.loads(sent.partition(b"\r\n\r\n")[2])
    return None


async def answers(house: House, client: Side, said: str, side: int = -1) -> tuple[int, dict[str, str], Any]:
    """The provider answers *said*; what the client hears."""
    house.upstreams[side].says(whole(200, completion(said)))
    await settle()
    return heard(client)


async def turn(
    house: House, client: Side, body: dict[str, Any], said: str, path: str = CHAT, **fields: str
) -> tuple[int, dict[str, str], Any, Any]:  # fmt: skip
    """A whole turn: status, fields and body for the client, and what the provider was asked (None for nothing)."""
    asked = await asks(house, client, body, path, **fields)
    if asked is None:
        return *heard(client), None
    return *(await answers(house, client, said)), asked


def texts(asked: Any) -> list[str]:
    """What a chat provider was asked, message by message."""
    return [message["content"] for message in asked["messages"]]
