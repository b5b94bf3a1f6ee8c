"""Tables of PostgreSQL: a transaction sees the rows of its own tenant, whatever it asks for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from fakes import FakeTools
from repositories.conformance import Place, Talk
from servers.postgres import LEFT_OUT, WHY, PostgresServer
from tidegate.exchange.context_log import Asker
from tidegate.exchange.fault import Fault
from tidegate.ports.context_store import ContextStore
from tidegate.repositories._postgres_tables import LAYOUT, PARTITIONS, Tables, schema
from tidegate.repositories.postgres import Config, Postgres


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    if LEFT_OUT:
        pytest.skip(WHY)
    with PostgresServer() as running:
        yield running


class Tools(FakeTools):
    def token(self, size: int) -> bytes:
        return os.urandom(size)


def test_every_table_has_its_rule_and_logs_are_parted() -> None:
    text = schema()
    names = [part.split()[2] for part in text.split(";") if part.startswith("CREATE TABLE")]
    ruled = [part.split()[4] for part in text.split(";") if part.startswith("CREATE POLICY")]
    parts = [name for name in names if name[-1].isdigit()]
    assert len(parts) == 2 * PARTITIONS
    assert set(names) - set(parts) - {"layout"} == set(ruled)


def test_rows_of_another_tenant_are_not_there(server: PostgresServer) -> None:  # CX-cross-tenant, CRP 11.7
    async def run() -> None:
        store = Postgres(Config(url=server.url), Tools())
        await store.open()

        async def opened() -> ContextStore:
            return store

        talk = Talk(Place(opened), store)
        await talk.say(b"mine")
        plain: Any = await asyncpg.connect(server.url, server_settings={"search_path": "tidegate"})
        # Without a tenant there is nothing at all.
        assert [await plain.fetchval(f"SELECT count(*) FROM {name}") for name in ("ctx", "entry", "item")] == [0, 0, 0]
        for tenant, count in ((talk.place.tenant, 2), ("other", 0), ("*", 2)):
            async with plain.transaction():
                await plain.execute(f"SET LOCAL tidegate.tenant = '{tenant}'")
                assert await plain.fetchval("SELECT count(*) FROM entry") == count
                tables = Tables(plain, talk.place.tenant)
                # Even one that asks for the right tenant in the wrong transaction.
                context, _ = await tables.find(Asker(talk.place.tenant, all=True), talk.id)
                assert (context is not None) == (count == 2)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with plain.transaction():
                await plain.execute("SET LOCAL tidegate.tenant = 'other'")
                await plain.execute("INSERT INTO snap VALUES ($1, 'ctx_1', 1, '')", talk.place.tenant)
        await plain.close()
        await store.close()

    asyncio.run(run())


def test_a_tenants_name_is_no_sql(server: PostgresServer) -> None:
    async def run() -> None:
        store = Postgres(Config(url=server.url), Tools())
        await store.open()

        async def opened() -> ContextStore:
            return store

        place = Place(opened, tenant="o'neil\\'; SELECT 1; --")
        talk = Talk(place, store)
        version = await talk.say(b"1")
        assert await talk.heads() == {"main": version}
        await store.close()

    asyncio.run(run())


def test_tables_of_a_later_layout_are_left_alone(server: PostgresServer) -> None:
    async def run() -> None:
        first = Postgres(Config(url=server.url, tables="later"), Tools())
        await first.open()
        await first.open()
        await first.close()
        server.sql(f"UPDATE later.layout SET version = {LAYOUT + 1}")
        second = Postgres(Config(url=server.url, tables="later"), Tools())
        with pytest.raises(Fault) as refused:
            await second.open()
        assert refused.value.code == "store_unavailable"
        await second.close()

    asyncio.run(run())
