"""The books in a living control: what comes early waits, passes run on a thread, trouble is told once (LLM 10.1)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate.control.bookkeeper import Bookkeeper, kill
from tidegate.exchange.chat import Usage
from tidegate.exchange.ledger import DoneLine, HeadLine, LedgerRecord
from tidegate.wire.ledger_line import encode_line

KEY = "default/key/k"
WANT = {"kind": "money_want", "number": 1, "model": "m", "items": [[KEY, "total", "total", 100, 40, 0]]}
HELLO: dict[str, Any] = {"boot": "boot1", "segment": "", "offset": 0, "clock": 0.0, "items": []}


class House:
    def __init__(self, path: Path) -> None:
        self.sent: list[tuple[int, dict[str, Any]]] = []
        self.said: list[str] = []
        self.replaced: list[int] = []
        self.path = path
        self.book = Bookkeeper(
            path, time.monotonic, time.time, lambda row, message: self.sent.append((row, message)), 1,
            say=self.said.append, replace=self.replaced.append,
        )  # fmt: skip

    async def until(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not true():
                self.book.tick()
                await asyncio.sleep(0.005)

    def write(self, cost: int) -> None:
        (self.path / "ledger").mkdir(exist_ok=True)
        record = LedgerRecord(
            id=str(cost), ts=time.time(), asked="fast", cost=cost, usage=Usage(input=7), levels=((KEY, "total"),)
        )
        with (self.path / "ledger" / "20251121T044000Z-boot0-w0-000001.log").open("wb") as file:
            file.write(encode_line(HeadLine("boot0", 0, 5)) + encode_line(DoneLine(record)))


def run(path: Path, story: Callable[[House], Any]) -> None:
    async def tell() -> None:
        house = House(path)
        await story(house)
        await house.book.close()

    asyncio.run(tell())


def test_what_is_said_before_the_books_are_open_is_answered_once_they_are(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.write(70)
        house.book.start()
        house.book.hello(0, 71, HELLO)
        house.book.handle(0, WANT)
        house.book.crew({71: True})
        assert house.sent == []
        await house.until(lambda: house.sent)
        ((row, answer),) = house.sent
        assert (row, answer["number"], answer["refused"], answer["items"]) == (0, 1, [KEY, 70], [])

    run(tmp_path, story)


def test_nothing_is_opened_before_somebody_wants_books(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.book.hello(0, 71, HELLO)
        house.book.handle(0, WANT)
        house.book.crew({71: True})
        for _ in range(3):
            house.book.tick()
            await asyncio.sleep(0)
        assert (list(tmp_path.iterdir()), house.book.has_books()) == ([], False)
        assert house.book.standing() is None
        assert (await house.book.usage("", "~", (), "")).rows == []
        house.write(1)
        assert house.book.has_books()

    run(tmp_path, story)


def test_usage_is_fresh(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.write(70)
        house.book.set_keep(3600.0)
        house.book.start()
        await house.until(lambda: house.book.as_of > 0.0)
        found = await house.book.usage("2000-01-01T00", "2100-01-01T00", ("model",), "")
        assert [(row["model"], row["cost"], row["input_tokens"]) for row in found.rows] == [("fast", 70, 7)]
        assert time.time() - found.as_of < 2.0
        assert house.book.shipping is not None and house.book.shipping.keep == 3600.0

    run(tmp_path, story)


def test_a_dead_worker_is_buried_at_once(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.book.start()
        house.book.crew({71: True})
        house.book.hello(0, 71, HELLO)
        house.book.handle(0, WANT)
        await house.until(lambda: house.sent)
        authority = house.book.authority
        assert authority is not None
        assert authority.accounts[KEY, "total"].out == {"boot1": 40}
        house.book.gone(0, 71)
        begun = time.monotonic()
        await house.until(lambda: not authority.accounts[KEY, "total"].out)
        assert time.monotonic() - begun < 0.9
        assert house.book.dead == set()

    run(tmp_path, story)


def test_a_worker_that_dies_before_the_books_open_is_forgotten(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.book.hello(0, 71, HELLO)
        house.book.gone(0, 71)
        assert house.book.hellos == {}

    run(tmp_path, story)


def test_books_that_cannot_be_opened_are_told_once_and_tried_again(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        (tmp_path / "ledger").write_text("a file where a folder must be")
        house.book.start()
        await house.until(lambda: house.said)
        assert house.said[0].startswith("the books cannot be kept: ")
        assert house.book.authority is None
        standing = house.book.standing()
        assert standing is not None and not standing.open
        assert standing.doubt() == house.said[0]
        house.book.passed_at = float("-inf")
        await house.until(lambda: house.book.passing is None)
        (tmp_path / "ledger").unlink()
        house.book.passed_at = float("-inf")
        await house.until(lambda: len(house.said) == 2)
        assert house.said[1] == "the books are kept again"
        standing = house.book.standing()
        assert standing is not None and standing.open and standing.doubt() == ""

    run(tmp_path, story)


def test_replacing_a_worker_that_is_gone_already_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []

    def gone(pid: int, number: int) -> None:
        killed.append(pid)
        raise ProcessLookupError

    monkeypatch.setattr("tidegate.control.bookkeeper.os.kill", gone)
    kill(71)
    assert killed == [71]


def test_two_controls_never_read_the_ledgers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of a killed supervisor may still be ending: each line would be booked twice."""
    monkeypatch.setattr("tidegate.control.bookkeeper.LOCK_WAIT", 0.0)

    async def story(house: House) -> None:
        house.write(70)
        house.book.start()
        await house.until(lambda: house.book.as_of)
        second = House(tmp_path)
        second.book.start()
        await second.until(lambda: second.said)
        assert second.said == ["the books cannot be kept: another control still keeps them"]
        assert second.book.store is None
        await house.book.close()
        second.book.passed_at = float("-inf")
        await second.until(lambda: second.book.as_of)
        assert second.book.store is not None and second.book.store.spent(KEY, "total") == 70
        await second.book.close()

    async def tell() -> None:
        await story(House(tmp_path))

    asyncio.run(tell())
