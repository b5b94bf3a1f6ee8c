"""Twin of engine/contexts/adding.py (CRP 5.2, 5.5, 5.6): order, conflicts and repeats of entries without a call."""

from __future__ import annotations

from plane_house import BASE, PlaneHouse, append, created, play

from tidegate.exchange.context_log import Asker, Begin
from tidegate.exchange.context_policy import ContextLimits
from tidegate.wire.context_entry import settled_commit


def test_a_stale_parent_is_409_with_the_head_and_all_that_is_missing_25() -> None:
    """#25: one more round trip suffices."""

    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house)
        url = f"{BASE}/{id}"
        second = (await house.ask("PATCH", url, append("one"))).json["version"]
        third = (await house.ask("PATCH", url, {"delta_updates": [
            {"op": "put", "item": {"type": "fact", "key": "k", "content": 1}}]})).json["version"]  # fmt: skip
        heard = await house.ask("PATCH", url, append("late", parent=first))
        assert (heard.status, heard.code) == (409, "context_conflict")
        assert heard.fields["x-should-retry"] == "false" and "retry-after" not in heard.fields
        told = heard.json["context"]
        assert (told["id"], told["head"]) == (id, third)
        assert [each["version"] for each in told["missing"]] == [second, third]
        assert told["missing"][0]["ops"][0]["items"][0]["content"] == "one"
        assert "missing_truncated" not in told
        rest = [op for each in told["missing"] for op in each["ops"]]
        assert len(rest) == 2 and rest[1]["op"] in ("put", "append")
        good = await house.ask("PATCH", url, append("late", parent=told["head"]))
        assert good.status == 200

    play(scene)


def test_a_conflict_tells_a_hundred_versions_at_most() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house)
        for number in range(101):
            await house.ask("PATCH", f"{BASE}/{id}", append(str(number)))
        told = (await house.ask("PATCH", f"{BASE}/{id}", append("late", parent=first))).json["context"]
        assert len(told["missing"]) == 100 and told["missing_truncated"] is True

    play(scene)


def test_the_same_key_makes_one_version_and_another_body_is_a_mismatch() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house)
        url = f"{BASE}/{id}"
        one = await house.ask("PATCH", url, append("a"), idempotency_key="k1")
        two = await house.ask("PATCH", url, append("a"), idempotency_key="k1")
        assert one.json["version"] == two.json["version"] and two.fields["context-replayed"] == "?1"
        other = await house.ask("PATCH", url, append("b"), idempotency_key="k1")
        assert (other.status, other.code) == (422, "idempotency_mismatch")
        first = await house.ask("POST", BASE, {"state": {}}, idempotency_key="k2")
        again = await house.ask("POST", BASE, {"state": {}}, idempotency_key="k2")
        assert first.json["id"] == again.json["id"] and again.fields["context-replayed"] == "?1"

    play(scene)


def test_a_turn_in_flight_is_named_and_says_when_to_come_again_28() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house)
        turn = Begin(version="cv_01J9ZK3V7Q2M8N4R6T0W5X1Y3B", parent=first, fork="~01J9ZK3V7Q2M8N4R6T0W5X1Y3B",
                     fp=b"f", input=settled_commit("cv_x", 1), settled=settled_commit("cv_x", 1))  # fmt: skip
        begun = await house.store.begin(Asker("default", all=True), id, turn)
        assert begun.outcome == "ok"
        for method, rest, body in (("PATCH", "", append("x")), ("POST", "/revert", {"to": first})):
            heard = await house.ask(method, f"{BASE}/{id}{rest}", body)
            assert (heard.status, heard.code) == (409, "turn_in_progress")
            assert heard.json["context"] == {"id": id, "turn": turn.version}
            assert heard.fields["x-should-retry"] == "true" and int(heard.fields["retry-after"]) >= 1

    play(scene, limits=ContextLimits(queue=0.0))
