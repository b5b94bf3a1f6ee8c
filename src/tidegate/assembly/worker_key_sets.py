"""Key sets as one worker knows them: what control pushed, each for its life (S7.11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

LIFE: Final = 3600.0
"""Seconds a set serves after control last confirmed it; without control it ends here too."""
ASK_EVERY: Final = 1.0
"""Seconds between two messages to control about one address; control itself fetches at most once a minute."""


class _Held:
    __slots__ = ("asked_at", "ends", "key_set", "version")

    def __init__(self) -> None:
        self.key_set: dict[str, Any] | None = None
        self.ends: float = 0.0
        self.version: int = 0
        self.asked_at: float | None = None


class WorkerKeySets:
    """``ports/consumers.KeySets`` of one worker. It outlives generations.

    now    monotonic seconds
    send   puts "the set of this address lacks a key" on the link to control
    """

    def __init__(self, now: Callable[[], float], send: Callable[[str], None]) -> None:
        self._now = now
        self._send = send
        self._held: dict[str, _Held] = {}

    def put(self, url: str, key_set: dict[str, Any], age: float = 0.0) -> None:
        """Control fetched *key_set* *age* seconds ago. The same set again only lives longer; another is a new
        version."""
        held = self._held.setdefault(url, _Held())
        held.ends = self._now() + LIFE - age
        if held.key_set != key_set:
            held.key_set = key_set
            held.version += 1

    def keep(self, urls: frozenset[str]) -> None:
        """Forget the sets that the new generation does not name."""
        self._held = {url: held for url, held in self._held.items() if url in urls}

    def get(self, url: str) -> dict[str, Any] | None:
        held = self._held.get(url)
        return None if held is None or self._now() >= held.ends else held.key_set

    def want(self, url: str, kid: str) -> None:
        held = self._held.setdefault(url, _Held())
        now = self._now()
        if held.asked_at is None or now - held.asked_at >= ASK_EVERY:
            held.asked_at = now
            self._send(url)

    def version(self, url: str) -> int:
        held = self._held.get(url)
        return 0 if held is None else held.version
