"""Access tokens of providers, fetched once per node and pushed to the workers (LLM 8).

A token is held in memory alone: it stands in no generation, no file and no log. Fetching, time and chance come from
outside: ``fetch(asking)`` returns (status, body) or raises, ``publish(key, value, life)`` is called after every good
fetch, ``now()`` is monotonic. ``tick`` does what is due; ``run`` calls it as long as control lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tidegate.ports.models import CredentialPlan, ModelsPlan
from tidegate.ports.provider import ClientCredentials, ServiceAccount
from tidegate.rules.access_tokens import Asking, Grant, asking, read_token

REFRESH: Final = 0.8
"""Share of a token's life after which another is fetched."""
FIRST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 60.0
"""Seconds after fetches that failed: doubled each time, up to this."""
REFUSED: Final = 60.0
"""Seconds between two fetches of a token because a provider refused the one before."""
NOTHING: Final = 600.0
"""Seconds to sleep when no token is followed."""


def grants_of(models: ModelsPlan | None) -> dict[str, Grant]:
    """Every token the providers of a plan need. The key is what workers know it by: ``provider|credential id``."""
    found: dict[str, Grant] = {}
    for provider in models.providers.values() if models is not None else ():
        for each in provider.credentials:
            grant = grant_of(each)
            if grant is not None:
                found[f"{provider.name}|{each.id}"] = grant
    return found


def grant_of(credential: CredentialPlan) -> Grant | None:
    """Where the token of *credential* comes from; None when it needs none."""
    auth = credential.auth
    if credential.signer == "gcp" and isinstance(auth, ServiceAccount):
        return Grant("account", auth.token_url, auth.scope, credential.secret)
    if credential.signer == "oauth" and isinstance(auth, ClientCredentials):
        return Grant("client", auth.token_url, auth.scope, credential.secret, auth.basic, auth.unique)
    return None


class _Followed:
    """One token: what was last fetched, when it ends, when to fetch again."""

    __slots__ = ("due", "ends", "failures", "fetching", "grant", "refused_at", "trouble", "value")

    def __init__(self, grant: Grant, due: float) -> None:
        self.grant = grant
        self.value = ""
        self.ends = 0.0
        self.due = due
        self.failures = 0
        self.fetching = False
        self.refused_at: float | None = None
        self.trouble = ""


class TokenKeeper:
    """Keeps the tokens of a set of grants fresh. *say*: told once when a token cannot be had, and once when it can be
    again."""

    def __init__(
        self,
        fetch: Callable[[Asking], Awaitable[tuple[int, bytes]]],
        publish: Callable[[str, str, float], None],
        now: Callable[[], float],
        wall: Callable[[], float],
        unique: Callable[[], str],
        say: Callable[[str], None],
    ) -> None:
        self._fetch = fetch
        self._publish = publish
        self._now = now
        self._wall = wall
        self._unique = unique
        self._say = say
        self._followed: dict[str, _Followed] = {}
        self._woken = asyncio.Event()

    def follow(self, grants: Mapping[str, Grant]) -> None:
        """Keep exactly *grants* from now on: new and changed ones are fetched at the next tick, others forgotten."""
        now = self._now()
        before = self._followed
        self._followed = {}
        for key, grant in grants.items():
            known = before.get(key)
            self._followed[key] = known if known is not None and known.grant == grant else _Followed(grant, now)
        self._woken.set()

    def want(self, key: str, refused: bool) -> None:
        """A worker lacks a token (told at once, when there is one), or a provider *refused* it: another is fetched, at
        most once in ``REFUSED``."""
        one = self._followed.get(key)
        if one is None:
            return
        now = self._now()
        if not refused:
            if one.value and now < one.ends:
                self._publish(key, one.value, one.ends - now)
            return
        if one.refused_at is not None and now - one.refused_at < REFUSED:
            return
        one.refused_at = now
        one.due = min(one.due, now)
        self._woken.set()

    def tokens(self) -> dict[str, tuple[str, float]]:
        """Every token that lives, with the seconds it has left: what a new worker is sent first."""
        now = self._now()
        return {key: (one.value, one.ends - now) for key, one in self._followed.items() if one.value and now < one.ends}

    def troubles(self) -> dict[str, str]:
        """What went wrong at the last fetch; no letter of a secret."""
        return {key: one.trouble for key, one in self._followed.items() if one.trouble}

    async def tick(self) -> None:
        """Fetch, all at once, what is due."""
        now = self._now()
        due = [(key, one) for key, one in self._followed.items() if one.due <= now and not one.fetching]
        for _, one in due:
            one.fetching = True
        if due:
            await asyncio.gather(*(self._refresh(key, one) for key, one in due))

    async def _refresh(self, key: str, one: _Followed) -> None:
        try:
            asked = asking(one.grant, self._wall(), self._unique())
            status, body = await self._fetch(asked)
            token = read_token(status, body, self._wall())
        except Exception as trouble:  # whatever the endpoint or the way to it does wrong, a token that lives serves on
            words = str(trouble) if isinstance(trouble, ValueError) else type(trouble).__name__
            if not one.trouble:
                self._say(f"provider {key.partition('|')[0]}: no access token: {words}")
            one.trouble = words[:200]
            one.due = self._now() + min(FIRST_RETRY * 2.0 ** min(one.failures, 10), LONGEST_RETRY)
            one.failures += 1
            return
        finally:
            one.fetching = False
        if one.trouble:
            self._say(f"provider {key.partition('|')[0]}: has an access token again")
        now = self._now()
        one.value, one.ends, one.due = token.value, now + token.life, now + REFRESH * token.life
        one.failures, one.trouble = 0, ""
        if self._followed.get(key) is one:
            self._publish(key, token.value, token.life)

    def next_due(self) -> float:
        """Seconds until something is due; ``NOTHING`` when nothing is followed."""
        now = self._now()
        return min((max(0.0, one.due - now) for one in self._followed.values()), default=NOTHING)

    async def run(self) -> None:
        """Tick whenever something is due, until cancelled."""
        while True:
            self._woken.clear()
            await self.tick()
            try:
                await asyncio.wait_for(self._woken.wait(), max(self.next_due(), 0.01))
            except TimeoutError:
                pass
