"""Sealed parts of answers, kept for clients that drop them (LLM 5.6): who called which tool brings them back.

Bounds, because every caller may fill it: an hour, a number of entries and of bytes, a part of them for one tenant. What
does not fit pushes out the oldest of the tenant that holds most. Time is an argument.
"""

from __future__ import annotations

from typing import Final

from tidegate.rules.sealed_turns import CallSeals
from tidegate.rules.tool_ids import fit_id

LIFE: Final = 3600.0
"""Seconds."""

ENTRIES: Final = 16_384
SIZE: Final = 16 * 1024 * 1024
"""Bytes of all."""

ONE: Final = 256 * 1024
"""Bytes of one call's."""

SHARE: Final = 4
"""One tenant holds no more than a quarter."""

_ID_SIZES: Final = (64, 40)
"""What clients' dialects fit ids to."""


class _Kept:
    """One entry; ``until`` when it ends."""

    __slots__ = ("seals", "size", "until")

    def __init__(self, seals: CallSeals, size: int, until: float) -> None:
        self.seals = seals
        self.size = size
        self.until = until


class _Shelf:
    """One tenant's entries, oldest first."""

    __slots__ = ("kept", "size")

    def __init__(self) -> None:
        self.kept: dict[str, _Kept] = {}
        self.size = 0

    def drop(self, id: str) -> int:
        """The bytes that are free again."""
        kept = self.kept.pop(id, None)
        if kept is None:
            return 0
        self.size -= kept.size
        return kept.size


class SealVault:
    """Of one worker. A later turn that reaches another worker misses.

    most       bytes of all
    most_kept  entries of all
    most_each  bytes of one call's
    """

    __slots__ = ("entries", "most", "most_each", "most_kept", "shelves", "size")

    def __init__(self, most: int = SIZE, most_kept: int = ENTRIES, most_each: int = ONE) -> None:
        self.most = most
        self.most_kept = most_kept
        self.most_each = most_each
        self.shelves: dict[str, _Shelf] = {}
        self.entries = 0
        self.size = 0

    def put(self, tenant: str, id: str, seals: CallSeals, now: float) -> None:
        """Keep what belongs to the call *id*; too much of it is not kept at all."""
        if not id or seals.size > self.most_each:
            return
        for name in {id, *[fit_id(id, size) for size in _ID_SIZES]}:
            self._put(tenant, name, seals, now)

    def get(self, tenant: str, id: str, now: float) -> CallSeals | None:
        """What belongs to the call *id*, as its client knows it."""
        shelf = self.shelves.get(tenant)
        kept = shelf.kept.get(id) if shelf is not None else None
        if shelf is None or kept is None:
            return None
        if now >= kept.until:
            self._drop(tenant, shelf, id)
            return None
        return kept.seals

    def holds(self, tenant: str) -> bool:
        """Is there anything of *tenant*?"""
        return tenant in self.shelves

    def _put(self, tenant: str, id: str, seals: CallSeals, now: float) -> None:
        shelf = self.shelves.get(tenant)
        if shelf is None:
            shelf = self.shelves[tenant] = _Shelf()
        elif id in shelf.kept:
            self.size -= shelf.drop(id)
            self.entries -= 1
        size = seals.size + len(id)
        shelf.kept[id] = _Kept(seals, size, now + LIFE)
        shelf.size += size
        self.size += size
        self.entries += 1
        most, most_kept = self.most // SHARE, self.most_kept // SHARE
        while shelf.size > most or len(shelf.kept) > most_kept or self._oldest(shelf).until <= now:
            self._drop_oldest(tenant, shelf)
        while self.size > self.most or self.entries > self.most_kept:
            name, largest = max(self.shelves.items(), key=lambda item: item[1].size)
            self._drop_oldest(name, largest)

    def _oldest(self, shelf: _Shelf) -> _Kept:
        return shelf.kept[next(iter(shelf.kept))]

    def _drop_oldest(self, tenant: str, shelf: _Shelf) -> None:
        self._drop(tenant, shelf, next(iter(shelf.kept)))

    def _drop(self, tenant: str, shelf: _Shelf, id: str) -> None:
        self.size -= shelf.drop(id)
        self.entries -= 1
        if not shelf.kept:
            del self.shelves[tenant]
