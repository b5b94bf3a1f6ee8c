"""Twin of engine/contexts/plane_life.py (CRP 2.2, 10): create, fork, redact, delete."""

from __future__ import annotations

from plane_house import BASE, PlaneHouse, append, created, message, play, texts


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


def test_a_context_of_the_tenant_is_seen_by_all_its_consumers() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {"access": "tenant"}, "t/ada")
        assert (await house.ask("GET", f"{BASE}/{id}", who="t/bob")).status == 200
        assert (await house.ask("GET", f"{BASE}/{id}", who="u/bob")).status == 404
        assert (await house.ask("POST", BASE, {"access": "group"}, "t/ada")).code == "invalid_body"

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
