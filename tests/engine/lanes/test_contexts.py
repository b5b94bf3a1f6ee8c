"""The lane of the context plane (CRP 2.2): every verb over HTTP, on a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from plane_house import Heard, PlaneHouse, append, message, open_plane

from tidegate.exchange.context_policy import ContextLimits

BASE = "/v1/contexts"
Play = Callable[[PlaneHouse], Coroutine[Any, Any, None]]


def play(scene: Play, **settings: Any) -> None:
    async def run() -> None:
        house = await open_plane(**settings)
        await scene(house)
        assert house.house.defects == []
        assert house.house.runtime.in_flight == 0

    asyncio.run(run())


async def created(house: PlaneHouse, body: Any = None, who: str = "") -> tuple[str, str]:
    heard = await house.ask("POST", BASE, body if body is not None else {}, who)
    assert heard.status == 201, heard.body
    return heard.json["id"], heard.json["version"]


# -- create, view, list


def test_a_context_is_made_with_its_first_empty_version() -> None:
    async def scene(house: PlaneHouse) -> None:
        heard = await house.ask("POST", BASE)
        assert heard.status == 201
        told = heard.json
        assert told["id"].startswith("ctx_") and told["version"].startswith("cv_")
        assert heard.fields["etag"] == f'"{told["version"]}.0"'
        assert heard.fields["location"] == f"{BASE}/{told['id']}"
        assert heard.fields["context-protocol"] == "1"
        seen = await house.ask("GET", f"{BASE}/{told['id']}")
        assert seen.status == 200 and seen.fields["etag"] == heard.fields["etag"]
        assert (seen.json["items"], seen.json["state"], seen.json["version"]) == ([], {}, told["version"])
        assert seen.json["digest"] == told["digest"]
        again = await house.ask("GET", f"{BASE}/{told['id']}", if_none_match=seen.fields["etag"])
        assert (again.status, again.body) == (304, b"")

    play(scene)


def test_a_history_is_imported_with_state_and_policy() -> None:
    async def scene(house: PlaneHouse) -> None:
        heard = await house.ask("POST", BASE, {
            "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
            "state": {"n": 1.50}, "policy": "verbatim", "session_id": "u:1", "ttl": 60, "privacy": "personal",
        })  # fmt: skip
        assert (heard.status, len(heard.json["added"])) == (201, 2)
        assert heard.json["privacy"] == "personal"
        seen = (await house.ask("GET", f"{BASE}/{heard.json['id']}")).json
        assert [(item["role"], item["content"]) for item in seen["items"]] == [("user", "hi"), ("assistant", "hello")]
        assert (seen["state"], seen["policy"]) == ({"n": 1.5}, "verbatim")
        meta = (await house.ask("GET", f"{BASE}/{heard.json['id']}?view=meta")).json
        assert meta["session_ids"] == ["u:1"] and meta["expires_at"] is not None

    play(scene)


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


# -- who may see what

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


def without_id(heard: Heard) -> tuple[int, dict[str, Any]]:
    return heard.status, {name: told for name, told in heard.json.items() if name not in ("request_id", "trace_id")}


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


def test_a_context_of_the_tenant_is_seen_by_all_its_consumers() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {"access": "tenant"}, "t/ada")
        assert (await house.ask("GET", f"{BASE}/{id}", who="t/bob")).status == 200
        assert (await house.ask("GET", f"{BASE}/{id}", who="u/bob")).status == 404
        assert (await house.ask("POST", BASE, {"access": "group"}, "t/ada")).code == "invalid_body"

    play(scene)


# -- changes


def test_a_delta_makes_a_version_without_a_model() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house)
        heard = await house.ask("PATCH", f"{BASE}/{id}", append("one", parent=first))
        assert heard.status == 200, heard.body
        told = heard.json
        assert (told["parent"], told["branch"], told["warnings"], len(told["added"])) == (first, "main", [], 1)
        assert heard.fields["etag"] == f'"{told["version"]}.0"'
        seen = (await house.ask("GET", f"{BASE}/{id}")).json
        assert (seen["version"], seen["digest"]) == (told["version"], told["digest"])
        old = (await house.ask("GET", f"{BASE}/{id}?at={first}")).json
        assert old["items"] == []

    play(scene)


def test_a_delta_whose_last_op_fails_leaves_everything_as_it_was_11() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {"items": [message("hi")]})
        before = (await house.ask("GET", f"{BASE}/{id}")).body
        heard = await house.ask("PATCH", f"{BASE}/{id}", {"delta_updates": [
            {"op": "append", "items": [message("more")]}, {"op": "remove", "id": "it_none"}]})  # fmt: skip
        assert (heard.status, heard.code) == (422, "delta_invalid")
        assert heard.json["errors"] == [{"op": 1, "reason": "target_missing", "pointer": "/id"}]
        assert (await house.ask("GET", f"{BASE}/{id}")).body == before

    play(scene)


def test_state_is_changed_in_the_words_of_both_patches() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {"state": {"a": 1}})
        url = f"{BASE}/{id}"
        steps = b'[{"op":"test","path":"/a","value":1.0},{"op":"add","path":"/b","value":[1.10]}]'
        assert (await house.ask("PATCH", url, steps, content_type="application/json-patch+json")).status == 200
        merged = await house.ask("PATCH", url, {"a": None, "c": "x"}, content_type="application/merge-patch+json")
        assert merged.status == 200
        heard = await house.ask("GET", url + "?view=state")
        assert heard.json["state"] == {"b": [1.1], "c": "x"} and b"[1.10]" in heard.body
        failed = await house.ask("PATCH", url, [{"op": "test", "path": "/c", "value": 1}],
                                 content_type="application/json-patch+json")  # fmt: skip
        assert failed.json["errors"] == [{"op": 0, "reason": "patch_failed", "pointer": "/patch/0"}]

    play(scene)


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


def test_if_match_counts_what_stands_before_the_dot() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house)
        url = f"{BASE}/{id}"
        good = await house.ask("PATCH", url, append("a"), if_match=f'"{first}.7"')
        assert good.status == 200
        stale = await house.ask("PATCH", url, append("b"), if_match=f'"{first}.0"')
        assert (stale.status, stale.code) == (412, "precondition_failed")
        assert stale.json["context"]["head"] == good.json["version"]
        assert (await house.ask("PATCH", url, append("b"), if_match="*")).status == 200
        both = await house.ask("PATCH", url, append("c", parent=first), if_match=f'"{good.json["version"]}"')
        assert both.status in (400, 412)

    play(scene)


def test_rebase_and_fork_of_a_stale_delta_30() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house, {"state": {"a": 1, "b": 1}})
        url = f"{BASE}/{id}"

        def put(path: str, value: int, **more: Any) -> dict[str, Any]:
            patch = [{"op": "replace", "path": path, "value": value}]
            return {"delta_updates": [{"op": "patch", "on": "state", "patch": patch}], **more}

        await house.ask("PATCH", url, put("/a", 2))
        same = await house.ask("PATCH", url, put("/a", 3, parent=first, on_conflict="rebase"))
        assert same.code == "context_conflict"
        apart = await house.ask("PATCH", url, put("/b", 3, parent=first, on_conflict="rebase"))
        assert apart.status == 200, apart.body
        assert (await house.ask("GET", url + "?view=state")).json["state"] == {"a": 2, "b": 3}
        beside = await house.ask("PATCH", url, put("/a", 9, parent=first, on_conflict="fork"))
        assert beside.status == 200 and beside.json["branch"].startswith("~")
        assert (await house.ask("GET", url + "?view=state")).json["state"] == {"a": 2, "b": 3}
        at = f"{url}?view=state&at={beside.json['version']}"
        assert (await house.ask("GET", at)).json["state"] == {"a": 9, "b": 1}

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


# -- moving back, forks, merges


def test_rollback_reads_like_the_old_version_byte_for_byte_and_revert_makes_an_equal_one_31() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {"items": [{"type": "fact", "key": "k", "content": 1}, message("a")]})
        url = f"{BASE}/{id}"
        old = await house.ask("GET", url)
        delta = [{"op": "put", "item": {"type": "fact", "key": "k", "content": 2}},
                 {"op": "remove", "id": old.json["items"][1]["id"]}, {"op": "append", "items": [message("b")]},
                 {"op": "merge", "on": "state", "value": {"x": 1}}]  # fmt: skip
        new = (await house.ask("PATCH", url, {"delta_updates": delta})).json["version"]
        back = await house.ask("POST", url + "/rollback", {"to": old.json["version"]})
        assert back.status == 200, back.body
        seen = await house.ask("GET", url)
        assert (seen.body, seen.fields["etag"]) == (old.body, old.fields["etag"])
        assert (await house.ask("POST", url + "/rollback", {"to": new})).json["errors"][0]["reason"] == "not_ancestor"
        await house.ask("PATCH", url, {"delta_updates": delta[:3]})
        reverted = await house.ask("POST", url + "/revert", {"to": old.json["version"]})
        assert reverted.status == 200, reverted.body
        after = (await house.ask("GET", url)).json
        assert after["version"] == reverted.json["version"] != old.json["version"]
        assert after["state"] == old.json["state"]
        assert [bare(item) for item in after["items"]] == [bare(item) for item in old.json["items"]]

    play(scene)


def bare(item: dict[str, Any]) -> dict[str, Any]:
    return {name: told for name, told in item.items() if name not in ("rev", "digest")}


def test_a_branch_goes_its_own_way_and_comes_back_by_a_merge() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house, {"items": [message("root")]})
        url = f"{BASE}/{id}"
        forked = await house.ask("POST", url + "/fork", {"from": first, "branch": "try"})
        assert (forked.status, forked.json["version"], forked.json["branch"]) == (201, first, "try")
        twice = await house.ask("POST", url + "/fork", {"from": first, "branch": "try"})
        assert twice.code == "context_conflict"
        await house.ask("PATCH", url, append("theirs", branch="try"))
        await house.ask("PATCH", url, append("ours"))
        assert texts(await house.ask("GET", url)) == ["root", "ours"]
        assert texts(await house.ask("GET", url + "?branch=try")) == ["root", "theirs"]
        merged = await house.ask("POST", url + "/merge", {"from": "try"})
        assert merged.status == 200, merged.body
        assert texts(await house.ask("GET", url)) == ["root", "ours", "theirs"]

    play(scene)


def texts(heard: Heard) -> list[str]:
    return [item["content"] for item in heard.json["items"]]


def test_a_merge_that_both_sides_changed_is_409_unless_a_side_is_chosen() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house, {"state": {"n": 0}})
        url = f"{BASE}/{id}"
        await house.ask("POST", url + "/fork", {"from": first, "branch": "try"})
        for branch, n in (("try", 1), ("main", 2)):
            await house.ask("PATCH", url, {"branch": branch, "delta_updates": [
                {"op": "merge", "on": "state", "value": {"n": n}}]})  # fmt: skip
        heard = await house.ask("POST", url + "/merge", {"from": "try"})
        assert (heard.status, heard.code, heard.fields["x-should-retry"]) == (409, "merge_conflict", "false")
        assert heard.json["conflicts"][0]["op"] == "test"
        assert (await house.ask("POST", url + "/merge", {"from": "try", "strategy": "theirs"})).status == 200
        assert (await house.ask("GET", url + "?view=state")).json["state"] == {"n": 1}

    play(scene)


def test_a_copy_is_a_context_of_its_own() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house, {"items": [message("root")], "state": {"a": 1}})
        copied = await house.ask("POST", f"{BASE}/{id}/fork", {"from": first, "new": True})
        assert copied.status == 201 and copied.json["id"] != id
        seen = await house.ask("GET", f"{BASE}/{copied.json['id']}")
        assert texts(seen) == ["root"] and seen.json["state"] == {"a": 1}
        assert (await house.ask("DELETE", f"{BASE}/{id}")).status == 200
        assert (await house.ask("GET", f"{BASE}/{copied.json['id']}")).status == 200
        assert (await house.ask("POST", f"{BASE}/{copied.json['id']}/fork", {})).code == "invalid_body"

    play(scene)


# -- the log and the difference


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


# -- the end


def test_what_is_redacted_is_gone_from_every_answer() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, first = await created(house, {"items": [message("my number is 555-0199"), message("fine")]})
        url = f"{BASE}/{id}"
        item = (await house.ask("GET", url)).json["items"][0]["id"]
        assert (await house.ask("POST", url + "/redact", {"selector": {}})).code == "invalid_body"
        heard = await house.ask("POST", url + "/redact", {"selector": {"text": "555"}, "reason": "asked"})
        assert heard.status == 200, heard.body
        assert heard.json == {"object": "context.redaction", "id": id, "items": [item], "payloads": 1, "generation": 1}
        for path in (url, f"{url}?at={first}", url + "/log", url + "/diff"):
            assert b"555-0199" not in (await house.ask("GET", path)).body
        seen = await house.ask("GET", url)
        assert [each["type"] for each in seen.json["items"]] == ["redacted", "message"]
        assert seen.fields["etag"] == f'"{first}.1"'
        assert (await house.ask("PATCH", url, append("on"), if_match=f'"{first}.0"')).status == 200

    play(scene)


def test_a_deletion_is_receipted_and_answers_410_afterwards_54() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {"items": [message("x")], "session_id": "s"})
        heard = await house.ask("DELETE", f"{BASE}/{id}")
        assert heard.status == 200
        told = heard.json
        assert (told["object"], told["id"], told["entries"]) == ("context.deletion", id, 1)
        assert told["backends"] == ["memory"] and told["digest"].startswith("sha256:") and told["bytes"] > 0
        gone = await house.ask("GET", f"{BASE}/{id}")
        assert (gone.status, gone.code) == (410, "context_deleted")
        assert (await house.ask("GET", BASE)).json["data"] == []
        assert (await house.ask("POST", BASE, {"session_id": "s"})).status == 201

    play(scene)


# -- encodings, templates, discovery


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


def test_a_body_one_byte_beyond_the_limit_is_too_large_41() -> None:
    async def scene(house: PlaneHouse) -> None:
        body = b'{"state":{"a":"' + b"x" * 80 + b'"}}'
        assert len(body) == 98
        assert (await house.ask("POST", BASE, body)).status == 201
        heard = await house.ask("POST", BASE, body + b" " * 3)
        assert (heard.status, heard.code) == (413, "too_large")

    play(scene, limits=ContextLimits(body=100))


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
