"""What the admin API needs from control: a page of promises, so that routers know nothing of processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tidegate.control.bookkeeper import Usage


class Readiness(NamedTuple):
    """``ready``: traffic may come. ``reasons``: what is missing, or what is degraded while ready (S23.4)."""

    ready: bool
    reasons: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What a reload came to.

    result      ``applied``, ``partial`` (a worker did not take it) or ``refused`` (the old generation serves on)
    generation  the one that is wanted now
    applied     workers that serve it, ``of`` how many
    seconds     from the request to the last acknowledgement
    error       why it was refused, for a person
    changed     whether anything was read: False when every file is as it was when the generation was made
    """

    result: str
    generation: int
    applied: int
    of: int
    seconds: float
    error: str = ""
    changed: bool = True


class Desk(Protocol):
    """Control, as its operators see it."""

    def live(self) -> bool:
        """Some worker's loop has turned within 2 s (S23.4)."""

    def readiness(self) -> Readiness:
        """Whether traffic may come, and what is missing or degraded."""

    async def metrics_text(self) -> str:
        """Prometheus text, from counters that are fresh."""

    async def status(self) -> dict[str, Any]:
        """The whole state, explained; plain data without secrets."""

    async def reload(self, by: str) -> Outcome:
        """Read, validate, build and apply the config; *by* says who asked."""

    async def usage(self, begin: str, end: str, by: Sequence[str], bucket: str, reprice: bool = False) -> Usage:
        """What model calls came to (C11.1), as ``books_store.BookStore.usage`` tells it; by user, prompt or tag, and
        with *reprice* at the prices of today, as ``usage_reading`` does."""

    async def signing_keys(self, consumer: str) -> list[dict[str, Any]] | None:
        """``key``, ``access_key_id`` and ``secret_access_key`` of each key of *consumer*; None for nobody."""
