"""Usage out of the ledgers themselves: by user, prompt and tag, and at the prices of today (C11.1, LLM 10)."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tidegate.assembly.check import check
from tidegate.control import usage_reading
from tidegate.control.bookkeeper import Bookkeeper
from tidegate.control.books_store import BookStore
from tidegate.control.ledger_shipping import Shipping
from tidegate.control.usage_reading import prices_of, read_usage
from tidegate.exchange.chat import Usage
from tidegate.exchange.ledger import CostPart, DoneLine, FixLine, HeadLine, LedgerRecord, Line, OpenLine
from tidegate.ports.models import PriceRow
from tidegate.wire.ledger_line import encode_line

TS = 1_763_700_000.0  # 2025-11-21T04:40Z
FIRST = "20251121T044000Z-boot1-w0-000001.log"
SECOND = "20251121T054000Z-boot1-w0-000002.log"
DAY = ("2025-11-21T00", "2025-11-22T00")


def call(id: str, cost: int = 5, ts: float = TS, **more: Any) -> Line:
    known: dict[str, Any] = {"asked": "fast", "provider": "p", "model": "m", "consumer": "c"} | more
    return DoneLine(LedgerRecord(id=id, ts=ts, cost=cost, usage=Usage(input=10, output=3), **known))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ledger").mkdir()
    return tmp_path / "ledger"


def write(folder: Path, name: str, *lines: Line | bytes) -> None:
    with (folder / name).open("ab") as file:
        for line in (HeadLine("boot1", 0, 71), *lines):
            file.write(line if isinstance(line, bytes) else encode_line(line))


def test_users_prompts_and_tags_are_told_apart_the_dearest_first(folder: Path) -> None:
    write(
        folder, FIRST,
        OpenLine("a", TS, TS, 100), call("a", 5, user="ann", tags=("x", "y")), call("b", 2, user="bob", prompt="sum@3"),
        FixLine("o", TS), call("c", 4, user="bob", status=502, prompt="sum@3"),
    )  # fmt: skip
    rows = read_usage(folder, *DAY, ("user",), "")
    assert [(row["user"], row["cost"], row["requests"], row["errors"], row["input_tokens"]) for row in rows] == [
        ("bob", 6, 2, 1, 20),
        ("ann", 5, 1, 0, 10),
    ]
    rows = read_usage(folder, *DAY, ("prompt", "tag"), "hour")
    assert [(row["at"], row["prompt"], row["tag"], row["cost"]) for row in rows] == [
        ("2025-11-21T04", "sum@3", "", 6),
        ("2025-11-21T04", "", "x,y", 5),
    ]


def test_the_ledgers_and_the_books_tell_the_same(folder: Path) -> None:
    write(folder, FIRST, *(call(f"a{n}", n, asked=f"m{n % 3}", saved=n) for n in range(50)))
    write(folder, SECOND, *(call(f"b{n}", n, TS + 3600.0) for n in range(9)))
    store = BookStore(folder.parent / "books.sqlite")
    Shipping(folder, store, lambda: TS + 7200.0, 1e9).run({}, (), ())
    for by, bucket in ((("model",), ""), (("consumer", "model"), "hour"), ((), "")):
        assert read_usage(folder, *DAY, by, bucket) == store.usage(*DAY, by, bucket)
    store.close()


def test_only_whole_lines_of_the_range_count_and_each_call_once(folder: Path) -> None:
    write(
        folder, FIRST, call("a"), call("a"), call("early", ts=TS - 86_400.0), b"00000000 {}\n",
        encode_line(call("torn"))[:-9],
    )  # fmt: skip
    write(folder, SECOND, call("late", ts=TS + 86_400.0), call("a"))
    (folder / "20251125T044000Z-boot2-w0-000001.log").mkdir()  # begun days after the range: never opened
    (folder / "notes.log").write_text("not ours")
    (row,) = read_usage(folder, *DAY, (), "")
    assert row["requests"] == 1
    os.utime(folder / FIRST, (TS - 86_400.0 * 2, TS - 86_400.0 * 2))
    assert [row["requests"] for row in read_usage(folder, *DAY, (), "")] == [1]  # a again, in the second file


def test_rows_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_reading, "MOST", 2)
    write(folder, FIRST, *(call(f"a{n}", 1, user=f"u{n}") for n in range(6)))
    rows = read_usage(folder, *DAY, ("user", "model"), "")
    assert [(row["user"], row["model"], row["requests"]) for row in rows] == [
        ("_other", "fast", 4), ("u0", "fast", 1), ("u1", "fast", 1),
    ]  # fmt: skip


def test_calls_are_priced_anew_and_what_has_no_price_stands_as_booked(folder: Path) -> None:
    price = PriceRow("p/m", {"input": 2_000_000_000, "output": 1_000_000_000})
    write(
        folder, FIRST, call("a", 5), call("b", 7, provider="gone"), call("c", 9, provider=""),
        call("d", 30, parts=(CostPart("input", 10, 20), CostPart("waste", 1, 10))),
    )  # fmt: skip
    rows = read_usage(folder, *DAY, ("provider",), "", lambda record: price if record.provider == "p" else None)
    found = {row["provider"]: (row["cost"], row["repriced"], row["unpriced"]) for row in rows}
    assert found == {"p": (35, 23_000 + 23_000 + 10, 0), "gone": (7, 7, 1), "": (9, 9, 0)}


CONFIG = """
listeners: [{address: "127.0.0.1:0"}]
providers:
  - {name: p, use: openai_compatible, base_url: "http://127.0.0.1:9/v1", price: {input: 3, output: 4}}
  - {name: o, use: openai, api_key: k}
models:
  - {name: fast, targets: [{provider: p, model: m, price: {input: 1, output: 2}}]}
  - {name: "any-*", targets: [{provider: p}]}
routes: [{name: v1, match: {path: /v1}, llm: {}}]
"""


def test_the_price_of_today_is_the_targets_else_the_providers_else_the_tables(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    models = check(tmp_path / "c.yaml", {}).built.plan.models
    assert models is not None
    price = prices_of(models)

    def units(asked: str, provider: str, model: str) -> dict[str, int] | None:
        found = price(LedgerRecord(id="x", ts=TS, asked=asked, provider=provider, model=model))
        return None if found is None else {name: found.units[name] for name in ("input", "output")}

    assert units("fast", "p", "m") == {"input": 1_000_000_000, "output": 2_000_000_000}
    assert units("any-thing", "p", "any-thing") == {"input": 3_000_000_000, "output": 4_000_000_000}
    assert units("gone", "o", "gpt-4o-mini") == {"input": 150_000_000, "output": 600_000_000}
    assert units("gone", "nobody", "m") is None


def test_the_books_ask_the_ledgers_only_when_they_must(folder: Path) -> None:
    write(folder, FIRST, call("a", 5, user="ann"))

    async def story() -> None:
        book = Bookkeeper(folder.parent, time.monotonic, time.time, lambda row, message: None)
        assert (await book.usage(*DAY, ("model",), "")).rows == []  # closed
        (row,) = (await book.usage(*DAY, ("user",), "")).rows
        assert (row["user"], row["cost"]) == ("ann", 5)
        (row,) = (await book.usage(*DAY, ("model",), "", lambda record: None)).rows
        assert (row["repriced"], row["unpriced"]) == (5, 1)

    asyncio.run(story())
