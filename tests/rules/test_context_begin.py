"""What becomes of a turn, an addition, a commit: the algorithm of CRP 5.2 as a table."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.exchange.context import Status
from tidegate.exchange.context_log import (
    BRANCHES,
    LOG_BYTES,
    MISSING,
    MISSING_BYTES,
    Addition,
    Begin,
    Commit,
    Draft,
    Lease,
    Payload,
)
from tidegate.rules.context_begin import (
    BUSY,
    Branch,
    Decision,
    Known,
    Node,
    branch_of,
    decide_append,
    decide_begin,
    decide_commit,
    draft_size,
    fitting,
    higher,
    missing,
    overdue,
    slid,
    wanted,
)

NOW = 1_000_000
CTX = "ctx_A"
EMPTY = Draft(b"")
ASKED = Begin(version="cv_new", fork="~F", fp=b"fp-new", input=Draft(b"in"), settled=EMPTY)


def node(parent: str = "", status: Status = "completed", branch: str = "main", fp: bytes = b"", *, seq: int = 1,
         digest: bytes = b"d", context: str = CTX) -> Node:  # fmt: skip
    return Node(context, branch, parent, status, fp, digest, seq)


LINE = {
    "cv_1": node(),
    "cv_2": node("cv_1"),
    "cv_3": node("cv_2", fp=b"fp-3"),
    "cv_x": node("cv_2", "incomplete", fp=b"fp-x"),
    "cv_f": node("cv_2", "failed"),
    "cv_c": node("cv_2", "cancelled"),
    "cv_p": node("cv_3", "in_progress", fp=b"fp-p"),
    "cv_side": node("cv_1", branch="side"),
    "cv_far": node(context="ctx_B"),
}


def begin(refs: list[Branch], by_key: Known | None = None, by_fp: Known | None = None, size: int = 0,
          **asked: object) -> Decision:  # fmt: skip
    request = msgspec.structs.replace(ASKED, **asked)
    return decide_begin(NOW, CTX, request, {ref.name: ref for ref in refs}, LINE.get, by_key, by_fp, size)


def at(head: str) -> list[Branch]:
    return [Branch("main", head)]


def running(head: str = "cv_3", left: int = 700) -> list[Branch]:
    return [Branch("main", head, "cv_p", b"t", 3, NOW + left)]


@pytest.mark.parametrize(
    ("refs", "asked", "decision"),
    [
        # the head, by arrival or by name
        (at("cv_3"), {}, Decision("ok", "main", "cv_3", "cv_3")),
        (at("cv_3"), {"parent": "cv_3"}, Decision("ok", "main", "cv_3", "cv_3")),
        (at("cv_3"), {"parent": "cv_3", "addressed": "version"}, Decision("ok", "main", "cv_3", "cv_3")),
        (at(""), {}, Decision("ok", "main", "", "")),
        # made now
        ([], {}, Decision("ok", "main", "", "", opens=True)),
        ([], {"branch": "draft"}, Decision("ok", "draft", "", "", opens=True)),
        ([], {"parent": "cv_3"}, Decision("conflict", "main")),
        # a broken turn is replaced, or continued
        (at("cv_x"), {"fp": b"fp-x"}, Decision("ok", "main", "cv_2", "cv_x")),
        (at("cv_x"), {"fp": b"fp-x", "parent": "cv_x"}, Decision("ok", "main", "cv_2", "cv_x")),
        (at("cv_x"), {}, Decision("ok", "main", "cv_x", "cv_x")),
        (at("cv_x"), {"parent": "cv_2"}, Decision("ok", "main", "cv_2", "cv_x")),
        (at("cv_x"), {"parent": "cv_2", "addressed": "version"}, Decision("ok", "main", "cv_2", "cv_x")),
        # the same words again after a whole turn are another turn
        (at("cv_3"), {"fp": b"fp-3"}, Decision("ok", "main", "cv_3", "cv_3")),
        # stale: a ref conflicts, a version forks
        (at("cv_3"), {"parent": "cv_1"}, Decision("conflict", "main", head="cv_3")),
        (at("cv_x"), {"parent": "cv_1"}, Decision("conflict", "main", head="cv_x")),
        (at("cv_3"), {"parent": "cv_none"}, Decision("conflict", "main", head="cv_3")),
        (at("cv_3"), {"parent": "cv_far"}, Decision("conflict", "main", head="cv_3")),
        (at("cv_3"), {"parent": "cv_1", "addressed": "version"}, Decision("ok", "~F", "cv_1", opens=True)),
        (at("cv_3"), {"parent": "cv_f"}, Decision("conflict", "main", head="cv_3")),
        # what is no version of this context, or was never part of its history
        (at("cv_3"), {"parent": "cv_none", "addressed": "version"}, Decision("not_found")),
        (at("cv_3"), {"parent": "cv_far", "addressed": "version"}, Decision("not_found")),
        (at("cv_3"), {"parent": "cv_f", "addressed": "version"}, Decision("not_found")),
        (at("cv_3"), {"parent": "cv_c", "addressed": "version"}, Decision("not_found")),
        (at("cv_3"), {"branch": "none"}, Decision("not_found")),
        # a turn in flight
        (running(), {}, Decision("busy", "main", head="cv_3", version="cv_p", retry_after=0.7)),
        (running(left=15_000), {"parent": "cv_3"},
         Decision("busy", "main", head="cv_3", version="cv_p", retry_after=BUSY / 1000)),
        (running(), {"parent": "cv_3", "addressed": "version"}, Decision("ok", "~F", "cv_3", opens=True)),
        (running(), {"parent": "cv_p", "addressed": "version"},
         Decision("busy", "main", head="cv_3", version="cv_p", retry_after=0.7)),
        # superseded
        (running(), {"supersede": True}, Decision("ok", "main", "cv_p", "cv_p", ends=True)),
        (running(), {"supersede": True, "parent": "cv_p", "addressed": "version"},
         Decision("ok", "main", "cv_p", "cv_p", ends=True)),
        (running(), {"supersede": True, "parent": "cv_3"}, Decision("ok", "main", "cv_3", "cv_p", ends=True)),
        (running(), {"supersede": True, "fp": b"fp-p"}, Decision("ok", "main", "cv_3", "cv_p", ends=True)),
        (running(), {"supersede": True, "parent": "cv_1"}, Decision("conflict", "main", head="cv_3")),
        (running(), {"supersede": True, "parent": "cv_1", "addressed": "version"},
         Decision("ok", "~F", "cv_1", opens=True)),
    ],
)  # fmt: skip
def test_a_begin_is_decided_as_5_2_says(refs: list[Branch], asked: dict[str, object], decision: Decision) -> None:
    assert begin(refs, **asked) == decision


def test_a_version_is_continued_on_the_branch_it_was_written_on() -> None:
    refs = [Branch("main", "cv_3"), Branch("side", "cv_side")]
    decision = begin(refs, parent="cv_side", addressed="version")
    assert decision == Decision("ok", "side", "cv_side", "cv_side")
    assert branch_of(msgspec.structs.replace(ASKED, addressed="version", branch="b"), LINE["cv_side"]) == "b"
    assert branch_of(ASKED, LINE["cv_side"]) == "main"


@pytest.mark.parametrize(
    ("known", "outcome", "version"),
    [
        (Known(b"fp-new", "cv_p", NOW + 1), "attach", "cv_p"),
        (Known(b"fp-new", "cv_3", NOW + 1), "replay", "cv_3"),
        (Known(b"fp-new", "cv_x", NOW + 1), "ok", ""),
        (Known(b"fp-new", "cv_f", NOW + 1), "ok", ""),
        (Known(b"fp-new", "cv_c", NOW + 1), "ok", ""),
        (Known(b"other", "cv_3", NOW + 1), "mismatch", ""),
        (Known(b"other", "cv_f", NOW + 1), "mismatch", ""),
        (Known(b"other", "cv_3", NOW), "ok", ""),
        (Known(b"other", "cv_struck", NOW + 1), "ok", ""),
        (Known(b"fp-new", "", NOW + 1), "replay", ""),
    ],
)
def test_an_equal_request_is_attached_or_replayed_and_one_that_came_to_nothing_goes_on(
    known: Known, outcome: str, version: str
) -> None:  # 32 34
    """CRP 5.6."""
    decision = begin(at("cv_3"), by_key=known)
    assert (decision.outcome, decision.version) == (outcome, version)
    if version:
        assert decision.context == CTX


def test_a_key_is_asked_before_a_fingerprint_and_both_before_the_lease() -> None:
    key, fp = Known(b"fp-new", "cv_3", NOW + 1), Known(b"fp-new", "cv_p", NOW + 1)
    assert begin(running(), by_key=key, by_fp=fp).outcome == "replay"
    assert begin(running(), by_fp=fp).outcome == "attach"
    assert begin(running(), by_fp=fp, supersede=True).outcome == "attach"
    assert wanted(msgspec.structs.replace(ASKED, parent="cv_2"), (key, None, fp)) == ["cv_new", "cv_2", "cv_3", "cv_p"]


def test_a_begin_repeated_after_a_lost_acknowledgement_gets_the_same_answer() -> None:
    mine = Known(b"fp-p", "cv_p", NOW + 1)
    decision = begin(running(), version="cv_p", fp=b"fp-p", by_key=mine)
    assert decision == Decision("ok", "main", "cv_3", "cv_3", again=True)
    assert begin(at("cv_x"), version="cv_x") == Decision("fenced", version="cv_x")


def test_limits_of_the_log_and_of_branches_are_met_and_not_passed() -> None:
    assert begin(at("cv_3"), size=LOG_BYTES - 2).outcome == "ok"
    assert begin(at("cv_3"), size=LOG_BYTES - 1) == Decision("full", what="log")
    many = [*at("cv_3"), *(Branch(f"b{n}", "cv_1") for n in range(BRANCHES - 1))]
    stale = {"parent": "cv_1", "addressed": "version"}
    assert begin(many[:-1], **stale).outcome == "ok"
    assert begin(many, **stale) == Decision("full", what="branches")
    assert begin(many).outcome == "ok"


def test_only_what_has_outlived_its_lease_is_overdue() -> None:
    refs = [Branch("a", "h", "p", b"t", 1, NOW), Branch("b", "h", "p", b"t", 1, NOW + 1), Branch("c", "h")]
    assert [ref.name for ref in overdue(NOW, refs)] == ["a"]


ADDED = Addition(kind="delta", version="cv_new", entry=Draft(b"in"), fp=b"fp-new")


@pytest.mark.parametrize(
    ("refs", "asked", "decision"),
    [
        (at("cv_3"), {}, Decision("ok", "main", "cv_3", "cv_new")),
        (at("cv_3"), {"expect": "cv_3"}, Decision("ok", "main", "cv_3", "cv_new")),
        (at("cv_3"), {"expect": "cv_2"}, Decision("conflict", "main", head="cv_3")),
        (at("cv_3"), {"expect": ""}, Decision("conflict", "main", head="cv_3")),
        (at("cv_3"), {"parents": ("cv_3", "cv_side")}, Decision("ok", "main", "cv_3", "cv_new")),
        (at("cv_3"), {"parents": ("cv_3", "cv_none")}, Decision("not_found")),
        (at("cv_3"), {"parents": ("cv_f",)}, Decision("not_found")),
        (at("cv_3"), {"version": "", "head": "cv_1", "kind": "control"}, Decision("ok", "main", "cv_3", "cv_1")),
        (at("cv_3"), {"version": "", "head": "cv_far", "kind": "control"}, Decision("not_found")),
        (at("cv_3"), {"version": "", "kind": "control"}, Decision("ok", "main", "cv_3", "cv_3")),
        # branches
        (at("cv_3"), {"branch": "side", "version": "", "head": "cv_1", "expect": ""},
         Decision("ok", "side", "cv_1", "cv_1", opens=True)),
        (at("cv_3"), {"branch": "side", "parents": ("cv_1",), "expect": ""},
         Decision("ok", "side", "cv_1", "cv_new", opens=True)),
        (at("cv_3"), {"branch": "side", "expect": "cv_1"}, Decision("not_found")),
        (at("cv_3"), {"branch": "side", "head": "cv_1", "expect": "cv_1"}, Decision("conflict", "side", head="")),
        ([], {}, Decision("ok", "main", "", "cv_new", opens=True)),
        # a turn in flight, and what does not wait for it
        (running(), {}, Decision("busy", "main", head="cv_3", version="cv_p", retry_after=0.7)),
        (running(), {"moves": False, "version": ""}, Decision("ok", "main", "cv_3", "cv_3")),
    ],
)  # fmt: skip
def test_an_addition_is_decided_by_the_same_rules(
    refs: list[Branch], asked: dict[str, object], decision: Decision
) -> None:
    request = msgspec.structs.replace(ADDED, **asked)
    assert decide_append(NOW, CTX, request, {ref.name: ref for ref in refs}, LINE.get) == decision


def test_an_addition_made_before_is_answered_as_then() -> None:
    refs = {"main": Branch("main", "cv_3")}
    again = decide_append(NOW, CTX, msgspec.structs.replace(ADDED, version="cv_2"), refs, LINE.get)
    assert again == Decision("ok", "main", "cv_1", "cv_3", again=True)
    keyed = decide_append(NOW, CTX, ADDED, refs, LINE.get, Known(b"fp-new", "cv_2", NOW + 1))
    assert keyed == Decision("replay", "main", version="cv_2", context=CTX)
    assert decide_append(NOW, CTX, ADDED, refs, LINE.get, Known(b"other", "cv_2", NOW + 1)).outcome == "mismatch"


def test_additions_keep_the_limits_and_notes_of_upkeep_are_let_in() -> None:
    refs = {"main": Branch("main", "cv_3")}
    assert decide_append(NOW, CTX, ADDED, refs, LINE.get, size=LOG_BYTES - 2).outcome == "ok"
    assert decide_append(NOW, CTX, ADDED, refs, LINE.get, size=LOG_BYTES - 1) == Decision("full", what="log")
    note = msgspec.structs.replace(ADDED, moves=False, version="")
    assert decide_append(NOW, CTX, note, refs, LINE.get, size=LOG_BYTES).outcome == "ok"
    many = {f"b{n}": Branch(f"b{n}", "cv_1") for n in range(BRANCHES)}
    fork = msgspec.structs.replace(ADDED, branch="more", head="cv_1", version="")
    assert decide_append(NOW, CTX, fork, many, LINE.get) == Decision("full", what="branches")


LEASE = Lease("main", "cv_p", b"t", 3)


@pytest.mark.parametrize(
    ("ref", "known", "lease", "record", "outcome", "head"),
    [
        (running()[0], "cv_p", LEASE, Commit(status="completed", output=EMPTY, digest=b"d"), "ok", "cv_p"),
        (running()[0], "cv_p", LEASE, Commit(status="incomplete", output=EMPTY, digest=b"d"), "ok", "cv_p"),
        (running()[0], "cv_p", LEASE, Commit(status="failed", output=EMPTY), "ok", "cv_3"),
        (running()[0], "cv_p", LEASE, Commit(status="cancelled", output=EMPTY), "ok", "cv_3"),
        (running(left=-9)[0], "cv_p", LEASE, Commit(status="failed", output=EMPTY), "ok", "cv_3"),
        (running()[0], "cv_p", Lease("main", "cv_p", b"t", 2), Commit(status="failed", output=EMPTY), "fenced", ""),
        (running()[0], "cv_p", Lease("main", "cv_p", b"u", 3), Commit(status="failed", output=EMPTY), "fenced", ""),
        (at("cv_3")[0], "cv_p", LEASE, Commit(status="failed", output=EMPTY), "fenced", ""),
        (None, "cv_p", LEASE, Commit(status="failed", output=EMPTY), "fenced", ""),
        (at("cv_3")[0], "cv_none", LEASE, Commit(status="failed", output=EMPTY), "fenced", ""),
    ],
)
def test_a_commit_needs_the_lease_it_began_with(
    ref: Branch | None, known: str, lease: Lease, record: Commit, outcome: str, head: str
) -> None:  # I7
    decision = decide_commit(ref, LINE.get(known), lease, record)
    assert (decision.outcome, decision.head, decision.again) == (outcome, head, False)


def test_a_commit_repeated_after_a_lost_acknowledgement_is_told_apart_from_one_that_somebody_settled() -> None:
    ref = Branch("main", "cv_p")
    done = Commit(status="completed", output=EMPTY, digest=b"d")
    assert decide_commit(ref, node(), LEASE, done).again
    assert decide_commit(ref, node(digest=b"e"), LEASE, done).outcome == "fenced"
    failed = Commit(status="failed", output=EMPTY)
    assert decide_commit(ref, node(status="failed", digest=b""), LEASE, failed).again
    broken = Commit(status="incomplete", output=EMPTY, digest=b"d")
    assert decide_commit(ref, node(status="incomplete"), LEASE, broken).again
    assert decide_commit(ref, node(status="incomplete", digest=b""), LEASE, broken).outcome == "fenced"
    bare = Commit(status="incomplete", output=EMPTY)
    assert decide_commit(ref, node(status="incomplete", digest=b""), LEASE, bare).outcome == "fenced"


def test_a_full_log_takes_no_answer_but_lets_a_turn_fail() -> None:
    done = Commit(status="completed", output=Draft(b"xy"), digest=b"d")
    ref = running()[0]
    assert decide_commit(ref, LINE["cv_p"], LEASE, done, LOG_BYTES - 2).outcome == "ok"
    assert decide_commit(ref, LINE["cv_p"], LEASE, done, LOG_BYTES - 1).outcome == "full"
    failed = Commit(status="failed", output=EMPTY)
    assert decide_commit(ref, LINE["cv_p"], LEASE, failed, LOG_BYTES + 9).outcome == "ok"


def test_sizes_classes_and_times() -> None:
    assert draft_size(Draft(b"abc", (Payload("i", 0, b"n" * 16, b"body", b"key"),))) == 26
    assert higher("internal", "public") == "internal"
    assert higher("internal", "secret") == "secret"
    assert slid(NOW, 5, True, NOW + 1) == NOW + 5
    assert slid(NOW, 5, False, NOW + 1) == NOW + 1
    assert slid(NOW, 5, False, 0) == NOW + 5
    assert slid(NOW, 0, True, 0) == 0


def test_what_is_missing_is_told_from_the_oldest_on_within_bounds() -> None:  # 25
    assert missing("cv_1", "cv_3", LINE.get) == ["cv_2", "cv_3"]
    assert missing("", "cv_2", LINE.get) == ["cv_1", "cv_2"]
    assert missing("cv_3", "cv_3", LINE.get) == []
    assert missing("cv_x", "cv_3", LINE.get) is None
    long = {f"v{n}": node(f"v{n - 1}" if n else "") for n in range(MISSING + 2)}
    assert missing("v0", f"v{MISSING}", long.get) == [f"v{n}" for n in range(1, MISSING + 1)]
    assert missing("v0", f"v{MISSING + 1}", long.get) is None
    assert fitting([MISSING_BYTES - 1, 1, 1]) == 2
    assert fitting([MISSING_BYTES + 1, 1]) == 0
    assert fitting([]) == 0
