"""Twin of engine/contexts/plane_change.py (CRP 2.2, 4, 5.5): deltas, rollback, revert, merge."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from plane_house import BASE, PlaneHouse, append, bare, created, message, play, texts

from tidegate.engine.contexts.plane_change import restored
from tidegate.exchange.context import (
    PRIVACY,
    Added,
    Append,
    Change,
    Ended,
    Entry,
    Item,
    Mark,
    Merge,
    Op,
    Patch,
    Put,
    Remove,
    View,
)
from tidegate.exchange.context_log import Asker
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.rules.context_delta import Stamp, apply
from tidegate.rules.context_fold import fold
from tidegate.wire.context_entry import plain_seal, write_entry


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


class Log:
    """A context with nothing but its log: its own ``history``."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.view = View(context="ctx")
        self.minted = count()

    @property
    def history(self) -> Log:
        return self

    def log(self) -> list[Entry]:
        return self.entries

    def take(self, changes: tuple[Change, ...]) -> View:
        now = len(self.entries) + 1
        entry = Entry(kind="delta", version=f"cv_{now}", ts=now, changes=changes)
        _, entry = write_entry(entry, plain_seal(lambda: bytes(16)))  # no two contents of one revision
        self.entries.append(entry)
        self.view = fold(self.view, entry.changes, entry.version, now)
        return self.view

    def ask(self, *ops: Op) -> View:
        """Ops that do not hold leave things as they are."""
        stamp = Stamp(now=len(self.entries) + 1, version="cv", mint=lambda: f"{next(self.minted):026d}",
                      tokens=lambda item: 1, limits=ContextLimits())  # fmt: skip
        try:
            return self.take(apply(self.view, ops, stamp).changes)
        except Fault:
            return self.view

    def revert(self, then: View) -> View:
        return self.take(restored(self, self.view, then))  # type: ignore[arg-type]


def content(view: View) -> tuple[Any, ...]:
    """What *view* says, its revisions and classes aside."""
    items = [msgspec.structs.replace(item, rev=0, digest=b"", privacy="internal") for item in view.items]
    return items, {key: view.items[place].id for key, place in view.by_key.items()}, view.state, view.policy


def fact(key: str, value: bytes = b"1", id: str = "") -> Item:
    return Item(id=id, type="fact", key=key, content=value)


KEYS = st.sampled_from(["a", "b"])
IDS = st.sampled_from([f"it_{number:026d}" for number in range(6)])
OPS: st.SearchStrategy[Op] = st.one_of(
    st.builds(lambda text: Append(items=(Item(type="message", role="user", content=b'"%d"' % text),)),
              st.integers(0, 9)),
    st.builds(lambda key, value: Put(item=fact(key, b"%d" % value)), KEYS, st.integers(0, 9)),
    st.builds(lambda key: Remove(key=key), KEYS),
    st.builds(lambda id: Remove(id=id), IDS),
    st.builds(lambda id, privacy: Mark(id=id, privacy=privacy), IDS, st.sampled_from(PRIVACY)),
    st.builds(lambda id, key: Patch(on=id, patch=b'[{"op":"add","path":"/key","value":"%s"}]' % key.encode()),
              IDS, KEYS),
    st.builds(lambda id: Patch(on=id, patch=b'[{"op":"remove","path":"/valid_to"}]'), IDS),
    st.builds(lambda value: Merge(on="state", value=b'{"n":%d}' % value), st.integers(0, 9)),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(OPS, min_size=1, max_size=14), st.data())
def test_after_a_revert_a_view_says_what_it_said_and_no_class_has_fallen_31_15(ops: list[Op], data: Any) -> None:
    log = Log()
    views = [log.view, *[log.ask(op) for op in ops]]
    then = data.draw(st.sampled_from(views))
    classes: dict[str, int] = {}
    for view in views:
        for item in view.items:
            classes[item.id] = max(classes.get(item.id, 0), PRIVACY.index(item.privacy))
    after = log.revert(then)
    assert content(after) == content(then)
    assert all(PRIVACY.index(item.privacy) >= classes[item.id] for item in after.items)
    assert PRIVACY.index(after.privacy) >= max(PRIVACY.index(view.privacy) for view in views)
    assert content(log.revert(views[-1])) == content(views[-1])


def test_what_was_superseded_stays_so_after_a_revert_though_its_successor_was_removed_31() -> None:
    log = Log()
    log.ask(Put(item=fact("k", b"1", "old")))
    log.ask(Put(item=fact("k", b"2", "new")))
    then = log.ask(Remove(id="new"))
    log.ask(Remove(id="old"))
    after = log.revert(then)
    assert isinstance(log.entries[-1].changes[0], Added) and log.entries[-1].changes[1:] == (Ended("old", 2),)
    assert ([item.id for item in after.items], after.by_key) == (["old"], {})


def test_what_holds_in_front_of_what_it_superseded_holds_again_after_a_revert_31() -> None:
    log = Log()
    log.ask(Append(items=(Item(id="m", type="message", role="user", content=b'"hi"'),)))
    log.ask(Put(item=fact("k", b"1", "old")))
    log.ask(Put(item=fact("k", b"2", "new")))
    log.ask(Remove(id="new"))
    then = log.ask(Patch(on="m", patch=b'[{"op":"add","path":"/key","value":"k"}]'))
    assert then.by_key == {"k": 0}
    log.ask(Remove(id="m"), Remove(id="old"))
    assert content(log.revert(then)) == content(then)


def test_a_revert_lowers_no_class_15() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house, {"items": [message("a"), message("b")]})
        url = f"{BASE}/{id}"
        old = (await house.ask("GET", url)).json
        first, second = [item["id"] for item in old["items"]]
        await house.ask("PATCH", url, {"delta_updates": [
            {"op": "mark", "id": first, "privacy": "personal"}, {"op": "mark", "id": second, "privacy": "sensitive"},
            {"op": "remove", "id": second}]})  # fmt: skip
        assert (await house.ask("POST", url + "/revert", {"to": old["version"]})).status == 200
        after = (await house.ask("GET", url)).json
        assert [(item["content"], item["privacy"]) for item in after["items"]] == [
            ("a", "personal"),
            ("b", "sensitive"),
        ]

    play(scene)


def test_a_copy_holds_what_held_and_no_more_31() -> None:
    async def scene(house: PlaneHouse) -> None:
        id, _ = await created(house)
        url = f"{BASE}/{id}"
        for op in ({"op": "put", "item": {"type": "fact", "key": "k", "content": 1}},
                   {"op": "put", "item": {"type": "fact", "key": "k", "content": 2}},
                   {"op": "remove", "key": "k"}):  # fmt: skip
            assert (await house.ask("PATCH", url, {"delta_updates": [op]})).status == 200
        made = await house.ask("POST", url + "/fork", {"new": True})
        held = await house.repository.load(Asker("default", all=True), made.json["id"])
        assert held.view(made.json["version"]).by_key == {}

    play(scene)


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
