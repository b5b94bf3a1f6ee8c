"""How contexts are written for the scripts of ``valkey`` and read from their answers, and how a server is named. Ours
alone: only ``valkey.py`` imports it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

from tidegate.exchange.context import Access, EntryKind, Privacy, Status
from tidegate.exchange.context_log import (
    Asker,
    Create,
    Draft,
    Loaded,
    Meta,
    Payload,
    Ref,
    Snapshot,
    StoredEntry,
)


class Target(NamedTuple):
    tls: bool
    user: str | None
    password: str | None
    hosts: tuple[tuple[str, int], ...]
    db: int


def read_url(url: str) -> Target:
    scheme, parted, rest = url.partition("://")
    place, _, db = rest.partition("/")
    login, at, hosts = place.rpartition("@")
    user, colon, password = login.partition(":")
    if not parted or scheme not in ("redis", "rediss") or not hosts or not (db or "0").isdigit():
        raise ValueError("a server is named like redis://host:6379/0")
    found: list[tuple[str, int]] = []
    for each in hosts.split(","):
        host, _, port = each.rpartition(":") if each.rpartition(":")[2].isdigit() else (each, "", "6379")
        if not host:
            raise ValueError("a server is named like redis://host:6379/0")
        found.append((host.strip("[]"), int(port)))
    return Target(
        scheme == "rediss", unquote(user) or None if at else None, unquote(password) if colon else None, tuple(found),
        int(db or 0),
    )  # fmt: skip


def bit(value: bool) -> str:
    return "1" if value else "0"


def text_of(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def create_words(create: Create | None) -> tuple[Any, ...]:
    if create is None:
        return ("0",)
    return ("1", create.subject, create.group, create.access, create.privacy, create.salt, create.dek, create.ttl,
            bit(create.sliding), create.about)  # fmt: skip


def draft_words(draft: Draft) -> list[Any]:
    """As ``take_draft`` of the scripts reads it."""
    parts: list[Any] = [draft.body, len(draft.payloads)]
    for payload in draft.payloads:
        lengths = bytes((len(payload.nonce), len(payload.ikey) >> 8, len(payload.ikey) & 255))
        parts += (payload.item, payload.rev, lengths + payload.nonce + payload.ikey + payload.body)
    return parts


def payloads_of(flat: Sequence[bytes]) -> tuple[Payload, ...]:
    found: list[Payload] = []
    for at in range(0, len(flat), 2):
        item, rev, seq = flat[at].decode().split(" ")
        value = flat[at + 1]
        nonce = 3 + value[0]
        ikey = nonce + (value[1] << 8 | value[2])
        found.append(Payload(item, int(rev), value[3:nonce], value[ikey:], value[nonce:ikey], int(seq)))
    return tuple(found)


def entry_of(seq: int, record: bytes) -> StoredEntry:
    line, _, body = record.partition(b"\n")
    parts = ["" if part == "-" else part for part in line.decode().split(" ")]
    kind, version, parents, branch, status, fp, digest, ts, _ = parts
    return StoredEntry(
        seq=seq,
        kind=cast(EntryKind, kind),
        version=version,
        parents=tuple(parents.split(",")) if parents else (),
        branch=branch,
        status=cast(Status, status),
        fp=bytes.fromhex(fp),
        digest=bytes.fromhex(digest),
        ts=int(ts),
        body=body,
    )


def loaded_of(asker: Asker, id: str, reply: Sequence[Any]) -> Loaded:
    state, names, snapshot, seqs, entries, payloads, truncated = reply
    kept = None
    if snapshot:
        upto, _, body = snapshot.partition(b"\n")
        kept = Snapshot(int(upto), body)
    return Loaded(
        meta=meta_of(asker, id, state, names),
        snapshot=kept,
        entries=tuple([entry_of(seq, record) for seq, record in zip(seqs, entries, strict=True)]),
        payloads=payloads_of(payloads),
        truncated=bool(truncated),
    )


def meta_of(asker: Asker, id: str, state: Sequence[bytes], names: Iterable[bytes]) -> Meta:
    facts = {state[at]: state[at + 1] for at in range(0, len(state), 2)}
    refs: list[Ref] = []
    for field, value in facts.items():
        if field.startswith(b"r:"):
            head, pending, _, fence, until, _ = ["" if part == "-" else part for part in value.decode().split(" ")]
            refs.append(Ref(field[2:].decode(), head, pending, int(fence), int(until)))
    refs.sort(key=lambda ref: ref.branch)
    owned = [each.decode().partition("\0") for each in names]
    return Meta(
        tenant=asker.tenant,
        id=id,
        subject=facts[b"subject"].decode(),
        group=facts[b"group"].decode(),
        access=cast(Access, facts[b"access"].decode()),
        privacy=cast(Privacy, facts[b"privacy"].decode()),
        salt=facts[b"salt"],
        dek=facts[b"dek"],
        seq=int(facts[b"seq"]),
        gen=int(facts[b"gen"]),
        created=int(facts[b"created"]),
        expires=int(facts[b"expires"]),
        ttl=int(facts[b"ttl"]),
        sliding=facts[b"sliding"] == b"1",
        size=int(facts[b"size"]),
        refs=tuple(refs),
        names=tuple(sorted([name for subject, _, name in owned if asker.all or subject == asker.subject])),
        about=facts[b"about"],
    )
