"""The link's frames (C8.4) and both its ends over a real socket."""

from __future__ import annotations

import asyncio
import os
import stat
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.control.link import LONGEST, Frames, LinkClient, LinkConnection, LinkError, LinkServer, encode

FRAMES = [
    ({"kind": "ping"}, b"\x00\x00\x00\x0b\x81\xa4kind\xa4ping"),
    ({"kind": "ack", "generation": 42}, b"\x00\x00\x00\x16\x82\xa4kind\xa3ack\xaageneration\x2a"),
    ({"kind": "key", "raw": b"\x00\xff"}, b"\x00\x00\x00\x12\x82\xa4kind\xa3key\xa3raw\xc4\x02\x00\xff"),
]


@pytest.mark.parametrize(("message", "frame"), FRAMES)
def test_a_message_and_its_frame_are_each_other(message: dict[str, Any], frame: bytes) -> None:
    assert encode(message) == frame
    assert Frames().feed(frame) == [message]


@pytest.mark.parametrize(("message", "frame"), FRAMES)
def test_a_frame_may_come_byte_by_byte(message: dict[str, Any], frame: bytes) -> None:
    frames = Frames()
    found = [each for byte in frame for each in frames.feed(bytes([byte]))]
    assert found == [message]
    assert frames.waiting == b""


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
messages = st.fixed_dictionaries({"kind": st.text(min_size=1)}, optional={"body": values})


@given(st.lists(messages, max_size=5), st.data())
def test_messages_survive_every_way_of_cutting_the_stream(sent: list[dict[str, Any]], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    frames = Frames()
    found: list[dict[str, Any]] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += frames.feed(stream[start:end])
    assert found == sent


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", LONGEST + 1),
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x01\x01",
        b"\x00\x00\x00\x01\x80",
        b"\x00\x00\x00\x07\x81\xa4kind\x01",
    ],
    ids=["too long", "no msgpack", "no map", "no kind", "kind is no text"],
)
def test_what_is_no_message_ends_the_connection(data: bytes) -> None:
    with pytest.raises(LinkError):
        Frames().feed(data)


def test_a_message_too_long_for_the_other_end_is_not_sent() -> None:
    with pytest.raises(LinkError, match="big message"):
        encode({"kind": "big", "body": bytes(LONGEST)})


class Ends:
    """A server and a client on one socket, and what each has heard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[tuple[int, dict[str, Any]]] = []
        self.told: list[dict[str, Any]] = []
        self.gone: list[int] = []
        self.ups: list[bool] = []
        self.news = asyncio.Event()
        self.server = LinkServer(self._hello, self._said, self._gone)
        self.client = LinkClient(lambda: path, lambda: {"slot": 3, "pid": 7}, self._told, self._change)

    def _hello(self, connection: LinkConnection, message: dict[str, Any]) -> None:
        self._said(connection, message)

    def _said(self, connection: LinkConnection, message: dict[str, Any]) -> None:
        self.heard.append((connection.slot, message))
        self.news.set()

    def _told(self, message: dict[str, Any]) -> None:
        self.told.append(message)
        self.news.set()

    def _gone(self, connection: LinkConnection) -> None:
        self.gone.append(connection.slot)
        self.news.set()

    def _change(self, up: bool) -> None:
        self.ups.append(up)
        self.news.set()

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(5):
            while not true():
                self.news.clear()
                await self.news.wait()


def test_a_worker_says_hello_and_both_ends_talk_and_it_comes_back(tmp_path: Path) -> None:
    async def talk() -> None:
        ends = Ends(tmp_path / "link.sock")
        await ends.server.start(ends.path)
        assert stat.S_IMODE(os.stat(ends.path).st_mode) == 0o600
        task = asyncio.get_running_loop().create_task(ends.client.run())
        await ends.until(lambda: ends.heard)
        assert ends.heard == [(3, {"kind": "hello", "slot": 3, "pid": 7})]
        ends.server.broadcast("generation", number=42)
        await ends.until(lambda: ends.told)
        assert ends.told == [{"kind": "generation", "number": 42}]
        assert ends.client.send("unheard_of", body=1)
        await ends.until(lambda: len(ends.heard) == 2)
        assert ends.heard[1] == (3, {"kind": "unheard_of", "body": 1})
        ends.server.workers[3].cut("test")
        await ends.until(lambda: ends.gone == [3] and len(ends.heard) == 3)
        assert ends.heard[2][1]["kind"] == "hello"
        assert ends.ups == [True, False, True]
        task.cancel()
        ends.client.close()
        ends.server.close()

    asyncio.run(talk())


def test_silence_is_cut_and_a_stranger_gets_no_second_message(tmp_path: Path) -> None:
    async def talk() -> None:
        ends = Ends(tmp_path / "link.sock")
        await ends.server.start(ends.path)
        reader, writer = await asyncio.open_unix_connection(str(ends.path))
        writer.write(encode({"kind": "report", "pid": 1}))
        assert await reader.read() == b""
        reader, writer = await asyncio.open_unix_connection(str(ends.path))
        writer.write(encode({"kind": "hello", "slot": 1}))
        await ends.until(lambda: 1 in ends.server.workers)
        heard = ends.server.workers[1].heard
        ends.server.cut_silent(heard + 4.9)
        assert 1 in ends.server.workers
        ends.server.cut_silent(heard + 5.1)
        assert await reader.read() == b""
        await ends.until(lambda: ends.gone == [1])
        ends.server.close()

    asyncio.run(talk())


def test_the_kinds_of_c8_4_are_plain_msgpack() -> None:
    frame = encode({"kind": "hello", "slot": 0, "pid": 1, "generation": 5, "seq": 0})
    assert msgspec.msgpack.decode(frame[4:])["generation"] == 5
