"""Twin of engine/contexts/plane_template.py (CRP 9)."""

from __future__ import annotations

from plane_house import PlaneHouse, play

from tidegate.exchange.context_policy import ContextLimits


def test_a_template_is_immutable_under_its_number() -> None:
    async def scene(house: PlaneHouse) -> None:
        url = "/v1/context-templates/air"
        body = {"name": "air", "system": "You serve."}
        assert (await house.ask("PUT", url + "@1", body)).status == 201
        assert (await house.ask("PUT", url + "@1", body)).status == 200
        assert (await house.ask("PUT", url + "@1", {**body, "system": "Other."})).status == 409
        assert (await house.ask("PUT", url + "@2", {**body, "system": "Other."})).status == 201
        assert (await house.ask("GET", url + "@latest")).json["ref"] == "air@2"
        assert (await house.ask("GET", url + "@1")).json["template"] == body
        for path in (url + "@3", "/v1/context-templates/none@latest"):
            assert (await house.ask("GET", path)).code == "template_not_found"
        assert (await house.ask("GET", url + "@1", who="other/ada")).status == 404

    play(scene)


def test_what_the_compiler_refuses_is_not_kept_52() -> None:
    async def scene(house: PlaneHouse) -> None:
        url = "/v1/context-templates/air@1"
        clock = {"slots": {"now": {"from": "clock", "stable": False}}, "system": "Now: {{now}}"}
        heard = await house.ask("PUT", url, clock)
        assert heard.status == 422, heard.body
        assert (await house.ask("GET", url)).code == "template_not_found"
        assert (await house.ask("PUT", url, {"name": "sea", "system": "x"})).code == "invalid_body"
        assert (await house.ask("PUT", url, [1])).code == "invalid_body"
        long = {"system": "x" * 300}
        assert (await house.ask("PUT", url, long)).code == "too_large"

    play(scene, limits=ContextLimits(template=200))
