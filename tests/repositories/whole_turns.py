"""Turns of real entries, for tests that look for damage in them."""

from __future__ import annotations

import random

from repositories.conformance import Talk
from tidegate.exchange.context import Added, Entry, Item
from tidegate.exchange.context_log import Commit
from tidegate.wire.context_entry import plain_seal, version_digest, write_entry

_seal = plain_seal(lambda: random.randbytes(16))


async def told(talk: Talk, turns: int = 2) -> list[str]:
    """*turns* whole turns, each with a marker of its own; their versions."""
    parents: tuple[bytes, ...] = ()
    versions: list[str] = []
    for n in range(turns):
        version = "cv_" + talk.place.ulid()
        asked = (Added((Item(id=f"i{n}", type="message", role="user", content=b'"%d"' % n),)),)
        draft, _ = write_entry(Entry(kind="reserve", version=version, changes=asked), _seal)
        begun = await talk.begin(b"%d" % n, version=version, input=draft)
        assert begun.lease is not None
        answered = (Added((Item(id=f"o{n}", type="message", role="assistant", content=b'"hi"'),)),)
        output, _ = write_entry(Entry(kind="commit", version=version, changes=answered), _seal)
        parents = (version_digest(talk.create.salt, parents, (draft.body, output.body)),)
        record = Commit(status="completed", output=output, digest=parents[0])
        assert (await talk.store.commit(talk.asker, talk.id, begun.lease, record)).outcome == "ok"
        versions.append(version)
    return versions
