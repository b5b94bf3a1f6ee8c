"""Media that a client names by URL, fetched for targets that take bytes only (LLM 5.3)."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import Candidate
from tidegate.engine.upstream.fetching import Fetcher, unfit
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.egress import link_of
from tidegate.rules.media_links import KINDS, links
from tidegate.rules.sniffing import media_type

LINKS: Final = 8
"""Links of one call."""
EACH: Final = 10 * 1024 * 1024
"""Bytes behind one link, and ``ALL`` behind those of one call."""
ALL: Final = 20 * 1024 * 1024
TIME: Final = 10.0
"""Seconds for all links of a call."""


async def fetch_media(call: ModelCall, candidate: Candidate) -> None:
    """Have in ``call.media`` what *candidate* wants as bytes. Raises ``egress_denied``, ``invalid_field`` and
    ``upstream_timeout``."""
    dialect = candidate.door.dialect
    if candidate.passes or dialect is None or call.form is not None:
        return
    wanted = links(call.whole_request(), dialect.name, candidate.voice.lacks)
    if not wanted:
        return
    if len(wanted) > LINKS:
        raise Fault("invalid_request", f"The call has more than {LINKS} links to fetch.", reason="links", side=CLIENT)
    places = {url: link_of(url, call.llm.media_hosts) for url in wanted}
    runtime = call.runtime
    fetcher: Fetcher | None = runtime.fetcher
    if fetcher is None:
        fetcher = runtime.fetcher = Fetcher(runtime)
    until = min(runtime.clock() + TIME, call.deadline)
    left = ALL - sum([len(data) * 3 // 4 for _, data in call.media.values()])
    for url, place in places.items():
        if url in call.media:
            continue
        found = await fetcher.fetch(place, until, min(EACH, left))
        kind = media_type(found)
        if not kind.startswith(KINDS[wanted[url]]):
            raise unfit()
        left -= len(found)
        call.media[url] = (kind, b64encode(found))
