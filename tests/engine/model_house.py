"""A gateway to models in memory: providers as data, real dialects, books that remember, and the conversation harness.

``models(...)`` builds a ``ModelsPlan``; ``open_house`` a ``House`` with one route to it. A provider ``p1`` listens on
``10.0.0.1:80`` and so on.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import pkgutil
from collections.abc import Callable, Coroutine
from typing import Any

from conversation import House, Side, route, settle, upstream

import tidegate.dialects
from tidegate.assembly.facts import Facts, FactTable
from tidegate.dialects.anthropic_messages import AnthropicMessages
from tidegate.dialects.openai_chat import OpenaiChat
from tidegate.exchange.chat import Usage
from tidegate.exchange.identity import Identity
from tidegate.exchange.ledger import LedgerRecord
from tidegate.ports.books import BudgetLevel, Refused
from tidegate.ports.dialect import Voice
from tidegate.ports.models import (
    CallerPlan,
    CatalogueRow,
    CredentialPlan,
    DoorPlan,
    LlmPlan,
    ModelPlan,
    ModelsPlan,
    ModelTargetPlan,
    PriceRow,
    ProviderPlan,
)
from tidegate.ports.plan import HookPlan, TimeoutsPlan
from tidegate.strategies.fallback import Config, Fallback

CHAT = OpenaiChat()
ANTHROPIC = AnthropicMessages()
DIALECTS: dict[str, Any] = {"openai_chat": CHAT, "anthropic_messages": ANTHROPIC}
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini_generate": "/v1beta/models/{model}:{action}",
    "bedrock_converse": "/model/{model}/{action}",
    "cohere_chat": "/v2/chat",
    "ollama_chat": "/api/chat",
}


def found_dialects() -> dict[str, Any]:
    found = {}
    for module in pkgutil.iter_modules(tidegate.dialects.__path__):
        if module.name in PATHS:
            name = "".join(word.capitalize() for word in module.name.split("_"))
            found[module.name] = getattr(importlib.import_module(f"tidegate.dialects.{module.name}"), name)()
    return found


SPOKEN = found_dialects()
"""Every chat dialect there is, by name."""

PRICE = PriceRow("row", {"input": 1_000_000_000, "output": 2_000_000_000})
"""1,000 n$ a token in, 2,000 out."""


def provider(number: int, dialect: Any = CHAT, **settings: Any) -> ProviderPlan:
    """``p<number>`` with one chat door in *dialect*."""
    path = "/v1/messages" if dialect is ANTHROPIC else "/v1/chat/completions"
    door = DoorPlan("chat", dialect, f"provider:p{number}", path)
    settings.setdefault("credentials", (CredentialPlan("c1", (("authorization", f"Bearer key-{number}"),)),))
    doors = {"chat": door, **settings.pop("doors", {})}
    return ProviderPlan(
        f"p{number}", "openai", "openai" if dialect is CHAT else "anthropic", doors, (door,), **settings
    )


def target(to: ProviderPlan, model: str = "up-model", index: int = 0, **settings: Any) -> ModelTargetPlan:
    name = to.chat_doors[0].dialect.name if to.chat_doors and to.chat_doors[0].dialect else ""
    settings.setdefault("price", PRICE)
    settings.setdefault("catalogue", CatalogueRow())
    return ModelTargetPlan(index, to, model, {name: Voice(vendor=to.vendor, model=model)}, **settings)


def model(name: str, *targets: ModelTargetPlan, **settings: Any) -> ModelPlan:
    settings.setdefault("strategy", Fallback(Config()))
    return ModelPlan(name, targets, **settings)


class NamedCallers(dict[str, CallerPlan]):
    """Callers written down by name: a consumer, or ``consumer/key_id``."""

    def of(self, consumer: str, key_id: str, tenant: str) -> CallerPlan:
        return self.get(f"{consumer}/{key_id}") or self.get(consumer) or CallerPlan(consumer, tenant)


def models(*plans: ModelPlan, **settings: Any) -> ModelsPlan:
    providers = {t.provider.name: t.provider for p in plans for t in p.targets}
    exact = {p.name: p for p in plans if "*" not in p.name}
    patterns = tuple(sorted(((p.name[:-1], p) for p in plans if "*" in p.name), key=lambda item: -len(item[0])))
    settings["callers"] = NamedCallers(settings.get("callers", {}))
    settings.setdefault("dialects", DIALECTS)
    settings.setdefault("facts", Facts(FactTable()))
    return ModelsPlan(exact, patterns, providers, **settings)


async def open_house(plan: ModelsPlan, *, who: str = "", books: Any = None, **llm: Any) -> House:
    """A gateway with one route on ``/``; every request comes from the consumer *who*."""

    def identify(x: Any) -> None:
        if who:
            consumer, _, key_id = who.partition("/")
            x.identity = Identity(consumer, "api_key", key_id=key_id)

    ups = [
        upstream(f"provider:{name}", f"10.0.0.{name[1:]}:80", timeouts=TimeoutsPlan(request=600.0))
        for name in plan.providers
    ]
    timeouts = TimeoutsPlan(request=llm.pop("request", 600.0))
    of_route = route(
        "/", "", lane="llm", llm=LlmPlan(**llm), timeouts=timeouts,
        encoded_slash=True, on_request_head=(HookPlan(identify, "who"),), body_limit=64 * 1024 * 1024,
    )  # fmt: skip
    house = House([of_route], ups, models=plan)
    house.tools.books = books
    return await house.open()


def ask(body: dict[str, Any] | str, path: str = "/v1/chat/completions", **fields: str) -> str:
    """A POST with that JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\nHost: gw\r\n{lines}content-length: {len(text.encode())}\r\n\r\n{text}"


def chat(name: str = "fast", **more: Any) -> dict[str, Any]:
    return {"model": name, "messages": [{"role": "user", "content": "hi"}], **more}


def whole(status: int, body: Any, *lines: str) -> str:
    """A whole JSON answer of an upstream."""
    text = body if isinstance(body, str) else json.dumps(body)
    more = "".join(line + "\r\n" for line in lines)
    more += f"content-length: {len(text.encode())}\r\n"
    return f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}\r\n{text}"


def completion(text: str = "hello", **more: Any) -> dict[str, Any]:
    """A chat completion that used 10 tokens in and 5 out."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up-model-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, **more,
    }  # fmt: skip


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> str:
    """One event of a chat stream; *delta* None: the usage chunk."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "up-model-2026",
        "choices": choices,
    }
    return f"data: {json.dumps({**body, **more})}\n\n"


STREAM_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
USAGE = chunk(None, usage={"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
DONE = "data: [DONE]\n\n"


def piece(text: str) -> str:
    """One HTTP chunk."""
    return f"{len(text.encode()):x}\r\n{text}\r\n"


END = "0\r\n\r\n"


def body_of(answer: bytes) -> Any:
    head, _, body = answer.partition(b"\r\n\r\n")
    told = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
    assert not told or int(told) == len(body), head
    return json.loads(body)


def unchunked(data: bytes) -> bytes:
    """The bytes of a chunked body as far as it has come."""
    out = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        out += rest[:length]
        data = rest[length + 2 :]
    return out


def asked_of(side: Side) -> tuple[str, dict[str, str], Any]:
    """(request line, fields, body) of the one request an upstream has heard."""
    head, _, body = side.hears().partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), json.loads(body) if body else None


class FakeTokens:
    """Counts *by* a function; ``asked`` are the tokenizers of every text that is one."""

    def __init__(self, by: Callable[[str], int] = len) -> None:
        self.by = by
        self.asked: list[str] = []

    def count(self, text: str, tokenizer: str = "") -> int:
        if not text:
            return 0
        self.asked.append(tokenizer)
        return self.by(text)


class Kept:
    """A reservation that remembers."""

    def __init__(self, books: MemoryBooks, id: str, amount: int) -> None:
        self.books = books
        self.id = id
        self.amount = amount
        self.ended = 0
        self.marks: list[Usage] = []

    def mark(self, usage: Usage) -> None:
        self.marks.append(usage)

    def settle(self, record: LedgerRecord) -> Any:
        self.ended += 1
        if self.books.broken is not None:
            raise self.books.broken
        self.books.spent += record.cost
        self.books.records.append(record)

    def release(self, record: LedgerRecord | None = None) -> None:
        self.ended += 1
        self.books.released.append(record)


class MemoryBooks:
    """Books of one budget of *limit* n$."""

    def __init__(self, limit: int = 10**12) -> None:
        self.limit = limit
        self.spent = 0
        self.broken: BaseException | None = None
        self.records: list[LedgerRecord] = []
        self.released: list[LedgerRecord | None] = []
        self.reservations: list[Kept] = []

    def exhausted(self, levels: tuple[BudgetLevel, ...]) -> Refused | None:
        return Refused(levels[0].id, self.limit, self.spent, 60.0) if self.spent >= self.limit else None

    def reserve(self, id: str, levels: Any, amount: int, model: str, deadline: float) -> Any:
        if levels and self.spent + amount > self.limit:
            return Refused(levels[0].id, self.limit, self.spent, 60.0)
        kept = Kept(self, id, amount)
        self.reservations.append(kept)
        return kept

    def standing(self, level: BudgetLevel) -> tuple[int, int]:
        return self.spent, self.limit - self.spent

    def at_rest(self) -> None:
        assert [r.ended for r in self.reservations] == [1] * len(self.reservations)


def caller(name: str = "bob", **settings: Any) -> dict[str, CallerPlan]:
    return {name: CallerPlan(name, **settings)}


Play = Callable[[House, Side, MemoryBooks], Coroutine[Any, Any, None]]


def scene(play: Play, plan: ModelsPlan, *, limit: int = 10**12, **settings: Any) -> MemoryBooks:
    """Play it in a fresh house; afterwards nothing is under way, and every reservation has ended once."""
    books = MemoryBooks(limit)

    async def run() -> None:
        house = await open_house(plan, books=books, **settings)
        await play(house, house.client(), books)
        await settle()
        house.pass_time(3.0)
        house.at_rest()
        assert house.runtime.models.busy == {}
        assert [f.in_flight for f in house.runtime.models.figures.values() if f.in_flight] == []
        books.at_rest()

    asyncio.run(run())
    return books


ONE = models(model("fast", target(provider(1))))
TWO = models(model("fast", target(provider(1)), target(provider(2), "other", 1)))
