"""Twin of engine/lanes/contexts.py (CRP 2.2): verbs, protocol, and that what is foreign is told like what is not."""

from __future__ import annotations

from typing import Any

import pytest
from plane_house import BASE, PlaneHouse, append, created, message, play, without_id

ASKS: list[tuple[str, str, Any]] = [
    ("GET", "", None), ("GET", "?view=meta", None), ("PATCH", "", append("x")), ("DELETE", "", None),
    ("GET", "/log", None), ("GET", "/diff", None), ("POST", "/rollback", {"to": "cv_01J9ZK3V7Q2M8N4R6T0W5X1Y3B"}),
    ("POST", "/revert", {"to": "cv_01J9ZK3V7Q2M8N4R6T0W5X1Y3B"}), ("POST", "/fork", {"branch": "b"}),
    ("POST", "/merge", {"from": "b"}), ("POST", "/redact", {"selector": {"ids": ["a"]}}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "rest", "body"), ASKS)
def test_foreign_tenant_foreign_subject_and_unknown_id_are_told_alike_5(method: str, rest: str, body: Any) -> None:
    """#5, AZ-bola-write, AZ-id-guess, CX-cross-tenant."""

    async def scene(house: PlaneHouse) -> None:
        id, version = await created(house, {"items": [message("secret")]}, "t/ada")
        unknown = await house.ask(method, f"{BASE}/ctx_01J9ZK3V7Q2M8N4R6T0W5X1Y3B{rest}", body, "t/ada")
        guessed = await house.ask(method, f"{BASE}/ctx_123{rest}", body, "t/ada")
        bodies = [without_id(unknown), without_id(guessed)]
        for who in ("t/bob", "other/ada", ""):
            heard = await house.ask(method, f"{BASE}/{id}{rest}", body, who)
            bodies.append(without_id(heard))
        assert unknown.status == 404 and unknown.code == "context_not_found"
        assert all(each == bodies[0] for each in bodies)
        seen = (await house.ask("GET", f"{BASE}/{id}", who="t/ada")).json
        assert seen["version"] == version and len(seen["items"]) == 1

    play(scene)


def test_discovery_tells_only_what_works_without_a_key_41() -> None:
    async def scene(house: PlaneHouse) -> None:
        heard = await house.ask("GET", "/.well-known/crp")
        told = heard.json
        assert told["crp"] == ["1"] and told["levels"] == ["implicit", "id", "delta", "merge"]
        assert len(told["ops"]) == 10 and told["policies"] == ["chat-default", "verbatim"]
        assert "dcz" not in told["content_encodings"] and told["dictionaries"] == []
        assert told["limits"]["body_bytes"] == 8 * 1024 * 1024 and told["durable"] is False
        assert not [name for name in heard.fields if name.startswith("mcp-")]

    play(scene)


def test_a_major_version_that_is_not_spoken_is_refused() -> None:
    async def scene(house: PlaneHouse) -> None:
        heard = await house.ask("GET", BASE, context_protocol="2")
        assert (heard.status, heard.code, heard.json["supported"]) == (400, "unsupported_protocol", ["1"])
        assert (await house.ask("GET", BASE, context_protocol="1")).status == 200

    play(scene)


def test_an_unknown_verb_a_wrong_method_and_an_unknown_member() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house)
        assert (await house.ask("GET", f"{BASE}/{id}/explode")).status == 404
        wrong = await house.ask("PUT", f"{BASE}/{id}", {})
        assert (wrong.status, wrong.fields["allow"]) == (405, "GET, PATCH, DELETE, HEAD")
        assert (await house.ask("POST", BASE, {"sesion_id": "x"})).code == "invalid_body"
        assert (await house.ask("PATCH", f"{BASE}/{id}", {"ops": []})).code == "invalid_body"
        assert (await house.ask("HEAD", f"{BASE}/{id}")).body == b""

    play(scene)
