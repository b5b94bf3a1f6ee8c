"""Twin of rules/context_missing.py (CRP 5.5, 14, #25)."""

from __future__ import annotations

from tidegate.exchange.context import Added, Entry, Item, StateChanged
from tidegate.exchange.context_log import MISSING, MISSING_BYTES, StoredEntry
from tidegate.rules.context_fold import History
from tidegate.rules.context_missing import missing_of


def history_of(*changes: tuple[object, ...], size: int = 0) -> History:
    """One version ``cv_<n>`` for each of *changes*."""
    history = History("ctx_1", b"salt")
    for seq, each in enumerate(changes, 1):
        parents = (f"cv_{seq - 1}",) if seq > 1 else ()
        entry = Entry(kind="delta", version=f"cv_{seq}", ts=seq, changes=each, seq=seq, parents=parents, branch="main")  # type: ignore[arg-type]
        stored = StoredEntry(seq=seq, kind="delta", version=f"cv_{seq}", parents=parents, branch="main", body=b"x")
        history.add(entry, stored)
    return history


def added(id: str, content: bytes = b'"hi"') -> tuple[object, ...]:
    return (Added((Item(id=id, type="message", role="user", content=content),)),)


def test_every_version_behind_the_parent_is_told_with_its_ops() -> None:
    history = history_of(added("a"), added("b"), (StateChanged("merge", 0, b'{"n":1}'),))
    told = missing_of(history, "cv_1", "cv_3")
    assert [each["version"] for each in told["missing"]] == ["cv_2", "cv_3"]
    assert told["missing"][0]["ops"][0]["op"] == "append"
    assert told["missing"][1]["ops"][0]["on"] == "state"
    assert "missing_truncated" not in told
    assert missing_of(history, "cv_3", "cv_3") == {"missing": []}
    assert len(missing_of(history, "", "cv_3")["missing"]) == 3


def test_a_parent_that_is_no_ancestor_has_to_read_the_log() -> None:
    history = history_of(added("a"), added("b"))
    assert missing_of(history, "cv_2", "cv_1") == {"missing": [], "missing_truncated": True}


def test_a_hundred_versions_or_a_quarter_of_a_mebibyte_are_told_at_most() -> None:
    many = history_of(*[added(f"a{number}") for number in range(MISSING + 2)])
    told = missing_of(many, "cv_1", f"cv_{MISSING + 2}")
    assert len(told["missing"]) == MISSING and told["missing_truncated"] is True
    assert "missing_truncated" not in missing_of(many, "cv_2", f"cv_{MISSING + 2}")
    big = history_of(added("a"), *[added(f"b{number}", b'"' + b"x" * 100_000 + b'"') for number in range(4)])
    told = missing_of(big, "cv_1", "cv_5")
    assert len(told["missing"]) == MISSING_BYTES // 100_000 and told["missing_truncated"] is True
