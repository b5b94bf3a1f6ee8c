"""Clients that count: HTTP/1.1 over real sockets, every call ends in exactly one outcome.

Two habits of clients find what a change of process loses: *keep-alive* ones always have a connection that some worker
holds, *connect-then-send* ones have a connection long before they have a request (RELIABILITY 8).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

PATIENCE: Final = 15.0
"""Seconds after which an answer counts as missing."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        return self.fields.get("connection", "").lower() == "close"


@dataclass(frozen=True)
class Failure:
    """A call without its answer: *port* is the client's own, *sent* whether the request was on its way."""

    kind: str
    port: int
    sent: bool
    at: float
    what: str


class Lost(Exception):
    """The connection ended before the answer did; the text is the kind of failure."""


class Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.port = int(writer.get_extra_info("sockname")[1])

    @classmethod
    async def open(cls, port: int) -> Talk:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    def close(self) -> None:
        self.writer.close()

    def send(self, method: str, path: str, fields: dict[str, str] | None = None, body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: gateway.test"]
        lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
        if body:
            lines.append(f"content-length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def receive(self, method: str = "GET") -> Answer:
        """The next answer. Raises ``Lost``."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._receive(method)
        except TimeoutError:
            raise Lost("no answer in time") from None
        except asyncio.IncompleteReadError as error:
            raise Lost("cut" if error.partial else "closed") from None
        except (ConnectionError, OSError):
            raise Lost("reset") from None

    async def _receive(self, method: str) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        fields: dict[str, str] = {}
        for line in head[1:-2]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        try:
            body = b"" if method == "HEAD" or status in (204, 304) else await self._body(fields)
        except asyncio.IncompleteReadError:
            raise Lost("cut") from None
        return Answer(status, fields, body)

    async def _body(self, fields: dict[str, str]) -> bytes:
        if fields.get("transfer-encoding", "") == "chunked":
            parts = []
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                parts.append(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            await self.reader.readuntil(b"\r\n")
            return b"".join(parts)
        return await self.reader.readexactly(int(fields["content-length"]))

    async def call(self, method: str, path: str, fields: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        self.send(method, path, fields, body)
        return await self.receive(method)


async def call(port: int, method: str, path: str, fields: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    """One call on a connection of its own."""
    talk = await Talk.open(port)
    try:
        return await talk.call(method, path, {"connection": "close", **(fields or {})}, body)
    finally:
        talk.close()


@dataclass(frozen=True)
class Request:
    """A request of a load, and the answer it must get: a 200 with *length* bytes that begin with *begins*."""

    method: str
    path: str
    begins: bytes
    length: int = -1
    body: bytes = b""
    fields: dict[str, str] = field(default_factory=dict)

    def wrong(self, answer: Answer) -> str:
        if answer.status != 200:
            return f"status {answer.status} {answer.body[:200]!r}"
        if not answer.body.startswith(self.begins) or (self.length >= 0 and len(answer.body) != self.length):
            return "wrong body"
        return ""


class Load:
    """Clients on *port* that call *requests* in turn until the block ends; ``answered`` and ``failures`` tell all.

    *keeping* of them hold their connection, *sending* connect first and send later; *pause* is the longest time a
    holder thinks between two calls.
    """

    def __init__(self, port: int, requests: list[Request], keeping: int, sending: int, pause: float = 0.0) -> None:
        self.port = port
        self.requests = requests
        self.pause = pause
        self.answered: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self.over = False
        self.chance = random.Random(7)
        self.makers = [self._keeping] * keeping + [self._sending] * sending
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self.tasks = [asyncio.create_task(maker(n)) for n, maker in enumerate(self.makers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.over = True
        await asyncio.gather(*self.tasks)

    @property
    def total(self) -> int:
        return sum(self.answered.values()) + len(self.failures)

    def kinds(self) -> dict[str, int]:
        """Failures by kind."""
        return dict(Counter(f"{failure.what}: {failure.kind}" for failure in self.failures))

    async def flowing(self, more: int) -> None:
        """Wait until *more* further calls have been answered."""
        wanted = sum(self.answered.values()) + more
        async with asyncio.timeout(60):
            while sum(self.answered.values()) < wanted:
                await asyncio.sleep(0.005)

    def _failed(self, kind: str, what: str, talk: Talk | None, sent: bool) -> None:
        self.failures.append(Failure(kind, talk.port if talk else 0, sent, time.monotonic(), what))

    async def _open(self, what: str) -> Talk | None:
        try:
            async with asyncio.timeout(PATIENCE):
                return await Talk.open(self.port)
        except (OSError, TimeoutError) as error:
            self._failed(f"not connected ({type(error).__name__})", what, None, False)
            await asyncio.sleep(0.01)
            return None

    async def _ask(self, talk: Talk, request: Request, what: str, fields: dict[str, str]) -> bool:
        """Make one call; False when the connection is of no more use."""
        try:
            answer = await talk.call(request.method, request.path, {**request.fields, **fields}, request.body)
        except Lost as lost:
            self._failed(str(lost), what, talk, True)
            return False
        wrong = request.wrong(answer)
        if wrong:
            self._failed(wrong, what, talk, True)
        else:
            self.answered[what] += 1
        return not answer.closes

    async def _keeping(self, number: int) -> None:
        talk: Talk | None = None
        while not self.over:
            if talk is None:
                talk = await self._open("keep-alive")
                continue
            request = self.requests[number % len(self.requests)]
            number += 1
            if not await self._ask(talk, request, "keep-alive", {}):
                talk.close()
                talk = None
            if self.pause:
                await asyncio.sleep(self.pause * self.chance.random())
        if talk is not None:
            talk.close()

    async def _sending(self, number: int) -> None:
        while not self.over:
            talk = await self._open("connect-then-send")
            if talk is None:
                continue
            # The very gap in which stock servers lose requests: connected, nothing said yet.
            await asyncio.sleep(0.05 * self.chance.random())
            request = self.requests[number % len(self.requests)]
            number += 1
            await self._ask(talk, request, "connect-then-send", {"connection": "close"})
            talk.close()
