"""What control fetches for the workers: key sets and tokens, on a thread, in bounded time."""

from __future__ import annotations

import asyncio
from typing import Final

from tidegate.rules.access_tokens import Asking

FETCH_TIME: Final = 10.0
"""Seconds for fetching a key set or a token."""


async def fetch_key_set(url: str) -> bytes:
    """The document at *url*, within :data:`FETCH_TIME`."""
    from tidegate.control.fetch import fetch

    return await asyncio.wait_for(asyncio.to_thread(fetch, url), FETCH_TIME)


async def fetch_token(asked: Asking) -> tuple[int, bytes]:
    """What a token endpoint answers, within :data:`FETCH_TIME`."""
    from tidegate.control.fetch import ask

    work = asyncio.to_thread(ask, "POST", asked.url, asked.fields, asked.body)
    return await asyncio.wait_for(work, FETCH_TIME)
