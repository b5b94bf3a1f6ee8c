"""Twin of engine/contexts/plane.py (CRP 6.3, 14): bodies read once, answers in the encoding asked for."""

from __future__ import annotations

import msgspec
import pytest
from plane_house import BASE, PlaneHouse, message, play

from tidegate.exchange.context_policy import ContextLimits


def test_messagepack_in_and_out_37() -> None:
    async def scene(house: PlaneHouse) -> None:
        body = msgspec.msgpack.encode({"items": [message("hi")], "state": {"a": 1}})
        heard = await house.ask("POST", BASE, body, content_type="application/msgpack", accept="application/msgpack")
        assert heard.status == 201
        told = msgspec.msgpack.decode(heard.body)
        seen = await house.ask("GET", f"{BASE}/{told['id']}", accept="application/msgpack")
        assert seen.fields["content-type"] == "application/msgpack"
        assert seen.fields["etag"] == f'"{told["version"]}.0.msgpack"'
        assert msgspec.msgpack.decode(seen.body)["items"][0]["content"] == "hi"

    play(scene)


@pytest.mark.parametrize(
    "body", [b'{"items":[],"items":[]}', b'{"state":{"a":NaN}}', b"[" * 65 + b"]" * 65, b"{", b"[]"]
)
def test_what_does_not_pass_the_gate_never_reaches_the_store_38(body: bytes) -> None:
    async def scene(house: PlaneHouse) -> None:
        heard = await house.ask("POST", BASE, body)
        assert (heard.status, heard.code) == (400, "invalid_body")
        assert house.store.figures()["contexts"] == 0

    play(scene)


def test_a_body_one_byte_beyond_the_limit_is_too_large_41() -> None:
    async def scene(house: PlaneHouse) -> None:
        body = b'{"state":{"a":"' + b"x" * 80 + b'"}}'
        assert len(body) == 98
        assert (await house.ask("POST", BASE, body)).status == 201
        heard = await house.ask("POST", BASE, body + b" " * 3)
        assert (heard.status, heard.code) == (413, "too_large")

    play(scene, limits=ContextLimits(body=100))
