"""The link between control and the workers (C8.4): a 4-byte big-endian length, then one msgpack map with ``kind``.

A kind nobody knows is skipped, so old and new builds meet during an upgrade. Both ends bound what they read and what
they leave unwritten: an end that stops reading is cut, and the worker comes back with a new ``hello``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import msgspec

LONGEST: Final = 16 << 20
"""Bytes of one frame: a report of 10,000 series is under 1 MB, a key set under 1 MB; the rest is air."""
MOST_UNSENT: Final = 32 << 20
"""Bytes that may wait for a peer that reads slowly before it is cut."""
SILENCE: Final = 5.0
"""Seconds without a byte after which control gives a worker's connection up (C8.4)."""
LONGEST_WAIT: Final = 0.1
"""Seconds between a worker's tries to come back, at most: a call waits for money as long as 1 s, and a try costs
microseconds."""

Message = dict[str, Any]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, Any])


class LinkError(Exception):
    """The other end does not speak the link's language."""


def encode(message: Message) -> bytes:
    """One frame. Raises ``LinkError`` when it would be longer than the other end reads."""
    body = _encoder.encode(message)
    if len(body) > LONGEST:
        raise LinkError(f"a {message.get('kind')} message of {len(body)} bytes is too long")
    return struct.pack(">I", len(body)) + body


class Frames:
    """Cuts a stream of bytes into messages. Holds at most one unfinished frame."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Every message that *data* completes. Raises ``LinkError``; then the connection is of no more use."""
        waiting = self.waiting
        waiting += data
        found: list[Message] = []
        start = 0
        while len(waiting) - start >= 4:
            size = int.from_bytes(waiting[start : start + 4], "big")
            if size > LONGEST:
                raise LinkError(f"a frame of {size} bytes is too long")
            end = start + 4 + size
            if len(waiting) < end:
                break
            try:
                message = _decoder.decode(memoryview(waiting)[start + 4 : end])
            except msgspec.DecodeError as error:
                raise LinkError("a frame is not a msgpack map") from error
            if not isinstance(message.get("kind"), str):
                raise LinkError("a message has no kind")
            found.append(message)
            start = end
        if start:
            del waiting[:start]
        return found


class LinkConnection(asyncio.Protocol):
    """One end of one connection. ``on_message`` gets each message, ``on_gone`` is called once at the end."""

    def __init__(
        self,
        on_message: Callable[[LinkConnection, Message], None],
        on_gone: Callable[[LinkConnection], None],
        on_made: Callable[[LinkConnection], None] | None = None,
    ) -> None:
        self.on_message = on_message
        self.on_gone = on_gone
        self.on_made = on_made
        self.frames = Frames()
        self.transport: asyncio.Transport | None = None
        self.slot = -1
        """The worker's row once it said hello (control's side)."""
        self.heard = 0.0
        """Monotonic seconds of the last byte."""
        self.trouble = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.heard = asyncio.get_running_loop().time()
        if self.on_made is not None:
            self.on_made(self)

    def data_received(self, data: bytes) -> None:
        self.heard = asyncio.get_running_loop().time()
        try:
            messages = self.frames.feed(data)
        except LinkError as error:
            self.cut(str(error))
            return
        for message in messages:
            if self.transport is None:
                return
            self.on_message(self, message)

    def send(self, kind: str, **fields: object) -> bool:
        """Send one message; False when the connection is gone (or is now cut, because the peer does not read)."""
        return self.send_message({"kind": kind, **fields})

    def send_message(self, message: Message) -> bool:
        """Send *message*, which has its ``kind`` already; see :meth:`send`."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(encode(message))
        if transport.get_write_buffer_size() > MOST_UNSENT:
            self.cut("the peer does not read")
            return False
        return True

    def cut(self, trouble: str) -> None:
        """End the connection now, unsent bytes included."""
        self.trouble = trouble
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None:
            self.transport = None
            self.on_gone(self)


def same_owner(connection: socket.socket) -> bool:
    """Whether the process behind a Unix *connection* runs as our user or as root."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid in (os.geteuid(), 0)


def bind_private(path: Path) -> socket.socket:
    """A Unix listening socket at *path*, 0600, taking the place of one that an earlier process left."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}"[:40])
    temporary.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(temporary))
        os.chmod(temporary, 0o600)
        listening.listen(128)
        listening.setblocking(False)
        # The rename is the moment of change: there is no time without a socket at the path.
        os.rename(temporary, path)
    except OSError:
        listening.close()
        temporary.unlink(missing_ok=True)
        raise
    return listening


class LinkServer:
    """Control's end: one connection a worker, known by its row after ``hello``."""

    def __init__(
        self,
        on_hello: Callable[[LinkConnection, Message], None],
        on_message: Callable[[LinkConnection, Message], None],
        on_gone: Callable[[LinkConnection], None],
    ) -> None:
        self.on_hello = on_hello
        self.on_worker_message = on_message
        self.on_worker_gone = on_gone
        self.workers: dict[int, LinkConnection] = {}
        self.strangers: set[LinkConnection] = set()
        self.server: asyncio.AbstractServer | None = None

    async def start(self, path: Path) -> None:
        """Listen at *path*."""
        loop = asyncio.get_running_loop()
        self.server = await loop.create_unix_server(self._connection, sock=bind_private(path))

    def _connection(self) -> LinkConnection:
        return LinkConnection(self._message, self._gone, self._made)

    def _made(self, connection: LinkConnection) -> None:
        assert connection.transport is not None
        opened = connection.transport.get_extra_info("socket")
        if opened is not None and not same_owner(opened):
            connection.cut("the peer belongs to another user")
            return
        self.strangers.add(connection)

    def _message(self, connection: LinkConnection, message: Message) -> None:
        if connection.slot >= 0:
            self.on_worker_message(connection, message)
            return
        slot = message.get("slot")
        if message["kind"] != "hello" or not isinstance(slot, int) or slot < 0:
            connection.cut("the first message is not a hello")
            return
        self.strangers.discard(connection)
        former = self.workers.get(slot)
        connection.slot = slot
        self.workers[slot] = connection
        if former is not None:
            former.cut("the worker came back on a new connection")
        self.on_hello(connection, message)

    def _gone(self, connection: LinkConnection) -> None:
        self.strangers.discard(connection)
        if self.workers.get(connection.slot) is connection:
            del self.workers[connection.slot]
            self.on_worker_gone(connection)

    def broadcast(self, kind: str, **fields: object) -> None:
        """Send one message to every worker that is there."""
        for connection in list(self.workers.values()):
            connection.send(kind, **fields)

    def cut_silent(self, now: float) -> None:
        """Give up connections that said nothing for :data:`SILENCE`."""
        for connection in [*self.workers.values(), *self.strangers]:
            if now - connection.heard > SILENCE:
                connection.cut("silent")

    def close(self) -> None:
        """Stop listening and let every worker go; they keep serving (C8.5)."""
        if self.server is not None:
            self.server.close()
        for connection in [*self.workers.values(), *self.strangers]:
            if connection.transport is not None:
                connection.transport.close()


class LinkClient:
    """A worker's end: comes back by itself, says ``hello`` each time, and lives well without the other end."""

    def __init__(
        self,
        path: Callable[[], Path],
        hello: Callable[[], Message],
        on_message: Callable[[Message], None],
        on_change: Callable[[bool], None],
    ) -> None:
        self.path = path
        self.hello = hello
        self.on_worker_message = on_message
        self.on_change = on_change
        self.connection: LinkConnection | None = None
        self.lost = asyncio.Event()
        self.closed = False

    async def run(self) -> None:
        """Stay connected until cancelled."""
        loop = asyncio.get_running_loop()
        wait = 0.02
        while not self.closed:
            self.lost.clear()
            try:
                await loop.create_unix_connection(self._connection, str(self.path()))
            except OSError:
                await asyncio.sleep(wait)
                wait = min(LONGEST_WAIT, wait * 2)
                continue
            wait = 0.02
            await self.lost.wait()
            await asyncio.sleep(wait)

    def _connection(self) -> LinkConnection:
        return LinkConnection(self._message, self._gone, self._made)

    def _made(self, connection: LinkConnection) -> None:
        self.connection = connection
        connection.send("hello", **self.hello())
        self.on_change(True)

    def _message(self, connection: LinkConnection, message: Message) -> None:
        self.on_worker_message(message)

    def _gone(self, connection: LinkConnection) -> None:
        if self.connection is connection:
            self.connection = None
            self.on_change(False)
        self.lost.set()

    def send(self, kind: str, **fields: object) -> bool:
        """Send one message; False when control is away."""
        return self.connection is not None and self.connection.send(kind, **fields)

    def close(self) -> None:
        """Let go after what is written has left."""
        self.closed = True
        if self.connection is not None and self.connection.transport is not None:
            self.connection.transport.close()
