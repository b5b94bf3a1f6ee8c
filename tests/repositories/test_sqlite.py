"""SQLite keeps every promise of a context store, in one file that several processes share."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fakes import FakeTools
from repositories.conformance import CHECKS, Check, Place, Talk, item, script
from tidegate.exchange.context import Added, Entry, Item
from tidegate.exchange.context_log import Asker, Begin, Begun, Draft, Payload
from tidegate.exchange.fault import Fault
from tidegate.ports.context_store import ContextStore
from tidegate.repositories import memory
from tidegate.repositories.sqlite import LAYOUT, Config, Sqlite
from tidegate.wire.context_entry import plain_seal, version_digest, write_entry


class House:
    """A folder with the file, and the stores that were opened on it."""

    def __init__(self, folder: Path, tenant: str = "") -> None:
        self.tools = FakeTools(data_folder=folder)
        self.tools.token = os.urandom  # type: ignore[method-assign]
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


# -- the file ----------------------------------------------------------------------------------------------------------


def fault_of(work: Awaitable[object]) -> str:
    async def ask() -> str:
        try:
            await work
        except Fault as fault:
            return f"{fault.code} {fault.status}"
        return ""

    return asyncio.run(ask())


def test_a_file_of_a_later_layout_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "contexts.sqlite"
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
    connection.close()
    before = file.read_bytes()
    tools = FakeTools(data_folder=tmp_path)
    assert fault_of(Sqlite(Config(), tools).open()) == "store_unavailable 503"
    assert tools.lines[0][1] == "contexts.store_unavailable"
    assert file.read_bytes() == before


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "contexts.sqlite").write_bytes(b"no database, though it is long enough to be one" * 9)
    assert fault_of(Sqlite(Config(), FakeTools(data_folder=tmp_path)).open()) == "store_unavailable 503"
    assert fault_of(Sqlite(Config(), FakeTools(data_folder=tmp_path / "none")).open()) == "store_unavailable 503"


def test_the_file_is_the_operators_alone_and_lies_where_the_config_says(tmp_path: Path) -> None:
    async def run() -> None:
        tools = FakeTools(data_folder=tmp_path / "data", config_folder=tmp_path)
        store = Sqlite(Config(file="talks.db"), tools)
        await store.open()
        await store.open()
        assert store.path == tmp_path / "talks.db"
        assert store.path.stat().st_mode & 0o777 == 0o600
        await store.close()
        await store.close()
        assert (await asyncio.gather(store.load(Asker("t"), "ctx"), return_exceptions=True))[0].code == (  # type: ignore[union-attr]
            "store_unavailable"
        )
        await store.open()
        assert (await store.load(Asker("t"), "ctx")).outcome == "not_found"
        await store.close()

    asyncio.run(run())
    assert (store_of(tmp_path).name, store_of(tmp_path).durable, store_of(tmp_path).instant) == ("sqlite", True, False)


def store_of(folder: Path, **settings: object) -> Sqlite:
    return Sqlite(Config(**settings), FakeTools(data_folder=folder))  # type: ignore[arg-type]


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("full", 2)])
def test_full_durability_syncs_before_it_answers(tmp_path: Path, durability: str, synchronous: int) -> None:
    async def run() -> None:
        store = store_of(tmp_path, durability=durability)
        await store.open()
        writer = store._writer
        assert writer is not None
        connection = writer.tables.connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
        await store.close()

    asyncio.run(run())


def test_a_file_that_others_hold_is_waited_for_and_then_told(tmp_path: Path) -> None:
    async def run() -> None:
        store = store_of(tmp_path, timeout=0.2)
        await store.open()

        async def opened() -> ContextStore:
            return store

        talk = Talk(Place(opened), store)
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Fault) as told:
            await talk.begin(b"1")
        assert (told.value.code, told.value.status, told.value.retry_after) == ("store_unavailable", 503, 1.0)
        waits = asyncio.ensure_future(talk.begin(b"2"))
        await asyncio.sleep(0.02)
        other.execute("COMMIT")
        assert (await waits).outcome == "ok"
        assert [row[0] for row in await talk.log()] == [1]
        other.close()
        await store.close()

    asyncio.run(run())


def test_calls_that_come_together_share_a_transaction_and_one_that_fails_fails_alone(tmp_path: Path) -> None:
    async def run() -> None:
        store = store_of(tmp_path)
        await store.open()

        async def opened() -> ContextStore:
            return store

        place = Place(opened)
        talks = [Talk(place, store) for _ in range(64)]
        bad = talks[7].request(b"bad")
        broken = Begin(version=bad.version, fork=bad.fork, fp=b"f", create=bad.create, settled=bad.settled,
                       input=Draft(b"x", (Payload("i", {}, b"n", b"b"),)))  # type: ignore[arg-type] # fmt: skip
        work = [store.begin(talk.asker, talk.id, broken if n == 7 else talk.request()) for n, talk in enumerate(talks)]
        done = await asyncio.gather(*work, return_exceptions=True)
        failed = [one for one in done if isinstance(one, BaseException)]
        assert [fault.code for fault in failed if isinstance(fault, Fault)] == ["store_unavailable"]
        assert len(failed) == 1
        assert sum(one.outcome == "ok" for one in done if isinstance(one, Begun)) == 63
        assert (await store.load(talks[7].asker, talks[7].id)).outcome == "not_found"
        before = store.figures()["groups"]
        await asyncio.gather(*(talk.add(kind="control", moves=False) for talk in talks if talk is not talks[7]))
        assert store.figures()["groups"] - before < 63
        await store.close()

    asyncio.run(run())


def test_no_content_ever_lies_in_the_file_in_clear_and_the_key_of_a_struck_one_is_nowhere(tmp_path: Path) -> None:
    """53, 54: SQLite leaves copies of rows where it moved them from, so what covers a content must never move."""

    def anywhere(mark: bytes) -> bool:
        return any(mark in file.read_bytes() for file in tmp_path.glob("contexts.sqlite*"))

    async def check(place: Place) -> None:
        store, dice = await place.open(), random.Random(53)
        reader = sqlite3.connect(tmp_path / "contexts.sqlite", isolation_level=None)
        talks: list[Talk] = []
        marks: dict[str, list[str]] = {}

        def keys_of(talk: Talk, name: str) -> list[bytes]:
            sql = (
                "SELECT key FROM pad JOIN item ON n = pad WHERE id = ?1 AND item LIKE ?2 UNION ALL"
                " SELECT key FROM pad JOIN blob ON n = blob.pad JOIN item USING (hash) WHERE id = ?1 AND item LIKE ?2"
            )
            return [row[0] for row in reader.execute(sql, (talk.id, name))]

        for n in range(250):
            if not talks or dice.random() < 0.3:
                talks.append(Talk(place, store))
            talk = dice.choice(talks)
            mark = f"MARK-{n:04d}-" * dice.choice((2, 20, 60, 600))
            await talk.add(
                create=None if talk.id in marks else talk.create,
                entry=Draft(b"e" * dice.randrange(50, 400), (item(f"x{n}", mark.encode()),)),
            )
            marks.setdefault(talk.id, []).append(f"x{n}")
            if dice.random() < 0.3:
                victim = dice.choice([one for one in talks if one.id in marks])
                if dice.random() < 0.7:
                    name = dice.choice(marks[victim.id])
                    keys = keys_of(victim, name)
                    struck = await store.redact(victim.asker, victim.id, [name], Draft(b"note"))
                    assert struck in (0, 1)
                    assert len(keys) in ((0,) if struck == 0 else (1, 2))
                else:
                    keys = keys_of(victim, "%")
                    await store.delete(victim.asker, victim.id)
                    talks.remove(victim)
                assert not any(anywhere(key) for key in keys)
        assert not anywhere(b"MARK-")
        live = reader.execute("SELECT key FROM pad WHERE free = 0").fetchall()
        assert len(live) > 50
        assert all(anywhere(key) for (key,) in live)
        assert {key for (key,) in reader.execute("SELECT key FROM pad WHERE free = 1")} == {bytes(32)}
        assert [damage async for damage in store.check(place.tenant)] != []  # entries here are no real ones
        assert [one async for one in store.check() if not one.context] == []
        # A partial answer is covered too, and what was struck of it with it.
        talk = Talk(place, store)
        begun = await talk.begin(b"q", settled=Draft(b"s", (item("half", b"HALF-AN-ANSWER"),)))
        key = reader.execute("SELECT key FROM pad JOIN ref ON n = pad WHERE id = ?", (talk.id,)).fetchone()[0]
        assert anywhere(key) and not anywhere(b"HALF-AN-ANSWER")
        await store.redact(talk.asker, talk.id, ["half"], Draft(b"note"))
        assert not anywhere(key)
        assert (await talk.end(begun)).outcome == "ok"
        reader.close()

    House(tmp_path).run(check)


def test_a_read_during_expiry_and_deletion_sees_all_or_nothing(tmp_path: Path) -> None:
    """56, CX-ttl-race."""

    async def check(place: Place) -> None:
        store, other = await place.open(), await place.open()
        for _ in range(20):
            talk = Talk(place, store)
            for n in range(6):
                await talk.add(create=talk.create if n == 0 else None, entry=Draft(b"x", (item(f"i{n}"),)))
            seen = await asyncio.gather(
                *(other.load(talk.asker, talk.id) for _ in range(4)),
                store.delete(talk.asker, talk.id),
                *(other.load(talk.asker, talk.id) for _ in range(4)),
            )
            for loaded in (*seen[:4], *seen[5:]):
                assert (loaded.outcome, len(loaded.entries), len(loaded.payloads)) in (("ok", 6, 6), ("gone", 0, 0))  # type: ignore[union-attr]

    House(tmp_path).run(check)


# -- damage ------------------------------------------------------------------------------------------------------------


async def _laid(place: Place, store: ContextStore) -> list[Talk]:
    """Three contexts of real entries."""
    talks = []
    seal = plain_seal(lambda: random.randbytes(16))
    for n in range(3):
        talk = Talk(place, store)
        parent: tuple[bytes, ...] = ()
        for turn in range(4):
            version = "cv_" + place.ulid()
            words = (Added((Item(id=f"i{turn}", type="message", content=b'"%s"' % (b"w%d" % n * 900)),)),)
            draft, _ = write_entry(Entry(kind="delta", version=version, changes=words), seal)
            parent = (version_digest(talk.create.salt, parent, (draft.body,)),)
            await talk.add(create=None if turn else talk.create, version=version, digest=parent[0], entry=draft)
        talks.append(talk)
    return talks


def test_torn_and_edited_rows_are_named_and_the_others_stay_readable(tmp_path: Path) -> None:  # I8, CX-torn-tail
    async def check(place: Place) -> None:
        store = await place.open()
        talks = await _laid(place, store)
        assert [damage async for damage in store.check()] == []
        hurt = talks[1].id
        other = sqlite3.connect(tmp_path / "contexts.sqlite", isolation_level=None)
        size = other.execute("SELECT length(body) FROM entry WHERE id = ? AND seq = 4", (hurt,)).fetchone()[0]
        whole = other.execute("SELECT body FROM entry WHERE id = ? AND seq = 4", (hurt,)).fetchone()[0]
        for length in range(size):
            other.execute("UPDATE entry SET body = ? WHERE id = ? AND seq = 4", (whole[:length], hurt))
            found = [damage async for damage in store.check(place.tenant)]
            assert [(one.context, one.what, one.seq) for one in found] == [(hurt, "checksum", 4)]
        other.execute("DELETE FROM entry WHERE id = ? AND seq = 4", (hurt,))
        found = [damage async for damage in store.check(place.tenant, hurt)]
        assert [one.what for one in found] == ["missing_entry", "dangling_head"]
        other.execute("DELETE FROM item WHERE id = ? AND seq = 2", (hurt,))
        found = [damage async for damage in store.check(place.tenant, hurt)]
        assert [(one.what, one.seq) for one in found][1] == ("missing_payload", 2)
        for talk in (talks[0], talks[2]):
            assert [damage async for damage in store.check(place.tenant, talk.id)] == []
            assert len((await store.load(talk.asker, talk.id)).entries) == 4
        other.close()

    House(tmp_path).run(check)


def test_one_flipped_bit_in_any_block_of_the_file_is_named(tmp_path: Path) -> None:  # I8
    async def lay(place: Place) -> None:
        await _laid(place, await place.open())

    House(tmp_path, "t").run(lay)
    file = tmp_path / "contexts.sqlite"
    whole = file.read_bytes()
    found = sqlite3.connect(file)
    bodies = [row[0] for row in found.execute("SELECT body FROM entry UNION ALL SELECT content FROM item")]
    found.close()
    marks = [whole.index(body[:40]) for body in bodies if body and body[:40] in whole]
    assert len(marks) == 24
    for start in marks:
        edited = bytearray(whole)
        edited[start + 20] ^= 4
        file.write_bytes(edited)

        async def check(place: Place) -> None:
            store = await place.open()
            damage = [one async for one in store.check()]
            assert len(damage) == 1
            assert damage[0].what in ("checksum", "digest")
            assert damage[0].context.startswith("ctx_")

        House(tmp_path, "t").run(check)
    for page in range(1, len(whole) // 4096):
        edited = bytearray(whole)
        edited[page * 4096 + 4] ^= 1  # the number of cells: the page makes no sense any more
        file.write_bytes(edited)

        async def alarmed(place: Place) -> None:
            store = await place.open()
            assert [one.what async for one in store.check()] != []

        House(tmp_path, "t").run(alarmed)


# -- processes ---------------------------------------------------------------------------------------------------------

WRITES_FROM_ANOTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from fakes import FakeTools
from repositories.conformance import Place, Talk
from tidegate.repositories.sqlite import Config, Sqlite

async def run(folder, tenant, id, count):
    store = Sqlite(Config(), FakeTools(data_folder=Path(folder)))
    await store.open()
    async def opened():
        return store
    talk = Talk(Place(opened, tenant=tenant), store)
    talk.id = id
    outcomes = [(await talk.add()).outcome for _ in range(count)]
    assert outcomes == ["ok"] * count, outcomes
    await store.close()

asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
"""


def test_writers_of_several_processes_make_one_order(tmp_path: Path) -> None:  # 27
    async def check(place: Place) -> None:
        store = await place.open()
        talk = Talk(place, store)
        await talk.say(b"1")
        arguments = [str(tmp_path), place.tenant, talk.id, "40"]
        tests = Path(__file__).parents[1]
        children = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", WRITES_FROM_ANOTHER_PROCESS, *arguments, cwd=tests
            )
            for _ in range(3)
        ]
        assert await store.changed(talk.asker, talk.id, 2, 20.0) is True
        own = [(await talk.add()).outcome for _ in range(40)]
        assert own == ["ok"] * 40
        assert [await child.wait() for child in children] == [0, 0, 0]
        entries = (await store.load(talk.asker, talk.id)).entries
        assert [entry.seq for entry in entries] == list(range(1, 163))
        assert [entry.parents[0] for entry in entries[2:]] == [entry.version for entry in entries[1:-1]]

    House(tmp_path).run(check)
