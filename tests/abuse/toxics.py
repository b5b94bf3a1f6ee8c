"""A TCP proxy of faults between gateway and mock: latency, bandwidth, slow_close, timeout, reset_peer, slicer,
limit_data, noop, down, flap. Runs inside the mock's process; chance comes from a seed. Only loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from typing import Any

PIECE = 16 * 1024


class Toxic:
    """Mutable state: ``kind`` and ``settings`` of the fault that acts now, on open and on new connections."""

    def __init__(self, to: int, chance: random.Random) -> None:
        self.to = to
        self.chance = chance
        self.kind = "noop"
        self.settings: dict[str, Any] = {}
        self.number = 0
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.flapping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self.server is None:
            self.server = await asyncio.start_server(self._client, "127.0.0.1", self.number, backlog=1024)
            self.number = self.server.sockets[0].getsockname()[1]

    def _shut(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            reset(writer)

    async def set(self, kind: str, settings: dict[str, Any]) -> None:
        self.kind = kind
        self.settings = settings
        if self.flapping is not None:
            self.flapping.cancel()
            self.flapping = None
        if kind == "down":
            self._shut()
            return
        await self.open()
        if kind == "flap":
            self.flapping = asyncio.get_running_loop().create_task(self._flap())

    async def _flap(self) -> None:
        while True:
            await asyncio.sleep(self.settings.get("up", 2.0))
            self._shut()
            await asyncio.sleep(self.settings.get("down", 2.0))
            await self.open()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            reset(writer)
            return
        both = {writer, far_writer}
        self.writers |= both
        try:
            up = asyncio.create_task(self._pass(reader, far_writer, False))
            down = asyncio.create_task(self._pass(far_reader, writer, True))
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if self.kind == "slow_close":
                await asyncio.sleep(self.settings.get("delay", 1.0))
            up.cancel()
            down.cancel()
        finally:
            self.writers -= both
            for each in both:
                each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bool) -> None:
        """Pass bytes on; faults act on answers, as the client of this proxy meets them."""
        passed = 0
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(PIECE):
                kind, settings = self.kind, self.settings
                if answer and kind == "latency":
                    jitter = settings.get("jitter", 0.0)
                    await asyncio.sleep(settings["latency"] + self.chance.uniform(-jitter, jitter))
                elif answer and kind == "bandwidth":
                    await asyncio.sleep(len(data) / settings["rate"])
                elif answer and kind == "timeout":
                    await asyncio.sleep(settings.get("timeout", 3600))
                    return
                elif answer and kind == "reset_peer":
                    reset(writer)
                    return
                elif answer and kind == "limit_data":
                    data = data[: max(0, settings["bytes"] - passed)]
                    if not data:
                        return
                elif answer and kind == "slicer":
                    for at in range(0, len(data), settings.get("size", 7)):
                        writer.write(data[at : at + settings.get("size", 7)])
                        await writer.drain()
                        await asyncio.sleep(0)
                    continue
                writer.write(data)
                passed += len(data)
                await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Go with an RST."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
