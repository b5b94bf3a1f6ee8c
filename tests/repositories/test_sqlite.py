"""SQLite keeps every promise of a context store, in one file that several processes share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fakes import FakeTools
from repositories.conformance import CHECKS, Check, Place, script
from tidegate.ports.context_store import ContextStore
from tidegate.repositories import memory
from tidegate.repositories.sqlite import Config, Sqlite


class House:
    """A folder with the file, and the stores that were opened on it."""

    def __init__(self, folder: Path, tenant: str = "") -> None:
        self.tools = FakeTools(data_folder=folder)
        self.file = folder / "contexts.sqlite"
        self.stores: list[Sqlite] = []
        self.place = Place(self.open, self.wait, leaps=True, reads=self.reads, tenant=tenant)

    async def open(self) -> ContextStore:
        store = Sqlite(Config(), self.tools)
        await store.open()
        self.stores.append(store)
        return store

    async def wait(self, seconds: float) -> None:
        self.tools.advance(seconds)

    def reads(self) -> int:
        return sum(store.figures()["reads"] for store in self.stores)

    def run(self, check: Callable[[Place], Awaitable[object]]) -> None:
        async def whole() -> None:
            try:
                await check(self.place)
            finally:
                for store in self.stores:
                    await store.close()

        asyncio.run(whole())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_sqlite_keeps_the_promise(check: Check, tmp_path: Path) -> None:
    House(tmp_path).run(check)


def test_a_script_of_random_operations_ends_as_in_memory(tmp_path: Path) -> None:  # 59
    async def in_memory() -> list[object]:
        tools = FakeTools()
        store = memory.Memory(memory.Config(), tools)

        async def opened() -> ContextStore:
            return store

        return await script(Place(opened, leaps=True, tenant="t"), 59, 1000)

    expected = asyncio.run(in_memory())

    async def here(place: Place) -> None:
        got = await script(place, 59, 1000)
        for one, other in zip(got, expected, strict=True):
            assert one == other

    House(tmp_path, "t").run(here)
