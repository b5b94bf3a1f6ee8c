"""Twin of engine/contexts/plane_read.py (CRP 2.2): views, lists, differences."""

from __future__ import annotations

from plane_house import BASE, PlaneHouse, append, created, message, play


def test_a_view_shows_what_it_is_asked_for() -> None:
    async def scene(house: PlaneHouse) -> None:
        items = [message("hi"), {"type": "fact", "key": "trip.day", "content": "Monday"}]
        id, _ = await created(house, {"items": items, "state": {"a": 1}})
        only = (await house.ask("GET", f"{BASE}/{id}?view=items")).json
        assert "state" not in only and len(only["items"]) == 2
        state = (await house.ask("GET", f"{BASE}/{id}?view=state")).json
        assert "items" not in state and state["state"] == {"a": 1}
        picked = (await house.ask("GET", f"{BASE}/{id}?view=items&select=%7B%22key%22:%22trip.*%22%7D")).json
        assert [item["key"] for item in picked["items"]] == ["trip.day"]
        for bad in ("view=all", "select=%7B", "select=%7B%22x%22:1%7D", "as_of=now", "branch=A%20B"):
            assert (await house.ask("GET", f"{BASE}/{id}?{bad}")).code == "invalid_body"

    play(scene)


def test_own_contexts_are_listed_newest_first_in_pages() -> None:
    async def scene(house: PlaneHouse) -> None:
        made = []
        for number in range(3):
            made.append((await created(house, {"session_id": f"s{number}"}, "t/ada"))[0])
            house.house.now += 1.0
        await created(house, {}, "t/bob")
        page = (await house.ask("GET", BASE + "?limit=2", who="t/ada")).json
        assert [each["id"] for each in page["data"]] == [made[2], made[1]] and page["has_more"] is True
        rest = (await house.ask("GET", f"{BASE}?after={page['last_id']}", who="t/ada")).json
        assert [each["id"] for each in rest["data"]] == [made[0]] and rest["has_more"] is False
        named = (await house.ask("GET", BASE + "?session_id=s1", who="t/ada")).json
        assert [each["id"] for each in named["data"]] == [made[1]]

    play(scene)


def test_a_foreign_version_is_as_unknown_as_one_that_never_was() -> None:
    async def scene(house: PlaneHouse) -> None:
        _, foreign = await created(house, {}, "t/bob")
        id, _ = await created(house, {}, "t/ada")
        codes = [
            (await house.ask("GET", f"{BASE}/{id}?at={at}", who="t/ada")).code
            for at in (foreign, "cv_01J9ZK3V7Q2M8N4R6T0W5X1Y3B", "nonsense")
        ]
        assert codes == ["version_not_found"] * 3

    play(scene)


def test_the_difference_of_two_versions_is_a_delta() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house, {"items": [{"type": "fact", "key": "k", "content": 1}]})
        url = f"{BASE}/{id}"
        last = (await house.ask("PATCH", url, append("a"))).json["version"]
        told = (await house.ask("GET", f"{url}/diff?from={first}&to={last}")).json
        assert [op["op"] for op in told["delta_updates"]] == ["append"]
        assert told["delta_updates"][0]["items"][0]["content"] == "a"
        same = (await house.ask("GET", f"{url}/diff?from={last}&to={last}")).json
        assert same["delta_updates"] == []

    play(scene)
