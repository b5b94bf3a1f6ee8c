"""Entries of a conversation's log as they are stored: structure, contents beside it, digests (CRP 1.2, 4.5, 11.2).

An entry's body is one MessagePack map that begins with its format number ``v``, and 8 bytes of checksum behind it. Of
an item it holds what readers of the log need and no person said: the rest is the item's *payload*, which lies beside
the entry, can be compressed, sealed and destroyed, and is covered by its digest alone. What a store decides (``seq``,
``parents``, ``branch``) is in neither.

Equal entries give equal bytes. Nothing here reads a clock or draws a number: nonces come from whoever seals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from types import ModuleType
from typing import Any, Final

import msgspec
import xxhash

from tidegate.exchange.context import (
    FORMAT,
    SETTINGS,
    STATE,
    Added,
    Change,
    Entry,
    Geo,
    Item,
    Privacy,
    Provenance,
    Revised,
    SettingsChanged,
    StateChanged,
    Summed,
)
from tidegate.exchange.context_log import Draft, Payload, StoredEntry
from tidegate.exchange.fault import Fault

Seal = Callable[[str, int, Privacy, bytes], Payload]
"""(item, revision, class, packed content) -> what is stored of it."""
Unseal = Callable[[Payload], bytes]
"""What was stored -> the packed content. ``BrokenEntry`` when it cannot be opened."""

CHECKSUM: Final = 8
"""Bytes at the end of every body."""

_COMPRESSED_FROM: Final = 1024
"""Bytes. To inflate costs 20 us however short a frame is, and a cold load does so once an item."""
_INFLATED_AT_MOST: Final = 64 * 1024 * 1024
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""A zstd frame. No map of MessagePack and no JSON begins so, hence no mark is needed."""
_HEAD: Final = b"\xa1v"
_OURS: Final = frozenset(bytes((v,)) for v in range(1, FORMAT + 1))

_structure: Final = msgspec.msgpack.Encoder().encode
_content: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_read: Final = msgspec.msgpack.Decoder(Entry).decode
_read_any: Final = msgspec.msgpack.Decoder(strict=False).decode
_replace: Final = msgspec.structs.replace


class BrokenEntry(ValueError):
    """A stored entry or content is not what was written: torn, edited, or of another item."""


# -- sealing ---------------------------------------------------------------------------------------------------------


def plain_seal(nonce: Callable[[], bytes]) -> Seal:
    """Keep contents as they are, each with 16 bytes that *nonce* draws."""

    def seal(item: str, rev: int, privacy: Privacy, packed: bytes) -> Payload:
        return Payload(item, rev, nonce(), packed)

    return seal


def plain_unseal(payload: Payload) -> bytes:
    """The packed content of a payload that nobody sealed."""
    if payload.ikey:
        raise BrokenEntry(f"{payload.item} is sealed, and there is no key")
    return payload.body


# -- digests ---------------------------------------------------------------------------------------------------------


def content_digest(nonce: bytes, body: bytes) -> bytes:
    """SHA-256 of a payload as stored. The nonce keeps low-entropy content from being confirmed by guessing."""
    return sha256(nonce + body).digest()


def version_digest(salt: bytes, parents: Sequence[bytes], bodies: Sequence[bytes]) -> bytes:
    """The digest of a version: over those of its *parents* in their order, then the stored *bodies* of its entries by
    ``seq``, each behind its length in 8 bytes, most significant first."""
    digest = sha256(b"crp1" + salt)
    for parent in parents:
        digest.update(parent)
    for body in bodies:
        digest.update(len(body).to_bytes(8, "big"))
        digest.update(body)
    return digest.digest()


# -- writing ---------------------------------------------------------------------------------------------------------


def write_entry(entry: Entry, seal: Seal) -> tuple[Draft, Entry]:
    """*entry* ready to be stored, and once more with the digests that its contents have now.

    State goes to *seal* as ``personal``, for nobody marks it; settings as ``internal``. ``ValueError`` for two contents
    of one (item, rev): which is whose could not be told again.
    """
    payloads: list[Payload] = []
    bare: list[Change] = []
    whole: list[Change] = []
    for change in entry.changes:
        if isinstance(change, Added):
            pairs = [_write_item(item, seal, payloads) for item in change.items]
            bare.append(Added(tuple([pair[0] for pair in pairs])))
            whole.append(Added(tuple([pair[1] for pair in pairs])))
        elif isinstance(change, Revised):
            stored, item = _write_item(change.item, seal, payloads)
            bare.append(Revised(stored))
            whole.append(Revised(item))
        elif isinstance(change, Summed):
            stored, item = _write_item(change.summary, seal, payloads)
            bare.append(Summed(change.ids, stored))
            whole.append(Summed(change.ids, item))
        elif isinstance(change, StateChanged):
            digest = _lay(STATE, change.rev, "personal", change.value, seal, payloads)
            bare.append(StateChanged(change.how, change.rev, b"", digest))
            whole.append(StateChanged(change.how, change.rev, change.value, digest))
        elif isinstance(change, SettingsChanged):
            digest = _lay(SETTINGS, change.rev, "internal", change.value, seal, payloads)
            bare.append(SettingsChanged(change.rev, b"", digest))
            whole.append(SettingsChanged(change.rev, change.value, digest))
        else:
            bare.append(change)
            whole.append(change)
    if len(payloads) > 1 and len({(payload.item, payload.rev) for payload in payloads}) < len(payloads):
        raise ValueError("an entry has two contents of one revision")
    return Draft(_body(entry, bare), tuple(payloads)), _replace(entry, changes=tuple(whole))


def settled_commit(version: str, ts: int, author: str = "gateway") -> Draft:
    """The entry that ends a turn which nobody else ended (CRP 5.2 settle)."""
    return Draft(_body(Entry(kind="commit", version=version, ts=ts, author=author, status="incomplete"), ()))


def _body(entry: Entry, changes: Sequence[Change]) -> bytes:
    """The signed bytes. Written by hand and not as the Struct, whose default ``v`` would go unsaid."""
    members: dict[str, Any] = {"v": entry.v, "kind": entry.kind, "ts": entry.ts, "status": entry.status}
    if entry.version:
        members["version"] = entry.version
    if entry.author:
        members["author"] = entry.author
    if changes:
        members["changes"] = changes
    if entry.use is not None:
        members["use"] = entry.use
    if entry.answer is not None:
        members["answer"] = entry.answer
    if entry.note is not None:
        members["note"] = entry.note
    body = _structure(members)
    return body + xxhash.xxh3_64_digest(body)


def _write_item(item: Item, seal: Seal, payloads: list[Payload]) -> tuple[Item, Item]:
    """The item as its entry holds it, and the whole one, both with the digest."""
    packed = pack(item)
    payload = seal(item.id, item.rev, item.privacy, packed)
    payloads.append(payload)
    digest = content_digest(payload.nonce, payload.body)
    made = item.provenance
    bare = Item(
        id=item.id, type=item.type, rev=item.rev, role=item.role, status=item.status, pinned=item.pinned,
        priority=item.priority, elide=item.elide, ttl=item.ttl, valid_from=item.valid_from, valid_to=item.valid_to,
        privacy=item.privacy, must_understand=item.must_understand, supersedes=item.supersedes, covers=item.covers,
        tokens=item.tokens, recorded=item.recorded, digest=digest,
        provenance=Provenance(made.by, made.vendor, made.model) if made.source else made,
    )  # fmt: skip
    return bare, _replace(item, digest=digest)


def _lay(name: str, rev: int, privacy: Privacy, value: bytes, seal: Seal, payloads: list[Payload]) -> bytes:
    payload = seal(name, rev, privacy, squeezed(value))
    payloads.append(payload)
    return content_digest(payload.nonce, payload.body)


# -- contents --------------------------------------------------------------------------------------------------------


def pack(item: Item) -> bytes:
    """What of *item* is its payload, compressed where that helps."""
    members: dict[str, Any] = {}
    if item.content:
        members["content"] = item.content
    if item.key:
        members["key"] = item.key
    if item.about:
        members["about"] = item.about
    if item.at is not None:
        members["at"] = item.at
    if item.geo is not None:
        members["geo"] = item.geo.point if item.geo.point is not None else item.geo.bbox
    if item.schema:
        members["schema"] = item.schema
    if item.call_id:
        members["call_id"] = item.call_id
    if item.name:
        members["name"] = item.name
    if item.provenance.source:
        members["source"] = item.provenance.source
    if item.extra:
        members["extra"] = item.extra
    return squeezed(_content(members))


def unpack(item: Item, packed: bytes) -> Item:
    """*item* of an entry with the content that :func:`pack` made. ``BrokenEntry`` for anything else."""
    try:
        members = _read_any(inflated(packed))
        source = members.get("source", "")
        made = item.provenance
        return _replace(
            item, content=members.get("content", b""), key=members.get("key", ""),
            about=tuple(members.get("about", ())), at=members.get("at"), geo=_geo(members.get("geo")),
            schema=members.get("schema", ""), call_id=members.get("call_id", ""), name=members.get("name", ""),
            provenance=Provenance(made.by, made.vendor, made.model, source) if source else made,
            extra=members.get("extra", {}),
        )  # fmt: skip
    except (msgspec.MsgspecError, AttributeError, TypeError, ValueError) as error:
        raise BrokenEntry(f"the content of {item.id} cannot be read") from error


def _geo(place: Any) -> Geo | None:
    if place is None:
        return None
    return Geo(point=(place[0], place[1])) if len(place) == 2 else Geo(bbox=(place[0], place[1], place[2], place[3]))


def squeezed(clear: bytes) -> bytes:
    """*clear*, compressed where that is worth its while."""
    if len(clear) < _COMPRESSED_FROM:
        return clear
    small: bytes = _compressor().compress(clear, _compressor().FLUSH_FRAME)
    return small if len(small) < len(clear) else clear


def inflated(packed: bytes) -> bytes:
    """What :func:`squeezed` was given. Bounded, for a store is no more trusted than a client; ``BrokenEntry`` for what
    is no whole frame."""
    if packed[:4] != _MAGIC:
        return packed
    zstd = _zstd()
    try:
        size = zstd.get_frame_info(packed).decompressed_size
        if size is None or size > _INFLATED_AT_MOST:
            raise BrokenEntry("a content inflates to too much")
        reader = zstd.ZstdDecompressor()
        clear: bytes = reader.decompress(packed, size)
    except zstd.ZstdError as error:
        raise BrokenEntry("a content does not inflate") from error
    if not reader.eof or reader.unused_data:
        raise BrokenEntry("a content does not inflate")
    return clear


@cache
def _zstd() -> ModuleType:
    """Loaded at the first use: most gateways keep no contexts."""
    from backports import zstd

    return zstd


@cache
def _compressor() -> Any:
    """One for all frames: to make one costs more than a short frame."""
    return _zstd().ZstdCompressor()


# -- reading ---------------------------------------------------------------------------------------------------------


def read_structure(body: bytes) -> Entry:
    """The entry in *body* as it was signed, contents empty. ``BrokenEntry`` for a body that is not whole; Fault
    ``entry_version_unsupported`` for one of a later format (CRP 4.5)."""
    if len(body) <= CHECKSUM or xxhash.xxh3_64_digest(body[:-CHECKSUM]) != body[-CHECKSUM:]:
        raise BrokenEntry("the checksum does not match")
    signed = body[:-CHECKSUM]
    if not (signed[1:3] == _HEAD and signed[3:4] in _OURS):
        _refuse(signed)
    try:
        return _read(signed)
    except msgspec.MsgspecError as error:
        raise BrokenEntry("the entry cannot be read") from error


def _refuse(signed: bytes) -> None:
    """Says why a body whose format number is not at once seen to be ours is not read."""
    try:
        found = _read_any(signed).get("v")
    except (msgspec.MsgspecError, AttributeError) as error:
        raise BrokenEntry("the entry cannot be read") from error
    if isinstance(found, int) and found > FORMAT:
        raise Fault("entry_version_unsupported", f"An entry has format {found}, this gateway reads up to {FORMAT}.")
    if not isinstance(found, int) or found < 1:
        raise BrokenEntry("the entry has no format number")


def references(entry: Entry) -> Iterator[tuple[str, int, bytes]]:
    """(item, rev, digest) of every content that *entry* has beside it."""
    for change in entry.changes:
        if isinstance(change, Added):
            for item in change.items:
                yield item.id, item.rev, item.digest
        elif isinstance(change, Revised):
            yield change.item.id, change.item.rev, change.item.digest
        elif isinstance(change, Summed):
            yield change.summary.id, change.summary.rev, change.summary.digest
        elif isinstance(change, StateChanged):
            yield STATE, change.rev, change.digest
        elif isinstance(change, SettingsChanged):
            yield SETTINGS, change.rev, change.digest


def read_entry(stored: StoredEntry, payloads: Mapping[tuple[str, int], Payload], unseal: Unseal) -> Entry:
    """The entry that *stored* holds, with its contents out of *payloads*. Of a content that is not there its item is of
    type ``redacted`` and its state or settings are b"". ``BrokenEntry`` also for a content that does not match its
    digest or cannot be opened; Fault ``entry_version_unsupported``."""
    if not stored.body and stored.kind == "commit" and stored.status in ("failed", "cancelled"):
        # The end of a turn that left nothing.
        entry = Entry(kind="commit", version=stored.version, ts=stored.ts, status=stored.status)
    else:
        entry = read_structure(stored.body)
    changes = [_read_change(change, payloads, unseal) for change in entry.changes]
    return _replace(
        entry, changes=tuple(changes), seq=stored.seq, parents=stored.parents, branch=stored.branch
    )  # fmt: skip


def _read_change(change: Change, payloads: Mapping[tuple[str, int], Payload], unseal: Unseal) -> Change:
    if isinstance(change, Added):
        return Added(tuple([_read_item(item, payloads, unseal) for item in change.items]))
    if isinstance(change, Revised):
        return Revised(_read_item(change.item, payloads, unseal))
    if isinstance(change, Summed):
        return Summed(change.ids, _read_item(change.summary, payloads, unseal))
    if isinstance(change, StateChanged):
        value = _opened(STATE, change.rev, change.digest, payloads, unseal)
        return StateChanged(change.how, change.rev, b"" if value is None else inflated(value), change.digest)
    if isinstance(change, SettingsChanged):
        value = _opened(SETTINGS, change.rev, change.digest, payloads, unseal)
        return SettingsChanged(change.rev, b"" if value is None else inflated(value), change.digest)
    return change


def _read_item(item: Item, payloads: Mapping[tuple[str, int], Payload], unseal: Unseal) -> Item:
    packed = _opened(item.id, item.rev, item.digest, payloads, unseal)
    return redacted(item) if packed is None else unpack(item, packed)


def redacted(item: Item) -> Item:
    """*item* without anything a person said; its place in the history stays."""
    return Item(
        id=item.id, type="redacted", rev=item.rev, role=item.role, pinned=item.pinned, priority=item.priority,
        privacy=item.privacy, provenance=Provenance(item.provenance.by), recorded=item.recorded, digest=item.digest,
        supersedes=item.supersedes, covers=item.covers, valid_to=item.valid_to,
    )  # fmt: skip


def _opened(
    name: str, rev: int, digest: bytes, payloads: Mapping[tuple[str, int], Payload], unseal: Unseal
) -> bytes | None:
    payload = payloads.get((name, rev))
    if payload is None:
        return None
    if content_digest(payload.nonce, payload.body) != digest:
        raise BrokenEntry(f"the content of {name} does not match its digest")
    return unseal(payload)
