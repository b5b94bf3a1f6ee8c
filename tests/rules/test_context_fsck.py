"""What is damaged is named, what is whole is not, redaction is no damage (I8, CX-torn-tail, CX-kill9-append)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from tidegate.exchange.context import Added, Entry, EntryKind, Item, Note, Status
from tidegate.exchange.context_log import Damage, Meta, Payload, Ref, StoredEntry
from tidegate.rules.context_fsck import damage_of
from tidegate.wire.context_entry import plain_seal, settled_commit, version_digest, write_entry

CTX = "ctx_A"


class Log:
    """An honest log that grows."""

    def __init__(self) -> None:
        self.entries: list[StoredEntry] = []
        self.payloads: list[Payload] = []
        self.digests: dict[str, bytes] = {}
        self.count = 0
        self.seal = plain_seal(self._nonce)

    def _nonce(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(16, "big")

    def add(self, kind: EntryKind, version: str, parent: str = "", status: Status = "completed", item: str = "",
            note: Note | None = None, parents: tuple[str, ...] = ()) -> None:  # fmt: skip
        changes = (Added((Item(id=item, type="message", role="user", content=b'"%s says"' % item.encode()),)),)
        draft, _ = write_entry(Entry(kind=kind, version=version, changes=changes if item else (), note=note), self.seal)
        if kind == "commit" and status == "incomplete":
            draft = settled_commit(version, 5)
        seq = len(self.entries) + 1
        line = parents or ((parent,) if parent else ())
        digest = b""
        if kind != "reserve" and version and status in ("completed", "incomplete"):
            bodies = [entry.body for entry in self.entries if entry.version == version]
            digest = version_digest(b"salt", [self.digests[name] for name in line], [*bodies, draft.body])
            self.digests[version] = digest
        self.entries.append(StoredEntry(
            seq=seq, kind=kind, version=version, parents=line, branch="main",
            status="in_progress" if kind == "reserve" else status, body=draft.body,
            digest=b"" if status == "incomplete" else digest,
        ))  # fmt: skip
        self.payloads += [replace(payload, seq=seq) for payload in draft.payloads]

    def turn(self, version: str, parent: str = "", status: Status = "completed") -> None:
        self.add("reserve", version, parent, item=f"q{version}")
        self.add("commit", version, parent, status, item=f"a{version}" if status == "completed" else "")


@pytest.fixture
def log() -> Log:
    log = Log()
    log.turn("1")
    log.turn("2", "1")
    log.turn("x", "2", "failed")
    log.turn("3", "2", "incomplete")
    log.add("delta", "4", "3", item="d")
    log.add("delta", "5", parents=("4", "1"))
    log.add("control", "", note=Note("redact", items=("gone",)))
    log.turn("6", "5")
    return log


def meta_of(log: Log, head: str = "6", **more: Any) -> Meta:
    more.setdefault("refs", (Ref("main", head),))
    return Meta(tenant="t", id=CTX, salt=b"salt", seq=len(log.entries), **more)


def found(log: Log, **more: Any) -> list[Damage]:
    return list(damage_of(meta_of(log, **more), log.entries, log.payloads))


def told(damages: Sequence[Damage]) -> list[tuple[str, int, str]]:
    return [(damage.what, damage.seq, damage.version) for damage in damages]


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1 << at % 8]) + body[at + 1 :]


def test_a_whole_log_raises_no_alarm_settled_and_failed_turns_included(log: Log) -> None:
    assert found(log) == []
    log.add("reserve", "7", "6", item="q7")
    assert found(log, refs=(Ref("main", "6", "7"),)) == []


def test_the_last_record_is_named_wherever_it_was_cut(log: Log) -> None:
    last = log.entries[-1]
    for size in range(len(last.body)):
        log.entries[-1] = replace(last, body=last.body[:size])
        assert told(found(log)) == [("checksum", 13, "6")]
    log.entries.pop()
    log.payloads.pop()
    meta = replace(meta_of(log), seq=13)
    assert told(list(damage_of(meta, log.entries, log.payloads))) == [
        ("missing_entry", 13, ""), ("missing_entry", 12, "6"), ("dangling_head", 0, "6"),
    ]  # fmt: skip


def test_a_flipped_bit_in_any_entry_names_that_entry_alone(log: Log) -> None:
    for n, entry in enumerate(list(log.entries)):
        for at in range(0, len(entry.body), 8):
            log.entries[n] = replace(entry, body=flipped(entry.body, at))
            assert told(found(log)) == [("checksum", entry.seq, entry.version)]
        log.entries[n] = entry


def test_a_flipped_bit_in_any_content_or_nonce_names_its_item(log: Log) -> None:
    for n, payload in enumerate(list(log.payloads)):
        for at in range(len(payload.body)):
            log.payloads[n] = replace(payload, body=flipped(payload.body, at))
            assert [(one.what, one.seq, one.detail) for one in found(log)] == [
                ("digest", payload.seq, f"{payload.item} 0")
            ]
        log.payloads[n] = replace(payload, nonce=flipped(payload.nonce, 9))
        assert [one.what for one in found(log)] == ["digest"]
        log.payloads[n] = payload


def test_an_entry_that_was_exchanged_for_another_whole_one_breaks_the_digest(log: Log) -> None:
    other = Log()
    other.turn("9")
    other.add("reserve", "1", item="else")
    other.add("commit", "1")
    log.entries[0] = replace(log.entries[0], body=other.entries[2].body)
    log.payloads[0] = replace(other.payloads[2], seq=1)
    assert told(found(log)) == [("digest", 2, "1")]
    log.entries[0] = replace(log.entries[0], body=other.entries[0].body)
    assert ("checksum", 1, "1") in told(found(log))


def test_a_lost_entry_is_named_with_what_it_leaves_behind(log: Log) -> None:
    del log.entries[1]
    assert told(list(damage_of(replace(meta_of(log), seq=13), log.entries, log.payloads))) == [
        ("missing_entry", 2, ""), ("missing_entry", 1, "1"),
    ]  # fmt: skip
    del log.entries[0]
    names = told(list(damage_of(replace(meta_of(log), seq=13), log.entries, log.payloads)))
    assert ("missing_entry", 3, "2") in names
    assert ("missing_entry", 10, "5") in names


def test_gaps_are_named_within_bounds(log: Log) -> None:
    assert len(list(damage_of(replace(meta_of(log), seq=5000), log.entries, log.payloads))) == 100


def test_a_lost_content_is_named_unless_it_was_redacted(log: Log) -> None:
    lost = log.payloads.pop(0)
    assert [(one.what, one.seq, one.version, one.detail) for one in found(log)] == [("missing_payload", 1, "1", "q1 0")]
    for what, damages in (("redact", 0), ("expire", 0), ("rollback", 1)):
        log.add("control", "", note=Note(what, items=(lost.item,)))
        assert len(found(log)) == damages
        log.entries.pop()


def test_a_content_that_nobody_names_is_an_orphan(log: Log) -> None:
    log.payloads.append(Payload("stray", 3, b"n", b"body", seq=2))
    assert found(log) == [Damage(CTX, "orphan", 2, "1", "stray 3")]


def test_a_head_leads_to_a_version_that_stands(log: Log) -> None:
    for head in ("none", "x"):
        assert found(log, head=head) == [Damage(CTX, "dangling_head", 0, head, "main")]
    assert found(log, refs=(Ref("main", "6", "lost"),)) == [Damage(CTX, "dangling_head", 0, "lost", "main")]
    assert found(log, refs=(Ref("main", "3"), Ref("side", ""))) == []


def test_a_turn_that_nobody_runs_and_nobody_ended_is_named(log: Log) -> None:
    log.add("reserve", "7", "6")
    assert found(log) == [Damage(CTX, "missing_entry", 14, "7", "its commit entry")]


def test_entries_of_a_later_format_are_no_damage(log: Log) -> None:
    draft, _ = write_entry(Entry(v=99, kind="control"), log.seal)
    log.entries.append(StoredEntry(seq=14, kind="control", body=draft.body))
    assert found(log) == []


def test_a_turn_may_fail_without_a_word(log: Log) -> None:
    log.entries[5] = replace(log.entries[5], body=b"")
    assert log.entries[5].status == "failed"
    assert found(log) == []
