"""Twin of engine/contexts/discovery.py (CRP 2.5, #41)."""

from __future__ import annotations

import dataclasses
from hashlib import sha256

from backports import zstd
from plane_house import BASE, PlaneHouse, play

from tidegate.engine.contexts.discovery import discovery, limits_object
from tidegate.exchange.context_policy import ContextLimits
from tidegate.ports.contexts import RouteContexts


def test_levels_are_those_that_some_route_serves_41() -> None:
    async def scene(house: PlaneHouse) -> None:
        plan = house.house.plan
        routes = tuple([dataclasses.replace(route, contexts=RouteContexts(levels=("id", "delta")))
                        for route in plan.routes])  # fmt: skip
        told = discovery(dataclasses.replace(plan, routes=routes), house.repository)
        assert told["levels"] == ["id", "delta"]
        none = tuple([dataclasses.replace(route, contexts=None) for route in plan.routes])
        assert discovery(dataclasses.replace(plan, routes=none), house.repository)["levels"] == []

    play(scene)


def test_a_dictionary_is_told_served_and_used_by_its_hash_40() -> None:
    async def scene(house: PlaneHouse) -> None:
        dictionary = b'{"items":[{"type":"message","role":"user","content":"'
        house.repository.offer("d", dictionary)
        house.repository.offer("d", dictionary)
        digest = sha256(dictionary)
        told = (await house.ask("GET", "/.well-known/crp")).json
        assert told["dictionaries"] == [
            {"name": "d", "sha256": digest.hexdigest(), "bytes": len(dictionary), "encoding": "application/json"}
        ]
        assert told["content_encodings"] == ["zstd", "dcz", "gzip", "br"]
        served = await house.ask("GET", "/v1/context-dictionaries/" + digest.hexdigest())
        assert served.body == dictionary and "immutable" in served.fields["cache-control"]
        assert (await house.ask("GET", "/v1/context-dictionaries/" + "0" * 64)).status == 404
        small = zstd.compress(dictionary + b'hi"}]}', zstd_dict=zstd.ZstdDict(dictionary, is_raw=True))
        body = bytes.fromhex("5e2a4d1820000000") + digest.digest() + small
        made = await house.ask("POST", BASE, body, content_encoding="dcz")
        assert (made.status, len(made.json["added"])) == (201, 1)
        unknown = await house.ask("POST", BASE, body[:8] + bytes(32) + small, content_encoding="dcz")
        assert (unknown.status, unknown.code) == (415, "dictionary_unknown")
        assert (await house.ask("POST", BASE, dictionary + b'hi"}]}')).status == 201

    play(scene)


def test_every_limit_in_force_is_shown() -> None:
    told = limits_object(ContextLimits(body=10, ops=3, ttl=60.0))
    assert (told["body_bytes"], told["ops"], told["ttl_seconds"]) == (10, 3, 60)
    assert len(told) == 22
    assert all(isinstance(value, (int, float)) for value in told.values())
