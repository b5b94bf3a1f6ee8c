"""The recording mock upstream: a process of its own that never uses gateway code.

Every request is one line of the journal, written before the first byte of its answer and completed after the last. What
a port does is switched by control calls, one JSON line each way (``Mock`` is the caller's side). Only loopback.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import random
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEPT_BODY = 256 * 1024
"""Bytes of a body that the journal keeps; longer ones are kept as length and digest."""
KEPT_CALLS = 200_000
PIECE = b"x" * 65536
REASONS = {200: "OK", 204: "No Content", 429: "Too Many Requests", 500: "Internal Server Error"}


class Port:
    """One listening address and how it behaves."""

    def __init__(self, name: str, host: str) -> None:
        self.name = name
        self.host = host
        self.number = 0
        self.tls: ssl.SSLContext | None = None
        self.server: asyncio.Server | None = None
        self.behaviour: dict[str, Any] = {"kind": "echo"}
        self.connections: set[Peer] = set()
        self.accepted = 0
        self.active = 0


class Peer(asyncio.Protocol):
    """One connection of the gateway. Requests are read by the letter; anything odd is journalled as malformed."""

    def __init__(self, book: Book, port: Port) -> None:
        self.book = book
        self.port = port
        port.accepted += 1
        self.number = port.accepted
        self.buffer = b""
        self.served = 0
        self.transport: Any = None
        self.task: asyncio.Task[None] | None = None
        self.call: dict[str, Any] | None = None
        self.flowing = asyncio.Event()
        self.flowing.set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port.connections.add(self)
        if self.port.behaviour["kind"] == "reset_at_once":
            self.reset()

    def connection_lost(self, error: BaseException | None) -> None:
        self.port.connections.discard(self)
        self.flowing.set()
        if self.call is not None:
            self.finish("cut")
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self.flowing.clear()

    def resume_writing(self) -> None:
        self.flowing.set()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        self.book.heard(data)
        self.buffer += data
        if self.call is None:
            self.next_request()

    def next_request(self) -> None:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        index = dict(fields)
        rest = self.buffer[end + 4 :]
        if index.get("transfer-encoding", "").lower() == "chunked":
            found = unchunk(rest)
            if found is None:
                if self.port.behaviour.get("early"):
                    self.begin(lines[0], fields, b"")
                return
            body, self.buffer = found
        else:
            length = int(index.get("content-length", "0"))
            if len(rest) < length:
                if self.port.behaviour.get("early"):
                    self.begin(lines[0], fields, b"")
                return
            body, self.buffer = rest[:length], rest[length:]
        self.begin(lines[0], fields, body)

    def begin(self, line: str, fields: list[tuple[str, str]], body: bytes) -> None:
        self.served += 1
        method, _, rest = line.partition(" ")
        target = rest.rpartition(" ")[0]
        self.port.active += 1
        self.book.most_active[self.port.name] = max(self.book.most_active.get(self.port.name, 0), self.port.active)
        self.call = {
            "port": self.port.name,
            "connection": self.number,
            "nth": self.served,
            "method": method,
            "target": target,
            "fields": fields,
            "size": len(body),
            "digest": hashlib.sha256(body).hexdigest(),
            "body": base64.b64encode(body).decode() if len(body) <= KEPT_BODY else "",
            "at": time.monotonic(),
            "sent": 0,
            "end": "open",
        }
        self.book.journal.append(self.call)
        behaviour = self.port.behaviour
        for path, special in self.book.pages.items():
            if target.partition("?")[0] == path:
                behaviour = special
        if behaviour["kind"] == "echo" and not behaviour.get("delay"):
            self.send(self.echo(body))
            self.finish("complete")
            if self.buffer:
                self.next_request()
            return
        self.task = asyncio.get_running_loop().create_task(self.behave(behaviour, body))

    def echo(self, body: bytes) -> bytes:
        assert self.call is not None
        call = self.call
        told = {k: call[k] for k in ("port", "method", "target", "fields", "size", "digest")}
        if len(body) <= 4096:
            told["body"] = body.decode("latin-1")
        content = json.dumps(told).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
            len(content),
            content if call["method"] != "HEAD" else b"",
        )

    def send(self, data: bytes) -> None:
        self.transport.write(data)
        if self.call is not None:
            self.call["sent"] += len(data)

    def finish(self, how: str) -> None:
        if self.call is not None:
            self.call["end"] = how
            self.call["ended"] = time.monotonic()
            self.call = None
            self.port.active -= 1

    def reset(self) -> None:
        """Go with an RST (``SO_LINGER`` 0)."""
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def behave(self, b: dict[str, Any], body: bytes) -> None:
        kind = b["kind"]
        assert self.call is not None
        if b.get("delay"):
            await asyncio.sleep(b["delay"])
        if kind == "echo":
            self.send(self.echo(body))
        elif kind == "capacity":
            async with self.book.capacity(self.port.name, b["slots"]):
                await asyncio.sleep(b["time"])
            self.send(self.echo(body))
        elif kind == "raw":
            for _ in range(b.get("times", 1)):
                if self.call is None or self.transport.is_closing():
                    return
                self.send(base64.b64decode(b["data"]))
                await asyncio.sleep(0)
                await self.flowing.wait()
            if b.get("then") == "close":
                self.finish("complete")
                self.transport.close()
                return
            if b.get("then") == "reset":
                self.finish("reset")
                self.reset()
                return
        elif kind == "status":
            status, content = b["status"], base64.b64decode(b.get("data", ""))
            self.call["bill"] = b.get("bill", 0)
            head = f"HTTP/1.1 {status} {REASONS.get(status, 'Word')}\r\ncontent-length: {len(content)}\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in b.get("fields", ()))
            self.send(head.encode("latin-1") + b"\r\n" + content)
        elif kind == "hang":
            await asyncio.sleep(b.get("seconds", 120))
        elif kind == "reset":
            self.finish("reset")
            self.reset()
            return
        elif kind == "stale":
            # The first request of a connection is served, the next one finds it closed.
            if self.served == 1:
                self.send(self.echo(body))
            elif b["how"] == "reset":
                self.book.journal.remove(self.call)
                self.book.unread += 1
                self.finish("unread")
                self.reset()
                return
            else:
                self.book.journal.remove(self.call)
                self.book.unread += 1
                self.finish("unread")
                self.transport.close()
                return
        elif kind == "stream":
            head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n" % b.get("type", "application/octet-stream").encode()
            total = int(b.get("total", 1 << 62))
            if "length" in b:
                self.send(head + b"content-length: %d\r\n\r\n" % b["length"])
            else:
                self.send(head + b"transfer-encoding: chunked\r\n\r\n")
            while self.call is not None and self.call["sent"] < total:
                await self.flowing.wait()
                if self.call is None or self.transport.is_closing():
                    return
                self.send(PIECE if "length" in b else b"10000\r\n" + PIECE + b"\r\n")
                await asyncio.sleep(b.get("pause", 0))
            if "length" not in b:
                self.send(b"0\r\n\r\n")
        self.finish("complete")
        if self.buffer:
            self.next_request()


def unchunk(data: bytes) -> tuple[bytes, bytes] | None:
    """The body of a chunked message and what follows it; None while it is not whole."""
    body = b""
    at = 0
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(data[at:line].split(b";")[0], 16)
        at = line + 2
        if size == 0:
            end = data.find(b"\r\n", at)
            while end > at:
                at = end + 2
                end = data.find(b"\r\n", at)
            return None if end < 0 else (body, data[end + 2 :])
        if len(data) < at + size + 2:
            return None
        body += data[at : at + size]
        at += size + 2


class Book:
    """The mock's whole state: ports, pages (paths with an answer of their own), the journal."""

    def __init__(self) -> None:
        self.ports: dict[str, Port] = {}
        self.pages: dict[str, dict[str, Any]] = {}
        self.journal: list[dict[str, Any]] = []
        self.most_active: dict[str, int] = {}
        self.limits: dict[str, asyncio.Semaphore] = {}
        self.watch: list[bytes] = []
        self.seen: set[bytes] = set()
        self.unread = 0
        self.toxics: dict[str, Any] = {}
        self.parked: list[socket.socket] = []

    def heard(self, data: bytes) -> None:
        for word in self.watch:
            if word in data:
                self.seen.add(word)

    def capacity(self, name: str, slots: int) -> asyncio.Semaphore:
        key = f"{name}/{slots}"
        if key not in self.limits:
            self.limits[key] = asyncio.Semaphore(slots)
        return self.limits[key]

    async def open(self, port: Port) -> None:
        loop = asyncio.get_running_loop()
        port.server = await loop.create_server(
            lambda: Peer(self, port), port.host, port.number, ssl=port.tls, backlog=4096,
            ssl_handshake_timeout=5 if port.tls is not None else None,
        )  # fmt: skip
        port.number = port.server.sockets[0].getsockname()[1]

    async def do(self, ask: dict[str, Any]) -> Any:
        """One control call."""
        what = ask.pop("do")
        if what == "open":
            port = Port(ask["name"], ask.get("host", "127.0.0.1"))
            port.number = ask.get("number", 0)
            if "cert" in ask:
                port.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                port.tls.load_cert_chain(ask["cert"])
                if ask.get("old"):
                    port.tls.set_ciphers("ALL:@SECLEVEL=0")
                    port.tls.minimum_version = ssl.TLSVersion.TLSv1
                    port.tls.maximum_version = ssl.TLSVersion.TLSv1
            await self.open(port)
            self.ports[port.name] = port
            return port.number
        if what == "behave":
            self.ports[ask["name"]].behaviour = ask["behaviour"]
            return None
        if what == "page":
            self.pages[ask["path"]] = ask["behaviour"]
            return None
        if what == "down":
            port = self.ports[ask["name"]]
            if port.server is not None:
                port.server.close()
                port.server = None
            for peer in list(port.connections):
                peer.transport.abort()
            return None
        if what == "up":
            port = self.ports[ask["name"]]
            if port.server is None:
                await self.open(port)
            return None
        if what == "mark":
            if len(self.journal) > KEPT_CALLS:
                self.journal.clear()
            return len(self.journal)
        if what == "calls":
            return self.journal[ask["mark"] : ask["mark"] + ask.get("most", 2000)]
        if what == "count":
            return [[c["port"], c["target"], c["at"], c["nth"], c["connection"]] for c in self.journal[ask["mark"] :]]
        if what == "forget":
            self.journal.clear()
            self.most_active.clear()
            self.unread = 0
            return None
        if what == "state":
            return {
                "active": {n: p.active for n, p in self.ports.items()},
                "connections": {n: len(p.connections) for n, p in self.ports.items()},
                "accepted": {n: p.accepted for n, p in self.ports.items()},
                "most_active": self.most_active,
                "unread": self.unread,
                "seen": [word.decode("latin-1") for word in self.seen],
                "now": time.monotonic(),
            }
        if what == "watch":
            self.watch = [word.encode("latin-1") for word in ask["words"]]
            self.seen.clear()
            return None
        if what == "blackhole":
            return self.blackhole()
        if what == "toxic":
            from toxics import Toxic

            toxic = self.toxics.get(ask["name"])
            if toxic is None:
                toxic = self.toxics[ask["name"]] = Toxic(
                    self.ports[ask["to"]].number, random.Random(ask.get("seed", 1))
                )
                await toxic.open()
            await toxic.set(ask["kind"], ask.get("settings", {}))
            return toxic.number
        raise ValueError(what)

    def blackhole(self) -> int:
        """A listener whose accept queue is full: connects hang."""
        hole = socket.socket()
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        self.parked.append(hole)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(hole.getsockname())
            self.parked.append(filler)
        return int(hole.getsockname()[1])


async def serve() -> None:
    book = Book()

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            try:
                answer = {"ok": await book.do(json.loads(line))}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        asyncio.get_running_loop().stop()

    server = await asyncio.start_server(control, "127.0.0.1", 0, limit=32 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Mock:
    """The caller's side: starts the process, ends with it."""

    def __init__(self) -> None:
        here = Path(__file__)
        self.process = subprocess.Popen([sys.executable, str(here)], stdout=subprocess.PIPE, cwd=here.parent)
        assert self.process.stdout is not None
        number = int(self.process.stdout.readline())
        self.line = socket.create_connection(("127.0.0.1", number))
        self.file = self.line.makefile("rwb")
        self.ports: dict[str, int] = {}

    def ask(self, do: str, **more: Any) -> Any:
        """One control call; raises ``RuntimeError`` with the mock's words."""
        self.file.write(json.dumps({"do": do, **more}).encode() + b"\n")
        self.file.flush()
        answer = json.loads(self.file.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ok"]

    def open(self, name: str, **more: Any) -> int:
        """A new port; its number."""
        self.ports[name] = self.ask("open", name=name, **more)
        return self.ports[name]

    def behave(self, port: str, kind: str = "echo", **more: Any) -> None:
        """From now on *port* does this."""
        self.ask("behave", name=port, behaviour={"kind": kind, **more})

    @contextlib.contextmanager
    def behaving(self, port: str, kind: str, **more: Any) -> Iterator[None]:
        """*port* does this for a while, then echoes again."""
        self.behave(port, kind, **more)
        try:
            yield
        finally:
            self.behave(port)

    def raw(self, port: str, data: bytes, **more: Any) -> None:
        """*port* answers with these bytes."""
        self.behave(port, "raw", data=base64.b64encode(data).decode(), **more)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("state")
        return found

    def close(self) -> None:
        self.line.close()
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, RuntimeError):
        asyncio.run(serve())
