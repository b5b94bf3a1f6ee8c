"""Contents of 4 KiB and more lie once a tenant, as long as somebody refers to them."""

from __future__ import annotations

import asyncio
import os

import pytest

from fakes import FakeTools
from repositories.conformance import Place, Talk, item
from servers.postgres import LEFT_OUT, WHY, PostgresServer
from tidegate.exchange.context_log import BLOB, Draft
from tidegate.ports.context_store import ContextStore
from tidegate.repositories.postgres import Config, Postgres


class Tools(FakeTools):
    def token(self, size: int) -> bytes:
        return os.urandom(size)


@pytest.mark.skipif(LEFT_OUT, reason=WHY)
def test_a_large_content_is_kept_once_and_goes_with_the_last_who_has_it() -> None:  # CRP 11.2, 53
    async def run() -> None:
        with PostgresServer() as server:
            store = Postgres(Config(url=server.url, timeout=20), Tools())
            await store.open()

            async def opened() -> ContextStore:
                return store

            place = Place(opened)
            one, other = Talk(place, store), Talk(place, store)
            big = bytes(BLOB)
            laid = (item("a", big), item("b", big), item("sealed", big, ikey=b"k"), item("small", big[1:]))
            for talk in (one, other):
                await talk.add(create=talk.create, entry=Draft(b"", laid))

            def blobs() -> str:
                return server.sql("SELECT refs, length(body) FROM tidegate.blob")

            assert blobs() == f"4|{BLOB}"
            assert await store.redact(one.asker, one.id, ["a", "small"], Draft(b"note")) == 2
            assert blobs() == f"3|{BLOB}"
            await store.delete(other.asker, other.id)
            assert blobs() == f"1|{BLOB}"
            assert await store.redact(one.asker, one.id, ["b"], Draft(b"note")) == 1
            assert blobs() == ""
            await store.close()

    asyncio.run(run())
