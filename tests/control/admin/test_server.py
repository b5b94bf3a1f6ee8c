"""The admin listener over real sockets: answers, bounds on strangers, an end that does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tidegate.control.admin import server as server_module
from tidegate.control.admin.server import AdminServer, make_server
from tidegate.control.link import bind_private
from tidegate.control.listening import listen

REQUEST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@asynccontextmanager
async def serving(app: Any, listening: Any) -> AsyncIterator[AdminServer]:
    server = make_server(app)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0)
    yield server
    server.should_exit = True
    await asyncio.wait_for(task, 5)


def test_it_answers_without_naming_its_software_and_takes_no_signal(door: Any) -> None:
    async def talk() -> None:
        listening = listen("127.0.0.1", 0)
        async with serving(door, listening):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert b"server:" not in head.lower()
            writer.close()

    asyncio.run(talk())


def test_the_own_user_is_let_in_through_the_unix_socket_and_another_is_not(
    door: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talk() -> None:
        async with serving(door, bind_private(tmp_path / "control.sock")):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"))
            writer.write(REQUEST)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()
            monkeypatch.setattr(server_module, "same_owner", lambda connection: False)
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"))
            writer.write(REQUEST)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 5)

    asyncio.run(talk())


def test_a_head_that_does_not_come_ends_its_connection(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEAD_TIME", -14.9)

    async def talk() -> None:
        listening = listen("127.0.0.1", 0)
        async with serving(door, listening):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(REQUEST[:-2])
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 5)
            writer.close()

    asyncio.run(talk())


def test_no_more_connections_than_the_cap_are_held(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 2)

    async def talk() -> None:
        listening = listen("127.0.0.1", 0)
        async with serving(door, listening):
            held = [await asyncio.open_connection(*listening.getsockname()) for _ in range(2)]
            for reader, writer in held:
                writer.write(REQUEST)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 5)
            for _, each in held:
                each.close()

    asyncio.run(talk())
