"""Twin of engine/contexts/plane_log.py (CRP 2.2, 14): pages of the log and its live tail."""

from __future__ import annotations

import asyncio

from plane_house import BASE, PlaneHouse, append, created, play

from tidegate.exchange.context_policy import ContextLimits


def test_the_log_is_read_in_pages_from_a_version_on() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house)
        url = f"{BASE}/{id}"
        second = (await house.ask("PATCH", url, append("a"))).json["version"]
        third = (await house.ask("PATCH", url, append("b"))).json["version"]
        whole = (await house.ask("GET", url + "/log")).json
        assert [entry["version"] for entry in whole["data"]] == [first, second, third]
        assert whole["data"][1]["changes"][0]["items"][0]["content"] == "a"
        rest = (await house.ask("GET", f"{url}/log?after={second}")).json
        assert [entry["version"] for entry in rest["data"]] == [third] and rest["has_more"] is False
        page = (await house.ask("GET", f"{url}/log?limit=1")).json
        assert page["has_more"] is True and page["last_seq"] == 1
        assert (await house.ask("GET", f"{url}/log?after_seq=2")).json["data"][0]["version"] == third

    play(scene)


def test_a_tail_tells_what_others_do_as_they_do_it() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house)
        other = house.house.client()
        data = await house.heard("GET", f"{BASE}/{id}/log?after={first}", side=other, accept="text/event-stream")
        assert b"content-type: text/event-stream" in data and b"data:" not in data
        made = (await house.ask("PATCH", f"{BASE}/{id}", append("news"))).json["version"]
        for _ in range(20):
            await asyncio.sleep(0)
        told = other.hears()
        assert b"event: delta" in told and made.encode() in told and b"id: 2" in told and b"news" in told
        await house.ask("DELETE", f"{BASE}/{id}")
        for _ in range(20):
            await asyncio.sleep(0)
        assert b'event: error\ndata: {"code":"context_deleted"}' in other.hears()

    play(scene)


def test_there_are_only_so_many_tails_41() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house)
        sides = [house.house.client() for _ in range(3)]
        heard = [await house.heard("GET", f"{BASE}/{id}/log", side=side, accept="text/event-stream") for side in sides]
        assert [each[:12] for each in heard] == [b"HTTP/1.1 200", b"HTTP/1.1 200", b"HTTP/1.1 429"]
        for side in sides:
            side.leaves()
        for _ in range(20):
            await asyncio.sleep(0)

    play(scene, limits=ContextLimits(tails=2))
