"""Models for abuse cases: providers that are ports of the mock, the mock's book, and invariant I9.

The mock bills every whole answer it gives (``bill``, n$); the ledger is read as it lies on disk. Nothing here imports
gateway code.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from abuse.gateway import Gateway, until
from abuse.talk import request

if TYPE_CHECKING:
    from abuse.runner import World

INPUT, OUTPUT = 10, 5
"""Tokens that the mock says it read and wrote."""
PRICE = {"input": 1, "output": 2}
"""USD per million."""
BILL = INPUT * 1_000 + OUTPUT * 2_000
"""n$ of one answer."""
PATH = "/v1/chat/completions"


def provider(world: World, name: str, port: str) -> dict[str, Any]:
    """A provider at *port* of the mock, under a path of its own: ``page`` says what it answers."""
    return {"name": name, "use": "openai_compatible", "base_url": f"http://127.0.0.1:{world.mock.ports[port]}/{name}/v1",
            "api_key": f"upstream-{name}", "price": PRICE}  # fmt: skip


def surface(world: World, models: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    """A config with a model surface: model → names of its providers, whose first letter is their port."""
    names = dict.fromkeys(name for targets in models.values() for name in targets)
    key = {"use": "api_key"}
    for name in names:
        answering(world, name)
    config = world.small(
        providers=[provider(world, name, name[0]) for name in names],
        models=[
            {"name": model, "targets": [{"provider": name, "model": "up"} for name in targets],
             "strategy": {"use": "fallback", "retry": 0}}
            for model, targets in models.items()
        ],
        routes=[
            {"name": "models", "match": {"path": "/v1"}, "filters": [key], "llm": {}},
            {"name": "tokenize", "match": {"path": "/tokenize"}, "filters": [key], "llm": {}},
        ],
        **more,
    )  # fmt: skip
    for consumer in config["consumers"]:
        consumer["budget"] = {"usd": 1000, "per": "month"}  # something to reserve from
    return config


def answering(world: World, name: str, status: int = 200, fields: Iterable[tuple[str, str]] = ()) -> None:
    """Let provider *name* answer: with a completion, or with this status and these fields."""
    content: dict[str, Any] = {"error": {"message": "native", "type": "t"}}
    if status == 200:
        message = {"role": "assistant", "content": "hello"}
        content = {
            "id": "c-1", "object": "chat.completion", "created": 1, "model": "up",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT},
        }  # fmt: skip
    data = base64.b64encode(json.dumps(content).encode()).decode()
    world.mock.ask("page", path=f"/{name}{PATH}", behaviour={
        "kind": "status", "status": status, "data": data, "bill": BILL if status == 200 else 0,
        "fields": [["content-type", "application/json"], *map(list, fields)],
    })  # fmt: skip


def body(content: str, model: str = "mock-a") -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}).encode()


def warm(gateway: Gateway, key: list[tuple[str, str]], model: str = "mock-a") -> None:
    """Let every worker open its part of the ledger."""
    fields = [*key, ("Content-Type", "application/json")]

    def all_write() -> bool:
        assert request(gateway.port, "POST", PATH, fields, body("hi", model)).status == 200
        return len(list((gateway.data / "ledger").glob("*.log"))) >= gateway.config["workers"]

    until(all_write, 10.0, "every worker has a segment")


def lines(gateway: Gateway) -> list[dict[str, Any]]:
    """Every whole line of the ledger."""
    found = []
    for segment in sorted((gateway.data / "ledger").glob("*.log")):
        for raw in segment.read_bytes().split(b"\n")[:-1]:
            if len(raw) > 9 and raw[:8].isalnum() and int(raw[:8], 16) == zlib.crc32(raw[9:]):
                found.append(json.loads(raw[9:]))
    return found


def records(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """The record of each call, by id."""
    return {line["record"]["id"]: line["record"] for line in lines(gateway) if line["kind"] == "done"}


def spent(gateway: Gateway) -> int:
    """n$ as the operator is told."""
    whole, _, rest = gateway.ask("/api/v1/usage").json()["total"]["cost_usd"].partition(".")
    return int(whole) * 10**9 + int(rest.ljust(9, "0"))


def balanced(gateway: Gateway, before: set[str], calls: list[dict[str, Any]]) -> None:
    """I9: what the ledger books of this variant is what the mock billed, but for rows marked as estimates, and no
    reservation stays open."""
    billed = sum(call.get("bill", 0) for call in calls if call["end"] == "complete")

    def state() -> tuple[int, int, int]:
        found = lines(gateway)
        done = [line["record"] for line in found if line["kind"] == "done" and line["record"]["id"] not in before]
        closed = {record["id"] for record in done} | before
        closed |= {line["id"] for line in found if line["kind"] == "fix"}
        booked = [record for record in done if "estimated" not in record.get("flags", ())]
        left = [line for line in found if line["kind"] == "open" and line["id"] not in closed]
        return sum(record.get("cost", 0) for record in booked), len(done) - len(booked), len(left)

    def settled() -> bool:
        booked, estimates, left = state()
        return not left and (booked == billed if not estimates else booked <= billed)

    try:
        until(settled, 3.0)
    except AssertionError:
        raise AssertionError(f"I9: billed {billed}, (booked, estimates, open) {state()}") from None
