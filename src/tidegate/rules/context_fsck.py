"""What is damaged in a stored conversation (CRP 11.8, I8): torn and edited entries, lost contents, heads that lead
nowhere. One context at a time, as a store laid it down; what is whole stays readable whatever is found here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tidegate.exchange.context import Entry
from tidegate.exchange.context_log import Damage, Meta, Payload, StoredEntry
from tidegate.exchange.fault import Fault
from tidegate.wire.context_entry import BrokenEntry, content_digest, read_structure, references, version_digest

_GAPS: Final = 100
"""Missing entries that are named one by one."""
_STANDING: Final = frozenset(("completed", "incomplete"))


def damage_of(meta: Meta, entries: Sequence[StoredEntry], payloads: Sequence[Payload]) -> Iterator[Damage]:
    """All that is wrong with the context *meta*, whose whole log are *entries* by ``seq`` and whose contents are
    *payloads*. What a note of redaction or expiry names is not missed; a content whose key is lost is not found out
    here, for no digest covers keys."""
    yield from _gaps(meta, entries)
    read: dict[int, Entry] = {}
    torn: set[int] = set()
    for stored in entries:
        broken = ""
        try:
            entry = _entry_of(stored)
        except BrokenEntry as error:
            entry, broken = None, str(error)
        if broken:
            torn.add(stored.seq)
            yield Damage(meta.id, "checksum", stored.seq, stored.version, broken)
        elif entry is not None:
            read[stored.seq] = entry
    yield from _contents(meta, entries, read, torn, payloads)
    versions: dict[str, list[StoredEntry]] = {}
    for stored in entries:
        if stored.version:
            versions.setdefault(stored.version, []).append(stored)
    yield from _versions(meta, versions, torn)
    yield from _refs(meta, versions)


def _entry_of(stored: StoredEntry) -> Entry | None:
    """None of one that a later gateway wrote, and of the end of a turn that left nothing."""
    if not stored.body and stored.status not in _STANDING and stored.kind == "commit":
        return None
    try:
        entry = read_structure(stored.body)
    except Fault:
        return None
    if (entry.kind, entry.version) != (stored.kind, stored.version):
        raise BrokenEntry("the entry is of another version or kind than it is filed as")
    return entry


def _gaps(meta: Meta, entries: Sequence[StoredEntry]) -> Iterator[Damage]:
    there = {stored.seq for stored in entries}
    gaps = 0
    for seq in range(1, max(meta.seq, max(there, default=0)) + 1):
        if seq not in there:
            gaps += 1
            if gaps > _GAPS:
                return
            yield Damage(meta.id, "missing_entry", seq)


def _contents(meta: Meta, entries: Sequence[StoredEntry], read: dict[int, Entry], torn: set[int],
              payloads: Sequence[Payload]) -> Iterator[Damage]:  # fmt: skip
    struck: set[str] = set()
    for entry in read.values():
        if entry.note is not None and entry.note.what in ("redact", "expire"):
            struck.update(entry.note.items)
    found = {(payload.seq, payload.item, payload.rev): payload for payload in payloads}
    for stored in entries:
        structure = read.get(stored.seq)
        for item, rev, digest in references(structure) if structure is not None else ():
            payload = found.pop((stored.seq, item, rev), None)
            if payload is None:
                if item not in struck:
                    yield Damage(meta.id, "missing_payload", stored.seq, stored.version, f"{item} {rev}")
            elif content_digest(payload.nonce, payload.body) != digest:
                yield Damage(meta.id, "digest", stored.seq, stored.version, f"{item} {rev}")
    for seq, item, rev in found:
        if seq in read and seq not in torn:
            yield Damage(meta.id, "orphan", seq, read[seq].version, f"{item} {rev}")


def _versions(meta: Meta, versions: dict[str, list[StoredEntry]], torn: set[int]) -> Iterator[Damage]:
    """Each against its digest, unless one of a parent is not to be had: what is torn is named once. A version's entries
    come after those of its parents, so one pass is enough."""
    digests: dict[str, bytes] = {}
    running = {ref.pending for ref in meta.refs}
    for version, stored in versions.items():
        last = stored[-1]
        if stored[0].kind == "commit" or (last.kind == "reserve" and version not in running):
            lost = "reserve" if stored[0].kind == "commit" else "commit"
            yield Damage(meta.id, "missing_entry", last.seq, version, f"its {lost} entry")
            continue
        lost_parents = [parent for parent in last.parents if parent not in versions]
        if lost_parents:
            yield Damage(meta.id, "missing_entry", stored[0].seq, version, f"its parent {lost_parents[0]}")
        if last.status not in _STANDING:
            continue
        parents = [digests[parent] for parent in last.parents if parent in digests]
        sure = len(parents) == len(last.parents) and not any(one.seq in torn for one in stored)
        computed = version_digest(meta.salt, parents, [one.body for one in stored]) if sure else b""
        if last.digest or sure:
            digests[version] = last.digest or computed
        if sure and last.digest and last.digest != computed:
            yield Damage(meta.id, "digest", last.seq, version)


def _refs(meta: Meta, versions: dict[str, list[StoredEntry]]) -> Iterator[Damage]:
    for ref in meta.refs:
        if ref.head and (ref.head not in versions or versions[ref.head][-1].status not in _STANDING):
            yield Damage(meta.id, "dangling_head", 0, ref.head, ref.branch)
        if ref.pending and ref.pending not in versions:
            yield Damage(meta.id, "dangling_head", 0, ref.pending, ref.branch)
