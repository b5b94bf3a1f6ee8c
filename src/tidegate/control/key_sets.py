"""Key sets (JWKS) of token issuers, fetched once per node and pushed to the workers (S7.11).

Fetching and time come from outside: ``fetch(url)`` returns a body or raises, ``publish(url, key_set)`` is called after
every good fetch, ``now()`` is monotonic. ``tick`` does what is due; ``run`` calls it as long as control lives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

REFRESH: Final = 600.0
"""Seconds between two scheduled fetches of one set."""
RETRY: Final = 1.0
"""Seconds after a fetch that failed."""
LIFE: Final = 3600.0
"""Seconds a set serves without being confirmed: outlasts most outages, bounds a leaked key."""
UNKNOWN_KEY: Final = 60.0
"""Seconds between two fetches of one issuer for unknown key ids; scheduled ones are not counted."""
LARGEST: Final = 1 << 20
MOST_KEYS: Final = 100

_PUBLIC: Final = frozenset({"kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y"})


def read_key_set(body: bytes) -> dict[str, Any]:
    """The public keys in a JWKS document. Members we do not use, private ones above all, are left out; so are
    symmetric keys. ``ValueError`` for what is no key set."""
    if len(body) > LARGEST:
        raise ValueError("the key set is larger than 1 MiB")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the key set is not JSON") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        raise ValueError("a key set is an object with a list of at most 100 keys")
    kept = [
        {name: value for name, value in key.items() if name in _PUBLIC}
        for key in keys
        if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP")
    ]
    return {"keys": kept}


class _Issuer:
    """One key set: what was last fetched, and when to fetch again."""

    __slots__ = ("asked_at", "due", "fetched_at", "fetching", "key_set", "trouble")

    def __init__(self, due: float) -> None:
        self.key_set: dict[str, Any] | None = None
        self.fetched_at: float = 0.0
        self.due: float = due
        self.asked_at: float | None = None
        self.fetching: bool = False
        self.trouble: str = ""


class KeySetKeeper:
    """Keeps the key sets of a list of addresses fresh."""

    def __init__(
        self,
        fetch: Callable[[str], Awaitable[bytes]],
        publish: Callable[[str, dict[str, Any]], None],
        now: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._publish = publish
        self._now = now
        self._issuers: dict[str, _Issuer] = {}
        self._woken = asyncio.Event()

    def follow(self, urls: Iterable[str]) -> None:
        """Keep exactly *urls* from now on: new ones are fetched at the next tick, others are forgotten."""
        now = self._now()
        self._issuers = {url: self._issuers.get(url) or _Issuer(now) for url in urls}
        self._woken.set()

    def want(self, url: str) -> None:
        """A worker met a key id it does not know: fetch at the next tick, at most once in ``UNKNOWN_KEY``."""
        issuer = self._issuers.get(url)
        now = self._now()
        if issuer is None or (issuer.asked_at is not None and now - issuer.asked_at < UNKNOWN_KEY):
            return
        issuer.asked_at = now
        issuer.due = min(issuer.due, now)
        self._woken.set()

    def key_sets(self) -> dict[str, tuple[dict[str, Any], float]]:
        """Every set within its life, with its age in seconds: what a new worker is sent first."""
        now = self._now()
        return {
            url: (issuer.key_set, now - issuer.fetched_at)
            for url, issuer in self._issuers.items()
            if issuer.key_set is not None and now - issuer.fetched_at < LIFE
        }

    def ready(self) -> bool:
        """Every set was fetched and is within its life (S23.4)."""
        return len(self.key_sets()) == len(self._issuers)

    def troubles(self) -> dict[str, str]:
        """What went wrong at the last fetch, by address; for status."""
        return {url: issuer.trouble for url, issuer in self._issuers.items() if issuer.trouble}

    async def tick(self) -> None:
        """Fetch, all at once, what is due."""
        now = self._now()
        due = [(url, one) for url, one in self._issuers.items() if one.due <= now and not one.fetching]
        for _, issuer in due:
            issuer.fetching = True
        if due:
            await asyncio.gather(*(self._refresh(url, issuer) for url, issuer in due))

    async def _refresh(self, url: str, issuer: _Issuer) -> None:
        try:
            key_set = read_key_set(await self._fetch(url))
        except Exception as trouble:  # whatever an issuer or the way to it does wrong, the kept keys serve on
            issuer.trouble = f"{type(trouble).__name__}: {trouble}"[:200]
            issuer.due = self._now() + RETRY
            return
        finally:
            issuer.fetching = False
        issuer.key_set = key_set
        issuer.fetched_at = self._now()
        issuer.due = issuer.fetched_at + REFRESH
        issuer.trouble = ""
        if self._issuers.get(url) is issuer:
            self._publish(url, key_set)

    def next_due(self) -> float:
        """Seconds until something is due; ``REFRESH`` when nothing is followed."""
        now = self._now()
        return min((max(0.0, one.due - now) for one in self._issuers.values()), default=REFRESH)

    async def run(self) -> None:
        """Tick whenever something is due, until cancelled."""
        while True:
            self._woken.clear()
            await self.tick()
            try:
                await asyncio.wait_for(self._woken.wait(), max(self.next_due(), 0.01))
            except TimeoutError:
                pass
