"""Entries as they are stored: equal in, equal out; contents beside them; nothing torn is read (CRP 1.2, 4.5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.context import (
    Added,
    Answered,
    Change,
    Ended,
    Entry,
    EpochBegun,
    Geo,
    Item,
    Marked,
    Note,
    PolicyChanged,
    Privacy,
    Provenance,
    Removed,
    Revised,
    SettingsChanged,
    StateChanged,
    Summed,
    TemplateChanged,
    TokenUse,
)
from tidegate.exchange.context_log import Payload, StoredEntry
from tidegate.exchange.fault import Fault
from tidegate.wire.context_entry import (
    BrokenEntry,
    content_digest,
    pack,
    plain_seal,
    plain_unseal,
    read_entry,
    read_structure,
    references,
    settled_commit,
    unpack,
    version_digest,
    write_entry,
)

VERSION = "cv_01J9ZK4A0C3E5G7H9J1K3M5N7P"
FIXTURES = Path(__file__).parent / "entries"

WHOLE = Item(
    id="it_1", type="fact", rev=2, key="travel.class", role="user", content=b'{"seat":1.10}', status="done",
    pinned=True, priority=7, elide="drop", ttl=60, valid_from=1, valid_to=2, at=3, geo=Geo(point=(8.68, 50.11)),
    about=("a", "b"), privacy="personal", schema="urn:x:1", must_understand=True,
    provenance=Provenance("tool", "v", "m", "where"), supersedes="it_0", call_id="c", name="n", covers=("it_0", "it_1"),
    tokens=9, recorded=10, extra={"x-new": b"[1]"},
)  # fmt: skip
CHANGES: tuple[Change, ...] = (
    Added((WHOLE, Item(id="it_2", type="place", content=b'"x"', geo=Geo(bbox=(170.0, -10.0, -170.0, 10.0))))),
    Revised(Item(id="it_2", rev=5, type="document", content=b'"' + b"long " * 300 + b'"')),
    Ended("it_0", 99),
    Removed(("it_3", "it_4")),
    Marked("it_1", True, 3, "never", "secret"),
    Summed(("it_5",), Item(id="it_6", type="summary", content=b'"short"', covers=("it_5", "it_5"))),
    StateChanged("merge", 8, b'{"trip":{"mode":"train"}}'),
    SettingsChanged(8, b'{"model":"chat-large"}'),
    PolicyChanged(b'"chat-default"'),
    TemplateChanged("airline-agent@3"),
    EpochBegun("trim", 1),
)
ENTRY = Entry(
    kind="commit", version=VERSION, ts=1_795_212_000_000, author="anna", status="incomplete", changes=CHANGES,
    use=TokenUse(sent=5260, cached=4736), answer=Answered(stop="stop", model="m", vendor="v", usage=b"{}"),
    note=Note("merge", by="anna", to=VERSION, items=("it_1",)),
)  # fmt: skip


def counted() -> Callable[[], bytes]:
    numbers = iter(range(1, 10_000))
    return lambda: next(numbers).to_bytes(16, "big")


def stored(body: bytes) -> StoredEntry:
    """*body*, filed as what it says it is."""
    entry = read_structure(body)
    return StoredEntry(
        seq=7, kind=entry.kind, version=entry.version, parents=("cv_a", "cv_b"), branch="main", body=body
    )


def by_name(payloads: tuple[Payload, ...]) -> dict[tuple[str, int], Payload]:
    return {(payload.item, payload.rev): payload for payload in payloads}


def with_checksum(signed: bytes) -> bytes:
    return signed + xxhash.xxh3_64_digest(signed)


def test_an_entry_comes_back_as_it_was_written_with_its_place_and_its_digests() -> None:
    draft, told = write_entry(ENTRY, plain_seal(counted()))
    read = read_entry(stored(draft.body), by_name(draft.payloads), plain_unseal)
    assert read == msgspec.structs.replace(told, seq=7, parents=("cv_a", "cv_b"), branch="main")
    plain = msgspec.structs.replace(WHOLE, digest=content_digest((1).to_bytes(16, "big"), pack(WHOLE)))
    assert isinstance(read.changes[0], Added)
    assert read.changes[0].items[0] == plain


def test_equal_entries_make_equal_bytes_59() -> None:
    assert write_entry(ENTRY, plain_seal(counted()))[0] == write_entry(ENTRY, plain_seal(counted()))[0]


def test_two_contents_of_one_revision_are_not_written_into_one_entry() -> None:
    twice = (Added((WHOLE,)), Revised(WHOLE))
    with pytest.raises(ValueError, match="two contents"):
        write_entry(Entry(kind="delta", changes=twice), plain_seal(counted()))


def test_no_word_of_a_content_is_in_the_body() -> None:
    secret = msgspec.structs.replace(
        WHOLE, content=b'"MARK"', key="MARK.k", about=("MARK",), name="MARK", call_id="MARK", schema="MARK",
        extra={"MARK": b'"MARK"'}, provenance=Provenance(source="MARK"),
    )  # fmt: skip
    changes = (Added((secret,)), StateChanged("set", 1, b'{"MARK":1}'), SettingsChanged(1, b'"MARK"'))
    draft, _ = write_entry(Entry(kind="delta", changes=changes), plain_seal(counted()))
    assert b"MARK" not in draft.body
    assert [payload.item for payload in draft.payloads] == ["it_1", "state", "settings"]


def test_each_content_is_sealed_by_its_class_and_the_state_as_personal() -> None:
    seen: list[tuple[str, int, Privacy]] = []

    def seal(item: str, rev: int, privacy: Privacy, packed: bytes) -> Payload:
        seen.append((item, rev, privacy))
        return Payload(item, rev, b"n" * 16, packed)

    write_entry(ENTRY, seal)
    assert seen == [
        ("it_1", 2, "personal"), ("it_2", 0, "internal"), ("it_2", 5, "internal"), ("it_6", 0, "internal"),
        ("state", 8, "personal"), ("settings", 8, "internal"),
    ]  # fmt: skip


def test_a_missing_content_is_redacted_and_the_rest_of_the_entry_is_read() -> None:
    draft, _ = write_entry(ENTRY, plain_seal(counted()))
    left = by_name(draft.payloads)
    for gone in (("it_1", 2), ("state", 8)):
        del left[gone]
    read = read_entry(stored(draft.body), left, plain_unseal)
    added, state = read.changes[0], read.changes[6]
    assert isinstance(added, Added)
    assert added.items[0].type == "redacted"
    assert (added.items[0].content, added.items[0].key, added.items[0].extra) == (b"", "", {})
    assert added.items[1].content == b'"x"'
    assert isinstance(state, StateChanged)
    assert state.value == b""


def test_references_name_every_content_in_order() -> None:
    draft, told = write_entry(ENTRY, plain_seal(counted()))
    wanted = [(p.item, p.rev, content_digest(p.nonce, p.body)) for p in draft.payloads]
    assert list(references(read_structure(draft.body))) == wanted
    assert list(references(told)) == wanted


def test_every_truncation_and_every_flipped_bit_of_a_body_is_named_i8() -> None:
    body = write_entry(ENTRY, plain_seal(counted()))[0].body
    for length in range(len(body)):
        with pytest.raises(BrokenEntry):
            read_structure(body[:length])
    for place in range(len(body)):
        for bit in range(8):
            torn = bytearray(body)
            torn[place] ^= 1 << bit
            with pytest.raises(BrokenEntry):
                read_structure(bytes(torn))


def test_every_flipped_byte_of_a_content_and_of_its_nonce_is_named_i8() -> None:
    draft, _ = write_entry(Entry(kind="delta", changes=(Added((WHOLE,)),)), plain_seal(counted()))
    (payload,) = draft.payloads
    for field in ("nonce", "body"):
        for place in range(len(getattr(payload, field))):
            torn = bytearray(getattr(payload, field))
            torn[place] ^= 1
            changed = msgspec.structs.replace(payload, **{field: bytes(torn)})
            with pytest.raises(BrokenEntry, match="it_1 does not match"):
                read_entry(stored(draft.body), {("it_1", 2): changed}, plain_unseal)


def test_an_entry_of_a_later_format_is_refused_and_not_guessed_at_18() -> None:
    for later in (2, 127, 128, 70_000):
        body = with_checksum(msgspec.msgpack.encode({"v": later, "kind": "quantum", "new": {}}))
        with pytest.raises(Fault) as caught:
            read_structure(body)
        assert (caught.value.code, caught.value.status) == ("entry_version_unsupported", 503)
    many = with_checksum(msgspec.msgpack.encode({"v": 2, **{f"m{n}": n for n in range(40)}}))
    with pytest.raises(Fault):
        read_structure(many)


@pytest.mark.parametrize("signed", [b"\x80", b"\x90", b"\x01", b"\x81\xa1v\xa1x", b"\x81\xa1v\x00", b"\x81\xa1v", b""])
def test_what_is_no_entry_is_broken_even_with_a_good_checksum(signed: bytes) -> None:
    with pytest.raises(BrokenEntry):
        read_structure(with_checksum(signed))


def test_the_end_of_a_turn_that_left_nothing_needs_no_body() -> None:
    row = StoredEntry(seq=2, kind="commit", version="cv_1", parents=("cv_0",), branch="main", status="failed", ts=5)
    assert read_entry(row, {}, plain_unseal) == Entry(
        kind="commit", version="cv_1", status="failed", ts=5, seq=2, parents=("cv_0",), branch="main"
    )
    with pytest.raises(BrokenEntry):
        read_entry(msgspec.structs.replace(row, status="completed"), {}, plain_unseal)


def test_members_that_a_later_program_of_this_format_adds_are_passed_over() -> None:
    body = with_checksum(msgspec.msgpack.encode({"v": 1, "kind": "delta", "colour": "blue", "ts": 5}))
    assert read_structure(body) == Entry(kind="delta", ts=5)


def test_a_content_that_is_no_content_is_broken() -> None:
    for packed in (b"\x93\x01", b"\xc1", b"\x28\xb5\x2f\xfd\x00", b"\x90", pack(WHOLE) + b"\x00"):
        with pytest.raises(BrokenEntry):
            unpack(WHOLE, packed)


def test_a_sealed_content_is_not_opened_without_a_key() -> None:
    with pytest.raises(BrokenEntry):
        plain_unseal(Payload("it_1", 0, b"", b"", b"wrapped"))


def test_the_content_digest_covers_nonce_and_body() -> None:
    assert content_digest(b"n", b"b") == sha256(b"nb").digest()


def test_the_version_digest_is_the_chain_of_crp_1_2() -> None:
    by_hand = sha256(b"crp1" + b"salt" + b"P" * 32 + b"Q" * 32 + b"\0" * 7 + b"\x03one" + b"\0" * 7 + b"\x03two")
    assert version_digest(b"salt", (b"P" * 32, b"Q" * 32), (b"one", b"two")) == by_hand.digest()


def test_a_settled_turn_ends_incomplete_with_nothing_beside_it() -> None:
    draft = settled_commit(VERSION, 5)
    assert draft.payloads == ()
    assert read_structure(draft.body) == Entry(
        kind="commit", version=VERSION, ts=5, author="gateway", status="incomplete"
    )


def test_a_long_content_is_compressed_and_a_short_one_is_not() -> None:
    long = Item(id="i", type="message", content=b'"' + b"again and " * 200 + b'"')
    assert len(pack(long)) < 100
    assert unpack(Item(id="i", type="message"), pack(long)) == long
    assert pack(Item(type="message", content=b'"x"')) == b"\x81\xa7content\xc4\x03" + b'"x"'


TEXT = st.text(max_size=20)
ITEMS = st.builds(
    Item, id=TEXT, type=TEXT, rev=st.integers(0, 2**53), key=TEXT, content=st.binary(max_size=1200), name=TEXT,
    about=st.lists(TEXT, max_size=3).map(tuple), at=st.none() | st.integers(0, 2**50), call_id=TEXT,
    geo=st.none() | st.builds(Geo, point=st.tuples(st.floats(-180, 180), st.floats(-90, 90))),
    extra=st.dictionaries(TEXT, st.binary(max_size=9), max_size=3), provenance=st.builds(Provenance, source=TEXT),
)  # fmt: skip


@given(ITEMS)
def test_any_item_survives_the_round_trip_17(item: Item) -> None:
    draft, told = write_entry(Entry(kind="delta", changes=(Added((item,)),)), plain_seal(counted()))
    read = read_entry(stored(draft.body), by_name(draft.payloads), plain_unseal)
    assert read.changes == told.changes
    assert told.changes == (Added((msgspec.structs.replace(item, digest=told.changes[0].items[0].digest),)),)  # type: ignore[union-attr]


@pytest.mark.parametrize("file", sorted(FIXTURES.glob("*.json")), ids=lambda file: file.stem)
def test_entries_that_older_programs_wrote_are_read_as_they_were_meant_18_60(file: Path) -> None:
    """``body`` and ``payloads`` were stored once and never change; ``meant`` is what they must always say."""
    kept = json.loads(file.read_text())
    payloads = tuple(
        Payload(p["item"], p["rev"], bytes.fromhex(p["nonce"]), bytes.fromhex(p["body"])) for p in kept["payloads"]
    )
    read = read_entry(stored(bytes.fromhex(kept["body"])), by_name(payloads), plain_unseal)
    assert msgspec.json.decode(msgspec.json.encode(read)) == kept["meant"]


def test_there_are_fixtures_of_every_format() -> None:
    assert {file.stem.split("_")[0] for file in FIXTURES.glob("*.json")} == {"v1"}
