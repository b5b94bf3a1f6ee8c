"""Who may call, as one worker knows it: the key table of the node, patches over it, and the keys of the config.

State: ``_callers`` (replaced with each generation), ``_table`` (mapped file, replaced by ``keys``), ``_patches``
(what changed since that table), ``_remembered`` (credentials seen lately, in memory only). Whatever changes one of the
first three voids the fourth and begins a new epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from tidegate.ports.consumers import Consumer
from tidegate.rules.credentials import digest_of, has_typo, name_digest
from tidegate.rules.failed_logins import FailedLogins, unavailable
from tidegate.rules.sigv4 import access_key_of, derived_secret
from tidegate.wire.key_table import KeyTable

REMEMBERED: Final = 65_536
"""Credentials remembered; at about 300 bytes each some 20 MB when full."""
SNAPSHOT_LIFE: Final = 900.0
"""Seconds since the last word from control after which only keys of the config count (S7.4)."""
TOMBSTONES: Final = 10_000
"""Expired keys that stay expired when the wall clock steps back."""


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A record of the key table: the credential's owner, in the order of ``ports/consumers.Consumer``."""

    name: str
    tenant: str = "default"
    key_id: str = ""
    tags: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    priority: int = -1
    expires: float = 0.0
    disabled: bool = False


def short_id(digest: bytes) -> str:
    """What a key of the config is called in records: stable, and useless to whoever wants the key."""
    return digest[:4].hex()


_write = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(Row).decode


def pack(c: Consumer) -> bytes:
    """*c* as a record of the key table or of a patch."""
    return _write(Row(c.name, c.tenant, c.key_id, c.tags, c.scopes, c.priority, c.expires, c.disabled))


def unpack(record: bytes) -> Consumer:
    """The consumer of a packed record. ``msgspec.MsgspecError`` for anything else."""
    r = _read(record)
    return Consumer(r.name, r.tenant, r.key_id, r.tags, r.scopes, r.priority, r.expires, r.disabled)


class Configured(msgspec.Struct, frozen=True):
    """One consumer of the config.

    digests  its keys as ``credentials.digest_of`` under the current pepper made them, never in clear
    secrets  by kind: ``basic`` (an argon2id hash), ``hmac`` (the shared secret)
    owners   of the digests that mean something else than the consumer itself: a key with a name or an end of its own
    """

    consumer: Consumer
    digests: tuple[bytes, ...] = ()
    secrets: dict[str, str] = {}
    owners: tuple[tuple[bytes, Consumer], ...] = ()


class Callers:
    """The consumers of one config, made aside while others are in force. Nothing in it is the collector's business:
    100,000 of them would cost each of its rounds 30 ms."""

    __slots__ = ("access_keys", "digests", "names", "secrets")

    def __init__(self, consumers: Iterable[Configured] = ()) -> None:
        self.names: dict[str, Consumer] = {}
        self.digests: dict[bytes, Consumer] = {}
        self.secrets: dict[str, str] = {}
        """By ``<kind> <name>``."""
        self.access_keys: dict[str, bytes] | None = None
        """Access key id → digest, made when the first signed request comes: most gateways never see one."""
        for configured in consumers:
            self.add(configured)

    def add(self, configured: Configured) -> None:
        """One more."""
        consumer = configured.consumer
        self.names[consumer.name] = consumer
        for digest in configured.digests:
            self.digests[digest] = consumer
        for digest, owner in configured.owners:
            self.digests[digest] = owner
        for kind, secret in configured.secrets.items():
            self.secrets[f"{kind} {consumer.name}"] = secret

    def let_go(self, most: int) -> bool:
        """Forget *most* of those that nobody uses any more; whether some are left. All at once takes 20 ms and more."""
        for held in (self.names, self.digests, self.secrets):
            for _ in range(min(most, len(held))):
                held.popitem()
        return bool(self.names or self.digests or self.secrets)


class WorkerConsumers:
    """``ports/consumers.Consumers`` of one worker. It outlives generations.

    peppers   oldest first; a key is looked for under each, newest first (C9.1)
    wall      seconds since the epoch, for expiry
    """

    def __init__(self, peppers: Sequence[bytes], wall: Callable[[], float], *, remembered: int = REMEMBERED) -> None:
        if not peppers:
            raise ValueError("at least one pepper is needed")
        self.failures: FailedLogins = FailedLogins()
        self._peppers: tuple[bytes, ...] = tuple(reversed(peppers))
        self._wall: Callable[[], float] = wall
        self._bound: int = remembered
        self._epoch: int = 1
        self._stale: bool = False
        self._callers: Callers = Callers()
        self._table: KeyTable | None = None
        self._patches: dict[bytes, tuple[int, bytes | None]] = {}
        self._seq: int = 0
        self._remembered: dict[str, Consumer] = {}
        self._expired: dict[bytes, float] = {}

    # -- look-ups --------------------------------------------------------------------------------------------------

    def epoch(self) -> int:
        return self._epoch

    def by_key(self, key: str) -> Consumer | None:
        """The owner of *key*, now. 0.1 µs for a remembered key, 3-6 µs for another."""
        consumer = self._remembered.get(key)
        if consumer is not None and (consumer.expires == 0.0 or self._wall() < consumer.expires):
            return consumer
        if has_typo(key):
            return None
        # latin-1 gives back the very bytes the client sent (exchange/head); other text cannot be a header value.
        try:
            sent = key.encode("latin-1")
        except UnicodeEncodeError:
            return None
        digest = consumer = None
        digests = [digest_of(pepper, sent) for pepper in self._peppers]
        for digest in digests:
            consumer = self._callers.digests.get(digest)
            if consumer is not None:
                if not consumer.key_id:
                    consumer = msgspec.structs.replace(consumer, key_id=short_id(digest))
                break
        if consumer is None:
            if self._stale:
                raise unavailable()
            for digest in digests:
                consumer = self._find(digest)
                if consumer is not None:
                    break
        if consumer is None or digest is None or consumer.disabled or self._has_expired(digest, consumer.expires):
            self._remembered.pop(key, None)
            return None
        if len(self._remembered) >= self._bound:
            self._remembered.clear()
        self._remembered[key] = consumer
        return consumer

    def by_name(self, name: str) -> Consumer | None:
        """The consumer called *name*, disabled or not."""
        configured = self._callers.names.get(name)
        if configured is not None:
            return configured
        if self._stale:
            raise unavailable()
        return self._find(name_digest(name))

    def by_access_key(self, id: str) -> tuple[Consumer, str] | None:
        """Keys of the config, as the newest pepper made them."""
        callers = self._callers
        if callers.access_keys is None:
            callers.access_keys = {access_key_of(digest): digest for digest in callers.digests}
        digest = callers.access_keys.get(id)
        consumer = callers.digests.get(digest) if digest is not None else None
        if digest is None or consumer is None or consumer.disabled or self._has_expired(digest, consumer.expires):
            return None
        if not consumer.key_id:
            consumer = msgspec.structs.replace(consumer, key_id=short_id(digest))
        return consumer, derived_secret(self._peppers[0], id)

    def secret_of(self, name: str, kind: str) -> str | None:
        """A secret of a consumer of the config."""
        return self._callers.secrets.get(f"{kind} {name}")

    def _find(self, digest: bytes) -> Consumer | None:
        patch = self._patches.get(digest)
        if patch is not None:
            record = patch[1]
        else:
            record = None if self._table is None else self._table.find(digest)
        if record is None:
            return None
        try:
            return unpack(record)
        except msgspec.MsgspecError:
            # A damaged record is trouble of ours: 503, never a verdict about the caller (S7.4).
            raise unavailable() from None

    def _has_expired(self, digest: bytes, expires: float) -> bool:
        """Once refused as expired a key stays so, even if the wall clock steps back, until its expiry is changed."""
        if expires == 0.0:
            return False
        if self._wall() < expires and self._expired.get(digest) != expires:
            return False
        if len(self._expired) >= TOMBSTONES:
            self._expired.clear()
        self._expired[digest] = expires
        return True

    # -- news ------------------------------------------------------------------------------------------------------

    def configure(self, callers: Callers) -> Callers:
        """Put *callers* in place of the consumers of the config before, which are returned to be let go."""
        before, self._callers = self._callers, callers
        self._begin()
        return before

    def load(self, table: KeyTable) -> None:
        """Lay a new table under the patches; those that are in it already go."""
        self._table = table
        self._seq = max(self._seq, table.seq)
        self._patches = {digest: patch for digest, patch in self._patches.items() if patch[0] > table.seq}
        self._begin()

    def patch(self, seq: int, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Apply change *seq* (C8.2): (digest, packed record), None to take a row out. What is known already is
        skipped, so a link may send again."""
        if seq <= self._seq:
            return
        for digest, record in changes:
            self._patches[digest] = (seq, record)
        self._seq = seq
        self._begin()

    def seq(self) -> int:
        """The last change applied; what ``hello`` tells control (C8.4)."""
        return self._seq

    def set_stale(self, stale: bool) -> None:
        """Told that control has been silent for ``SNAPSHOT_LIFE``, or is back: while stale, only keys of the config
        count and everything else is 503 (S7.4)."""
        if stale != self._stale:
            self._stale = stale
            self._begin()

    def _begin(self) -> None:
        self._remembered.clear()
        self._epoch += 1

    def __repr__(self) -> str:
        table = 0 if self._table is None else len(self._table)
        state = "STALE" if self._stale else "FRESH"
        configured = len(self._callers.digests)
        return f"<Consumers {state} {configured} configured, {table} in table, {len(self._patches)} patches>"
