"""``tidegate context`` reads what a gateway keeps, and names what is damaged (I8)."""

from __future__ import annotations

import asyncio
import hmac
import json
import sqlite3
from pathlib import Path

import pytest

from tidegate import cli
from tidegate.assembly.inert import InertTools
from tidegate.exchange.context import Added, Entry, Item, StateChanged
from tidegate.exchange.context_log import Addition, Asker, Create
from tidegate.repositories.sqlite import Config, Sqlite
from tidegate.rules.context_keys import new_context_key, new_tenant_key, open_context_key, open_tenant_key, sealer
from tidegate.wire.context_entry import write_entry

CONTEXT = "ctx_01J9ZK3V7Q2M8N4R6T0W5X1Y3B"
VERSION = "cv_01J9ZK4A0C3E5G7H9J1K3M5N7P"
CONFIG = """
listeners: [{address: "127.0.0.1:8080"}]
data: data
repository: {use: USE}
routes: [{name: c, match: {path: /v1/contexts}, filters: [{use: api_key}], contexts: {}}]
"""


def chance(size: int) -> bytes:
    return bytes(range(size))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config, a root key, and one context with a sealed fact and a state."""
    monkeypatch.chdir(tmp_path)
    Path("tidegate.yaml").write_text(CONFIG.replace("USE", "sqlite"))
    Path("data").mkdir()
    Path("data/root.key").write_bytes(b"r" * 32)
    root = hmac.digest(b"r" * 32, b"contexts", "sha256")

    async def fill() -> None:
        store = Sqlite(Config(), InertTools("repository/store", Path("data")))
        await store.open()
        sealed = await store.tenant_key("default", 1, new_tenant_key(root, "default", 1, chance))
        assert sealed is not None
        key = open_tenant_key(root, "default", sealed)
        dek = new_context_key(key, 1, "default", b"s" * 16, chance)
        seal = sealer(open_context_key(key, "default", b"s" * 16, dek), "default", CONTEXT, chance)
        items = (Item(id="it_1", type="fact", key="seat", content=b'"window"', privacy="personal"),)
        entry = Entry(kind="delta", version=VERSION, ts=1, author="client",
                      changes=(Added(items), StateChanged("set", 0, b'{"a":1}')))  # fmt: skip
        draft, _ = write_entry(entry, seal)
        create = Create(salt=b"s" * 16, dek=dek, privacy="personal")
        addition = Addition(kind="delta", version=VERSION, entry=draft, create=create, expect="")
        appended = await store.append(Asker("default"), CONTEXT, addition)
        assert appended.outcome == "ok"
        await store.close()

    asyncio.run(fill())
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.run(["context", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_contexts_are_listed_without_content(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "ls")
    assert (code, err) == (0, "")
    assert out.startswith(f"{CONTEXT}  ") and out.endswith(f"personal   {VERSION}\n")
    code, out, _ = said(capsys, "ls", "--json")
    assert (json.loads(out)["id"], json.loads(out)["entries"]) == (CONTEXT, 1)
    assert said(capsys, "ls", "--tenant", "other") == (0, "", "")


@pytest.mark.parametrize("named", [CONTEXT, VERSION])
def test_a_context_is_shown_with_what_is_sealed(
    folder: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:  # fmt: skip
    code, out, err = said(capsys, "show", named)
    told = json.loads(out)
    assert (code, err, told["version"], told["state"]) == (0, "", VERSION, {"a": 1})
    assert [(item["key"], item["content"]) for item in told["items"]] == [("seat", "window")]
    code, out, _ = said(capsys, "log", named)
    assert (code, json.loads(out)["version"]) == (0, VERSION)


@pytest.mark.parametrize(
    "words",
    [
        ["show", CONTEXT[:-1] + "C"],
        ["log", "?"],
        ["show", CONTEXT, "--tenant", "other"],
        ["show", CONTEXT, "--at", "cv_x"],
    ],
)
def test_what_is_not_there_is_told(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, out, err = said(capsys, *words)
    assert (code, out) == (1, "")
    assert "is unknown in this tenant" in err or "is no version of" in err


def test_with_another_root_key_nothing_opens(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/root.key").write_bytes(b"x" * 32)
    code, out, err = said(capsys, "show", CONTEXT)
    assert (code, out) == (1, "")
    assert "a key does not open" in err


def test_what_is_whole_and_what_is_not_is_told_I8(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "fsck") == (0, "everything is whole\n", "")
    with sqlite3.connect("data/contexts.sqlite") as database:
        ((body,),) = database.execute("SELECT body FROM entry").fetchall()
        database.execute("UPDATE entry SET body = ?", (body[:9] + bytes([body[9] ^ 1]) + body[10:],))
    database.close()
    code, out, err = said(capsys, "fsck")
    assert (code, err) == (1, "")
    assert f"{CONTEXT} entry 1 " in out and out.endswith(" damaged\n")
    code, _, err = said(capsys, "show", CONTEXT)
    assert code == 1 and "tidegate context fsck" in err


def test_nobody_can_look_into_memory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("tidegate.yaml").write_text("workers: 1\n" + CONFIG.replace("USE", "memory"))
    code, _, err = said(capsys, "ls")
    assert (code, err) == (
        3, "tidegate: contexts are kept in the memory of the gateway, where nobody else can look\n")  # fmt: skip


def test_render_and_rollback_ask_the_gateway_with_a_key(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEGATE_KEY", raising=False)
    code, _, err = said(capsys, "render", CONTEXT, "fast")
    assert (code, err) == (1, "tidegate: a consumer's key is needed: --key, or TIDEGATE_KEY\n")
    Path("tidegate.yaml").write_text(CONFIG.replace("USE", "sqlite").replace("8080", "1"))
    code, _, err = said(capsys, "rollback", CONTEXT, VERSION, "--key", "tg-team-a")
    assert code == 3 and "no gateway answers at 127.0.0.1:1" in err
