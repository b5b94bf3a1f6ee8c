"""Replay of a log: views, heads, ancestry, digests, snapshots (CRP 1.1, 1.2, 5.2)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.context import (
    Added,
    Change,
    Ended,
    Entry,
    EntryKind,
    EpochBegun,
    Item,
    Marked,
    Note,
    PolicyChanged,
    Removed,
    Revised,
    SettingsChanged,
    StateChanged,
    Status,
    Summed,
    TemplateChanged,
    TokenUse,
    View,
)
from tidegate.exchange.context_log import Payload, StoredEntry
from tidegate.rules.context_fold import Folding, History, fold, read_snapshot, write_snapshot
from tidegate.wire.context_entry import BrokenEntry, plain_seal, plain_unseal, read_entry, version_digest, write_entry

SALT = b"s" * 16
EMPTY = View(context="ctx")


def message(id: str, content: bytes = b'"x"', **members: object) -> Item:
    return msgspec.structs.replace(Item(id=id, type="message", role="user", content=content), **members)  # type: ignore[arg-type]


def fact(id: str, key: str, content: bytes = b'"x"', **members: object) -> Item:
    return msgspec.structs.replace(Item(id=id, type="fact", key=key, content=content), **members)  # type: ignore[arg-type]


def ids(view: View) -> list[str]:
    return [item.id for item in view.items]


def consistent(view: View) -> bool:
    """The tables of a view say what its items say."""
    return view.by_id == {item.id: place for place, item in enumerate(view.items)} and all(
        view.items[place].key == key for key, place in view.by_key.items()
    )


class Log:
    """A store of one context in few lines: numbers entries and keeps their contents."""

    def __init__(self) -> None:
        self.history = History("ctx", SALT)
        self.stored: list[StoredEntry] = []
        self.payloads: dict[int, dict[tuple[str, int], Payload]] = {}
        numbers = iter(range(1, 100_000))
        self._seal = plain_seal(lambda: next(numbers).to_bytes(16, "big"))

    def add(
        self, kind: EntryKind, version: str, *changes: Change, parents: tuple[str, ...] = (), branch: str = "main",
        status: Status = "completed", note: Note | None = None, digest: bytes = b"",
    ) -> None:  # fmt: skip
        seq = len(self.stored) + 1
        entry = Entry(kind=kind, version=version, ts=seq * 10, author="a", status=status, changes=changes, note=note)
        draft, entry = write_entry(entry, self._seal)
        stored = StoredEntry(
            seq=seq, kind=kind, version=version, parents=parents, branch=branch, status=status, digest=digest,
            body=draft.body,
        )  # fmt: skip
        self.stored.append(stored)
        self.payloads[seq] = {(payload.item, payload.rev): payload for payload in draft.payloads}
        self.history.add(msgspec.structs.replace(entry, seq=seq, parents=parents, branch=branch), stored)

    def turn(self, version: str, *parents: str, branch: str = "main", say: str = "") -> None:
        self.add("reserve", version, Added((message(f"{version}_in"),)), parents=parents, branch=branch)
        self.add("commit", version, Added((message(f"{version}_out"),)), parents=parents, branch=branch)

    def again(self) -> History:
        """From scratch, as another worker has it."""
        history = History("ctx", SALT)
        for stored in self.stored:
            history.add(read_entry(stored, self.payloads[stored.seq], plain_unseal), stored)
        return history


# -- folding -----------------------------------------------------------------------------------------------------------


def test_added_items_stand_at_the_end_with_the_time_of_their_version() -> None:
    view = fold(EMPTY, (Added((message("a"), fact("b", "k"))), Added((message("c", recorded=7),))), "cv_1", 50)
    assert ids(view) == ["a", "b", "c"]
    assert [item.recorded for item in view.items] == [50, 50, 7]
    assert (view.by_key, view.version) == ({"k": 1}, "cv_1")
    assert consistent(view)


def test_the_view_that_was_folded_upon_stays_as_it_was() -> None:
    before = fold(EMPTY, (Added((message("a"), fact("b", "k"))), StateChanged("set", 0, b'{"n":1}')), "cv_1", 1)
    kept = msgspec.structs.replace(before, by_id=dict(before.by_id), by_key=dict(before.by_key))
    fold(before, (Removed(("a",)), Ended("b", 2), StateChanged("merge", 1, b'{"n":2}'), Added((message("c"),))), "x", 2)
    assert before == kept


def test_a_folding_goes_on_after_its_view_was_taken() -> None:
    folding = Folding(EMPTY)
    folding.take(Added((message("a"), message("b"))), "cv", 1)
    first = folding.view("cv_1")
    folding.take(Removed(("a",)), "cv", 1)
    second = folding.view("cv_2")
    folding.take(Added((message("c"),)), "cv", 1)
    assert (ids(first), ids(second), ids(folding.view("cv_3"))) == (["a", "b"], ["b"], ["b", "c"])
    assert consistent(first)
    assert consistent(second)


def test_an_ended_item_stays_until_an_epoch_and_is_current_no_more_12() -> None:
    changes: list[Change] = [
        Added((fact("old", "k"), fact("other", "j", valid_to=99))), Ended("old", 40), Added((fact("new", "k"),)),
    ]  # fmt: skip
    view = fold(EMPTY, changes, "cv_1", 1)
    assert ids(view) == ["old", "other", "new"]
    assert view.items[0].valid_to == 40
    assert view.by_key == {"k": 2, "j": 1}
    after = fold(view, (EpochBegun("trim", 3),), "cv_2", 2)
    assert ids(after) == ["other", "new"]
    assert (after.epoch, after.renderer) == ("cv_2", 3)
    assert consistent(after)


def test_a_revision_stands_in_the_place_of_the_last_and_may_move_its_key() -> None:
    view = fold(EMPTY, (Added((fact("a", "k"), message("b"))), Revised(fact("a", "j", b'"y"', rev=1))), "cv", 1)
    assert ids(view) == ["a", "b"]
    assert view.items[0].content == b'"y"'
    assert view.by_key == {"j": 0}


def test_a_removed_item_takes_its_key_along() -> None:
    view = fold(EMPTY, (Added((fact("a", "k"), message("b"), fact("c", "j"))), Removed(("a", "nobody"))), "cv", 1)
    assert (ids(view), view.by_key) == (["b", "c"], {"j": 1})
    assert consistent(view)


def test_marks_change_hints_alone_and_the_class_of_the_context_rises_with_its_items() -> None:
    view = fold(EMPTY, (Added((message("a"), message("b", privacy="personal"))),), "cv", 1)
    assert view.privacy == "personal"
    view = fold(view, (Marked("a", True, 9, "never", "secret"), Marked("gone", True, 1, "", "public")), "cv", 1)
    assert view.items[0] == message("a", pinned=True, priority=9, elide="never", privacy="secret", recorded=1)
    assert view.privacy == "secret"
    assert fold(view, (Removed(("a", "b")),), "cv", 1).privacy == "secret"


def test_a_summary_stands_where_the_first_of_what_it_sums_stood() -> None:
    summary = Item(id="s", type="summary", content=b'"in short"')
    view = fold(EMPTY, (Added(tuple(message(id) for id in "abcd")), Summed(("b", "d"), summary)), "cv", 1)
    assert ids(view) == ["a", "s", "c"]
    assert consistent(view)
    assert ids(fold(view, (Summed(("nobody",), msgspec.structs.replace(summary, id="t")),), "cv", 1)) == [
        "a", "s", "c", "t",
    ]  # fmt: skip


def test_the_state_is_patched_merged_and_set_and_numbers_keep_their_text() -> None:
    view = fold(EMPTY, (StateChanged("merge", 0, b'{"a":1.10,"b":{"c":1}}'),), "cv", 1)
    assert (view.state, view.revs) == (b'{"a":1.10,"b":{"c":1}}', (1, 0))
    view = fold(view, (StateChanged("patch", 1, b'[{"op":"add","path":"/b/d","value":2.00}]'),), "cv", 1)
    assert (view.state, view.revs) == (b'{"a":1.10,"b":{"c":1,"d":2.00}}', (2, 0))
    view = fold(view, (StateChanged("set", 2, b"[]"), StateChanged("set", 3, b'{"e":0}')), "cv", 1)
    assert (view.state, view.revs) == (b'{"e":0}', (4, 0))


def test_a_redacted_state_is_empty_and_a_patch_that_stood_on_it_too() -> None:
    changes = [
        StateChanged("set", 0, b'{"a":{"b":1}}'),
        StateChanged("merge", 1, b""),
        StateChanged("merge", 2, b'{"c":1}'),
    ]
    assert fold(EMPTY, changes, "cv", 1).state == b'{"c":1}'
    changes.append(StateChanged("patch", 3, b'[{"op":"add","path":"/d","value":1},{"op":"remove","path":"/a"}]'))
    assert fold(EMPTY, changes, "cv", 1).state == b"{}"


def test_settings_policy_and_template_are_the_last_ones() -> None:
    changes = (SettingsChanged(0, b'{"model":"a"}'), SettingsChanged(1, b'{"model":"b"}'), PolicyChanged(b'"p"'),
               TemplateChanged("t@1"))  # fmt: skip
    view = fold(EMPTY, changes, "cv", 1)
    assert (view.settings, view.revs, view.policy, view.template) == (b'{"model":"b"}', (0, 2), b'"p"', "t@1")


def test_an_id_that_comes_twice_in_a_damaged_log_is_kept_once() -> None:
    view = fold(EMPTY, (Added((message("a"),)), Added((message("a", b'"other"'),))), "cv", 1)
    assert [item.content for item in view.items] == [b'"x"']


# -- history -----------------------------------------------------------------------------------------------------------


def dialogue(turns: int = 4) -> Log:
    log = Log()
    for n in range(1, turns + 1):
        log.turn(f"cv_{n}", *([f"cv_{n - 1}"] if n > 1 else []))
    return log


def test_a_turn_is_a_reserve_and_a_commit_and_moves_the_head_with_the_second() -> None:
    log = Log()
    log.add("reserve", "cv_1", Added((message("a"),)))
    assert log.history.versions["cv_1"].status == "in_progress"
    assert log.history.heads == {"main": ""}
    assert ids(log.history.view("cv_1")) == ["a"]
    log.add("commit", "cv_1", Added((message("b"),)), digest=b"D" * 32)
    found = log.history.versions["cv_1"]
    assert (found.status, found.seq, found.ts, found.digest) == ("completed", 2, 20, b"D" * 32)
    assert log.history.heads == {"main": "cv_1"}
    assert ids(log.history.view("cv_1")) == ["a", "b"]
    assert log.history.view("cv_1").digest == b"D" * 32


@pytest.mark.parametrize(
    ("status", "head"), [("completed", "cv_2"), ("incomplete", "cv_2"), ("failed", "cv_1"), ("cancelled", "cv_1")]
)
def test_only_completed_and_incomplete_turns_move_the_head(status: Status, head: str) -> None:
    log = dialogue(1)
    log.add("reserve", "cv_2", Added((message("a"),)), parents=("cv_1",))
    log.add("commit", "cv_2", parents=("cv_1",), status=status)
    assert log.history.heads["main"] == head
    assert (log.history.digest("cv_2") != b"") == (head == "cv_2")


def test_a_broken_turn_that_is_replaced_leaves_the_line_of_ancestors_34() -> None:
    log = dialogue(1)
    log.add("reserve", "cv_2", Added((message("lost"),)), parents=("cv_1",))
    log.add("commit", "cv_2", parents=("cv_1",), status="incomplete")
    log.turn("cv_3", "cv_1")
    assert log.history.line("cv_3") == ["cv_1", "cv_3"]
    assert "lost" not in ids(log.history.view("cv_3"))


def test_a_rollback_moves_the_head_and_the_old_view_reads_byte_for_byte_31() -> None:
    log = dialogue(3)
    before = log.again().view("cv_1")
    log.add("control", "", note=Note("rollback", to="cv_1"))
    assert log.history.heads["main"] == "cv_1"
    assert msgspec.msgpack.encode(log.history.view(log.history.heads["main"])) == msgspec.msgpack.encode(before)
    log.turn("cv_4", "cv_1")
    assert ids(log.history.view("cv_4")) == ["cv_1_in", "cv_1_out", "cv_4_in", "cv_4_out"]


def test_branches_share_what_lies_before_their_fork() -> None:
    log = dialogue(2)
    log.turn("cv_3", "cv_2")
    log.turn("cv_4", "cv_1", branch="~x")
    assert log.history.heads == {"main": "cv_3", "~x": "cv_4"}
    assert log.history.line("cv_4") == ["cv_1", "cv_4"]
    assert log.history.common("cv_3", "cv_4") == "cv_1"
    assert log.history.common("cv_3", "cv_2") == "cv_2"
    assert ids(log.history.view("cv_4")) == ["cv_1_in", "cv_1_out", "cv_4_in", "cv_4_out"]
    assert ids(log.history.view("cv_3"))[-1] == "cv_3_out"


def test_ancestry_goes_over_all_parents_and_views_over_the_first() -> None:
    log = dialogue(2)
    log.turn("cv_3", "cv_1", branch="side")
    log.add("delta", "cv_4", Added((message("joined"),)), parents=("cv_2", "cv_3"))
    history = log.history
    assert history.line("cv_4") == ["cv_1", "cv_2", "cv_4"]
    assert [history.is_ancestor(one, "cv_4") for one in ("", "cv_1", "cv_2", "cv_3", "cv_4", "cv_9")] == [
        True, True, True, True, True, False,
    ]  # fmt: skip
    assert not history.is_ancestor("cv_2", "cv_3")
    assert not history.is_ancestor("cv_4", "cv_1")


def test_what_came_since_is_told_along_the_line() -> None:
    log = dialogue(3)
    assert [(entry.version, entry.kind) for entry in log.history.since("cv_1", "cv_3")] == [
        ("cv_2", "reserve"), ("cv_2", "commit"), ("cv_3", "reserve"), ("cv_3", "commit"),
    ]  # fmt: skip
    assert len(log.history.since("", "cv_3")) == 6
    assert log.history.since("cv_9", "cv_3") == []
    assert log.history.since("cv_3", "cv_3") == []


def test_views_from_scratch_and_step_by_step_are_the_same_bytes_i6() -> None:
    log = Log()
    log.add("delta", "cv_0", StateChanged("set", 0, b'{"n":[1,2]}'), Added((fact("f", "k"), message("m"))))
    grown = [log.history.view("cv_0")]
    for n in range(1, 30):
        log.add(
            "delta", f"cv_{n}", Added((message(f"m{n}"),)), Revised(message("m", f'"{n}"'.encode(), rev=n)),
            StateChanged("patch", n, b'[{"op":"add","path":"/n/-","value":%d}]' % n), parents=(f"cv_{n - 1}",),
        )  # fmt: skip
        grown.append(log.history.view(f"cv_{n}"))
    other = log.again()
    for n in reversed(range(30)):
        assert msgspec.msgpack.encode(other.view(f"cv_{n}")) == msgspec.msgpack.encode(grown[n])


def test_an_entry_that_comes_again_changes_nothing() -> None:
    log = dialogue(2)
    size, view = log.history.size, log.history.view("cv_2")
    log.history.add(log.history.entries("cv_1")[0], log.stored[0])
    assert (log.history.size, log.history.seq, log.history.view("cv_2")) == (size, 4, view)


def test_a_version_nobody_has_is_a_key_error_and_no_version_is_the_empty_context() -> None:
    with pytest.raises(KeyError):
        dialogue(1).history.view("cv_9")
    assert dialogue(1).history.view("") == EMPTY


def test_ids_are_remembered_over_all_branches_and_after_removal() -> None:
    log = dialogue(1)
    log.add(
        "delta", "cv_2", Removed(("cv_1_in",)), Summed(("cv_1_out",), Item(id="s", type="summary")), parents=("cv_1",)
    )
    assert log.history.ids == {"cv_1_in", "cv_1_out", "s"}


def test_what_a_redaction_struck_is_in_no_view_of_a_worker_that_knew_it_53() -> None:
    log = dialogue(2)
    log.add(
        "delta",
        "cv_3",
        StateChanged("set", 0, b'{"a":1}'),
        Revised(message("cv_1_in", b'"MARK"', rev=1)),
        parents=("cv_2",),
    )
    assert b"MARK" in log.history.view("cv_3").items[0].content
    log.add("control", "", note=Note("redact", items=("cv_1_in", "state")))
    for version in ("cv_1", "cv_2", "cv_3"):
        view = log.history.view(version)
        assert (view.items[0].type, view.items[0].content, view.items[0].id) == ("redacted", b"", "cv_1_in")
    assert log.history.view("cv_3").state == b"{}"
    assert ids(log.history.view("cv_2")) == ["cv_1_in", "cv_1_out", "cv_2_in", "cv_2_out"]
    for payloads in log.payloads.values():
        for name in [name for name in payloads if name[0] in ("cv_1_in", "state")]:
            del payloads[name]
    assert log.again().view("cv_3") == log.history.view("cv_3")
    assert log.again().digest("cv_3") == log.history.digest("cv_3")


# -- digests -----------------------------------------------------------------------------------------------------------


def test_digests_chain_over_parents_and_bodies_59() -> None:
    log = dialogue(2)
    bodies = [stored.body for stored in log.stored]
    first = version_digest(SALT, (), bodies[:2])
    second = version_digest(SALT, (first,), bodies[2:])
    assert log.history.digest("cv_2") == second
    assert log.again().digest("cv_2") == second
    assert log.history.digest("cv_1") == first


def test_a_long_chain_that_a_store_settled_alone_is_computed_without_recursion() -> None:
    log = Log()
    for n in range(3000):
        log.add("delta", f"cv_{n}", parents=(f"cv_{n - 1}",) if n else ())
    assert len(log.history.digest("cv_2999")) == 32


def test_the_digest_of_a_turn_is_known_before_its_last_entry_is_stored() -> None:
    log = dialogue(1)
    log.add("reserve", "cv_2", Added((message("a"),)), parents=("cv_1",))
    before = log.history.digest_with("cv_2", b"body")
    assert before == version_digest(SALT, (log.history.digest("cv_1"),), (log.stored[2].body, b"body"))
    assert log.history.digest("cv_2") == b""
    assert log.history.digest_with("cv_9", b"body", ("cv_1",)) == version_digest(
        SALT, (log.history.digest("cv_1"),), (b"body",)
    )


# -- snapshots ---------------------------------------------------------------------------------------------------------


def test_a_history_from_a_snapshot_is_the_history_i5() -> None:
    log = dialogue(40)
    log.history.digest("cv_40")
    body = write_snapshot(log.history, log.history.seq)
    again = read_snapshot(body, SALT, log.payloads, plain_unseal)
    assert (again.context, again.seq, again.heads, again.size) == ("ctx", 80, log.history.heads, log.history.size)
    assert msgspec.msgpack.encode(again.view("cv_40")) == msgspec.msgpack.encode(log.history.view("cv_40"))
    assert again.digest("cv_40") == log.history.digest("cv_40")
    assert again.log() == log.history.log()
    assert len(body) < 80 * 150


def test_a_snapshot_ends_where_it_is_told_to() -> None:
    log = dialogue(4)
    again = read_snapshot(write_snapshot(log.history, 5), SALT, log.payloads, plain_unseal)
    assert (again.seq, again.heads) == (5, {"main": "cv_2"})


def test_a_snapshot_costs_what_is_new_and_goes_on_where_the_last_one_ended() -> None:
    log = dialogue(3)
    first = write_snapshot(log.history, 6)
    again = read_snapshot(first, SALT, log.payloads, plain_unseal)
    for n in (4, 5):
        log.turn(f"cv_{n}", f"cv_{n - 1}")
    for stored in log.stored[6:]:
        again.add(read_entry(stored, log.payloads[stored.seq], plain_unseal), stored)
    second = write_snapshot(log.history, 10)
    assert write_snapshot(again, 10) == second
    assert len(log.history.chunks(10)) == 2
    assert read_snapshot(second, SALT, log.payloads, plain_unseal).log() == log.history.log()
    with pytest.raises(ValueError, match="more already"):
        write_snapshot(log.history, 6)


def test_a_torn_snapshot_is_named() -> None:
    body = write_snapshot(dialogue(3).history, 6)
    for torn in (b"", body[:-1], bytes([body[0] ^ 1]) + body[1:], body[:-1] + bytes([body[-1] ^ 1])):
        with pytest.raises(BrokenEntry):
            read_snapshot(torn, SALT, {}, plain_unseal)


def test_branches_that_made_one_revision_at_once_each_keep_theirs() -> None:
    log = dialogue(1)
    log.add("delta", "cv_2", StateChanged("set", 0, b'{"side":"a"}'), parents=("cv_1",))
    log.add("delta", "cv_3", StateChanged("set", 0, b'{"side":"b"}'), parents=("cv_1",), branch="~x")
    again = read_snapshot(write_snapshot(log.history, 4), SALT, log.payloads, plain_unseal)
    assert (again.view("cv_2").state, again.view("cv_3").state) == (b'{"side":"a"}', b'{"side":"b"}')


def test_use_and_size_are_told() -> None:
    history = History("ctx", SALT)
    entry = Entry(kind="delta", version="cv_1", use=TokenUse(sent=4), changes=(Added((message("a", b"y" * 50),)),))
    history.add(entry, StoredEntry(seq=1, kind="delta", version="cv_1", body=b"b" * 10))
    assert history.versions["cv_1"].use == TokenUse(sent=4)
    assert history.size == 10 + 50 + 200


def test_the_fingerprint_is_that_of_the_request_that_began_a_version() -> None:
    history = History("ctx", SALT)
    for seq, kind, fp in ((1, "reserve", b"F"), (2, "commit", b"")):
        entry = Entry(kind=kind, version="cv_1")  # type: ignore[arg-type]
        history.add(entry, StoredEntry(seq=seq, kind=kind, version="cv_1", fp=fp, body=b"b"))  # type: ignore[arg-type]
    assert (history.fp("cv_1"), history.fp("cv_9")) == (b"F", b"")


# -- whole logs --------------------------------------------------------------------------------------------------------

ITEM_IDS = st.sampled_from(["a", "b", "c", "d", "e"])
KEYS = st.sampled_from(["", "k", "j"])
ITEMS = st.builds(
    lambda id, key, n: fact(id, key, b'"%d"' % n) if key else message(id, b'"%d"' % n), ITEM_IDS, KEYS,
    st.integers(0, 3),
)  # fmt: skip
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(lambda item: Added((item,)), ITEMS),
    st.builds(Revised, ITEMS),
    st.builds(Ended, ITEM_IDS, st.integers(1, 9)),
    st.builds(lambda id: Removed((id,)), ITEM_IDS),
    st.builds(
        Marked, ITEM_IDS, st.booleans(), st.integers(0, 9), st.just("drop"), st.sampled_from(["public", "secret"])
    ),
    st.builds(lambda one, two, id: Summed((one, two), Item(id=id, type="summary")), ITEM_IDS, ITEM_IDS, ITEM_IDS),
    st.builds(StateChanged, st.just("patch"), st.integers(0, 3), st.just(b'[{"op":"add","path":"/n/-","value":1}]')),
    st.builds(StateChanged, st.sampled_from(["merge", "set"]), st.integers(0, 3), st.just(b'{"n":[2]}')),
    st.builds(EpochBegun, st.just("trim"), st.just(1)),
)  # fmt: skip
LOGS = st.lists(st.tuples(st.lists(CHANGES, max_size=3), st.integers(0, 9)), min_size=1, max_size=8)


def numbered(change: Change, rev: int) -> Change:
    """No content of a revision is there twice in an entry."""
    if isinstance(change, Added):
        return Added(tuple(msgspec.structs.replace(item, rev=rev) for item in change.items))
    if isinstance(change, Revised):
        return Revised(msgspec.structs.replace(change.item, rev=rev))
    if isinstance(change, Summed):
        return Summed(change.ids, msgspec.structs.replace(change.summary, rev=rev))
    return msgspec.structs.replace(change, rev=rev) if isinstance(change, StateChanged) else change


def written(script: list[tuple[list[Change], int]]) -> Log:
    """Each version continues one before it; views are looked at on the way, as workers do."""
    log, revs = Log(), iter(range(1000))
    for number, (changes, parent) in enumerate(script):
        parents = (f"cv_{parent % number}",) if number else ()
        log.add("delta", f"cv_{number}", *[numbered(change, next(revs)) for change in changes], parents=parents)
        log.history.view(f"cv_{number}")
    return log


@given(LOGS)
def test_any_log_reads_the_same_from_scratch_and_its_tables_hold_i6(script: list[tuple[list[Change], int]]) -> None:
    log = written(script)
    other = log.again()
    for version in reversed(log.history.versions):
        view = other.view(version)
        assert view == log.history.view(version)
        assert consistent(view)
        assert other.digest(version) == log.history.digest(version)


@given(LOGS, st.sets(ITEM_IDS | st.just("state"), min_size=1, max_size=3))
def test_any_redaction_leaves_a_log_that_reads_and_says_nothing_struck_53(
    script: list[tuple[list[Change], int]], struck: set[str]
) -> None:
    log = written(script)
    digests = [log.history.digest(version) for version in log.history.versions]
    log.add("control", "", note=Note("redact", items=tuple(sorted(struck))))
    for payloads in log.payloads.values():
        for name in [name for name in payloads if name[0] in struck]:
            del payloads[name]
    other = log.again()
    for version in log.history.versions:
        view = log.history.view(version)
        assert other.view(version) == view
        assert consistent(view)
        assert all(item.content == b"" for item in view.items if item.id in struck)
        assert "state" not in struck or view.state == b"{}"
    assert [other.digest(version) for version in other.versions] == digests
